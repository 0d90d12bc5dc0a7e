"""After the wire: what each result does to its attempt, its message, its chip and the budgets, once and for good."""

import random
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chips import fleet
from chips.models import Chip, Tentativa
from chips.providers.base import Code, ErrorKind, Fault, SendResult
from chips.providers.classification import accepted
from chips.simulator.client import SimulatorProcess
from core.clock import Agora, database_now
from core.database import execute, rows
from core.outcomes import SendOutcome
from fila import policy
from fila.claim import Claimed, Room, claim
from fila.conversas.opt_out import opt_out
from fila.dispatch import OpenAttempt
from fila.models import Interacao, Mensagem, MensagemDlq, MensagemEvento
from fila.rescue import rescue_expired_leases
from fila.results import Settled
from fila.settle import Step, step_of
from fila.worker.steps import give_back
from tests import factories
from tests.chips.results import (
    RATE_LIMIT_COOLDOWN,
    RESTRICTION_COOLDOWN,
    SESSION_COOLDOWN,
    not_sent,
    unknown,
)
from tests.conftest import connect
from tests.fila.attempts import look, open_one, settle_as
from tests.fila.drains import drain

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)

ACCEPTED = accepted("3EB0OK", status=201)
UNKNOWN = unknown(ErrorKind.TIMEOUT, Fault.PROVEDOR, Code.TIMEOUT, "sem resposta em 70 s")
REFUSED = not_sent(ErrorKind.REDE, Fault.PROVEDOR, Code.NETWORK_ERROR, "conexão recusada")
WITHDRAWN = not_sent(ErrorKind.INTERNO, Fault.NOS, Code.WITHDRAWN, "campanha pausada")
DISCONNECTED = not_sent(ErrorKind.SESSAO, Fault.CHIP, Code.NOT_CONNECTED, "closed", cooldown=SESSION_COOLDOWN)
RESTRICTED = not_sent(
    ErrorKind.RESTRICAO, Fault.CHIP, Code.ACCOUNT_RESTRICTED, "forbidden", status=500, cooldown=RESTRICTION_COOLDOWN
)
NO_WHATSAPP = not_sent(
    ErrorKind.DESTINO_INVALIDO, Fault.DESTINATARIO, Code.NOT_ON_WHATSAPP, "", retryable=False, status=400
)
OUR_BUG = not_sent(ErrorKind.INTERNO, Fault.NOS, Code.REQUEST_INVALID, "", retryable=False, status=400)


# --- the decision


ALONE = {"evolution": 1}
AMONG_OTHERS = {"evolution": 3}
TWO_PROVIDERS = {"evolution": 1, "z-api": 1}


def step(
    result: SendResult,
    used: tuple[int, int] = (0, 3),
    seed: int = 1,
    carriers: Mapping[str, int] = ALONE,
    sondas: Mapping[str, int] | None = None,
) -> Step:
    message = Claimed(
        id=uuid4(), token=7, cliente_id=uuid4(), campanha_id=None, conversa_id=None, tipo="lembrete", prioridade=5,
        telefone_destino="5511900000001", conteudo="Olá", tentativas=used[0], inbound_interacao_id=None,
        correlation_id="", metadata={},
    )  # fmt: skip
    attempt = OpenAttempt(1, message, uuid4(), "evolution", True, 1, NOW, sondas or {})
    return step_of(Settled(attempt, result, 12), used, NOW, random.Random(seed), carriers=carriers)


@pytest.mark.parametrize(
    ("result", "used", "status", "outcome", "counts", "dead"),
    [
        (ACCEPTED, 0, "enviada", SendOutcome.SENT, False, False),
        (ACCEPTED, 2, "enviada", SendOutcome.SENT, False, False),
        (UNKNOWN, 0, "incerta", None, False, False),
        (UNKNOWN, 2, "incerta", None, False, False),
        (WITHDRAWN, 0, "pendente", None, False, False),
        (WITHDRAWN, 2, "pendente", None, False, False),
        (DISCONNECTED, 0, "pendente", SendOutcome.FAILED_PROVIDER, True, False),
        (RESTRICTED, 0, "pendente", SendOutcome.FAILED_BANNED, True, False),
        (REFUSED, 0, "pendente", SendOutcome.FAILED_PROVIDER, True, False),
        (REFUSED, 1, "pendente", SendOutcome.FAILED_PROVIDER, True, False),
        (REFUSED, 2, "erro", SendOutcome.FAILED_PROVIDER, True, True),
        (RESTRICTED, 2, "erro", SendOutcome.FAILED_BANNED, True, True),
        (NO_WHATSAPP, 0, "erro", SendOutcome.FAILED_VALIDATION, True, True),
        (OUR_BUG, 0, "erro", SendOutcome.FAILED_PROVIDER, True, True),
    ],
)
def test_what_a_result_makes_of_its_message(
    result: SendResult, used: int, status: str, outcome: SendOutcome | None, counts: bool, dead: bool
) -> None:
    found = step(result, (used, 3))
    assert (found.status, found.outcome, found.counts, found.dead) == (status, outcome, counts, dead)
    assert (found.token, found.motivo) == (7, result.reason_code)


@pytest.mark.parametrize(
    ("result", "used", "seconds"),
    [(REFUSED, 0, 120), (REFUSED, 1, 240), (DISCONNECTED, 0, 120), (RESTRICTED, 1, 240)],
)
@given(seed=st.integers())
def test_a_retry_waits_its_time_give_or_take_a_fifth(result: SendResult, used: int, seconds: int, seed: int) -> None:
    until = step(result, (used, 3), seed).until
    assert until is not None
    assert 0.8 * seconds <= (until - NOW).total_seconds() <= 1.2 * seconds


@pytest.mark.parametrize(
    ("result", "carriers", "at_once"),
    [
        (RESTRICTED, AMONG_OTHERS, True),
        (DISCONNECTED, AMONG_OTHERS, True),
        (RESTRICTED, ALONE, False),
        (REFUSED, AMONG_OTHERS, False),
        (REFUSED, TWO_PROVIDERS, True),
    ],
)
def test_what_failed_here_goes_elsewhere_at_once_where_there_is_an_elsewhere(
    result: SendResult, carriers: Mapping[str, int], at_once: bool
) -> None:
    until = step(result, carriers=carriers).until
    assert until is not None
    assert (until - NOW <= timedelta(seconds=1)) is at_once


@pytest.mark.parametrize("result", [REFUSED, DISCONNECTED, RESTRICTED])
def test_the_probe_of_a_circuit_that_fails_costs_its_message_nothing(result: SendResult) -> None:
    found = step(result, (2, 3), sondas={"evolution": 7})
    assert (found.status, found.counts, found.dead) == ("pendente", False, False)


def test_retries_that_fail_together_do_not_come_back_together() -> None:
    assert len({step(REFUSED, seed=seed).until for seed in range(20)}) == 20


def test_the_same_seed_waits_the_same_time() -> None:
    assert step(REFUSED, seed=4).until == step(REFUSED, seed=4).until


def test_what_was_withdrawn_is_due_in_seconds_without_penalty() -> None:
    found = step(WITHDRAWN)
    assert found.until == NOW + timedelta(seconds=5)
    assert not found.counts


# --- the writing


@pytest.fixture
def chip(open_operation: None) -> Chip:
    factories.set_setting("limite_global_hora", 1000)
    return factories.chip()


@pytest.fixture
def message(chip: Chip) -> Mensagem:
    return factories.mensagem(campanha=factories.campanha())


def weight_reserved() -> dict[str, int]:
    """Weight per scope as the minute buckets hold it."""
    found = rows("SELECT split_part(escopo, ':', 1) AS escopo, sum(peso)::int AS peso FROM limites_minutos GROUP BY 1")
    return {row["escopo"]: row["peso"] for row in found}


def failed_long_ago() -> None:
    execute("UPDATE envios_tentativas SET encerrado_em = encerrado_em - interval '5 minutes'")


def make_due(message: Mensagem) -> None:
    Mensagem.objects.filter(pk=message.pk, status="pendente").update(agendar_para=Agora())


@pytest.mark.django_db
def test_an_open_attempt_reserves_its_weight(chip: Chip, message: Mensagem) -> None:
    open_one()
    chip.refresh_from_db()
    assert (chip.peso_dia, weight_reserved()) == (2, {"chip": 2, "global": 2})


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("result", "resultado", "peso"),
    [(ACCEPTED, "enviado", 2), (UNKNOWN, "desconhecido", 2), (REFUSED, "rejeitado", 0), (WITHDRAWN, "rejeitado", 0)],
)
def test_only_what_was_provably_not_sent_gives_its_weight_back(
    chip: Chip, message: Mensagem, result: SendResult, resultado: str, peso: int
) -> None:
    settle_as(result, open_one())
    chip.refresh_from_db()
    assert Tentativa.objects.get().resultado == resultado
    assert (chip.peso_dia, weight_reserved()) == (peso, {"chip": peso, "global": peso})


@pytest.mark.django_db
def test_a_transient_failure_is_tried_again_with_its_penalty(chip: Chip, message: Mensagem) -> None:
    settle_as(REFUSED, open_one())
    message.refresh_from_db()
    assert (message.status, message.tentativas, message.tentativa_aberta_id) == ("pendente", 1, None)
    assert (message.outcome, message.outcome_reason_code) == ("FAILED_PROVIDER", "network_error:conexão recusada")
    wait = (message.agendar_para - database_now()).total_seconds()
    assert 90 < wait <= 144
    assert message.lease_ate is None
    assert MensagemEvento.objects.get(tipo="retomada").motivo == "network_error:conexão recusada"


@pytest.mark.django_db
def test_the_third_failure_ends_in_the_dlq_once(message: Mensagem) -> None:
    for _ in range(3):
        factories.chip()
        make_due(message)
        settle_as(REFUSED, open_one())
    message.refresh_from_db()
    dead = MensagemDlq.objects.get()
    assert (message.status, message.tentativas, message.outcome) == ("erro", 3, "FAILED_PROVIDER")
    assert (dead.mensagem_original_id, dead.tentativas, dead.conteudo) == (message.id, 3, message.conteudo)
    assert list(Tentativa.objects.order_by("id").values_list("tentativa_no", flat=True)) == [1, 2, 3]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("result", "blamed", "rests_s"),
    [
        (REFUSED, 0, None),
        (WITHDRAWN, 0, None),
        (NO_WHATSAPP, 0, None),
        (DISCONNECTED, 1, 60),
        (RESTRICTED, 1, 1800),
        (UNKNOWN, 0, None),
        (
            unknown(ErrorKind.RATE_LIMIT, Fault.CHIP, Code.RATE_LIMITED, "", status=429, cooldown=RATE_LIMIT_COOLDOWN),
            1,
            300,
        ),
    ],
    ids=["provider", "withdrawn", "recipient", "disconnected", "restricted", "timeout", "429"],
)
def test_a_chip_answers_only_for_its_own_faults(
    chip: Chip, message: Mensagem, result: SendResult, blamed: int, rests_s: int | None
) -> None:
    settle_as(result, open_one())
    chip.refresh_from_db()
    assert chip.erros_ultimas_24h == blamed
    if rests_s is None:
        assert chip.cooldown_until is None
    else:
        assert chip.cooldown_until is not None
        rest = (chip.cooldown_until - database_now()).total_seconds()
        assert rests_s - 30 < rest <= rests_s


@pytest.mark.django_db
def test_a_longer_rest_is_not_shortened_by_a_later_fault(chip: Chip, message: Mensagem) -> None:
    attempt = open_one()
    later = database_now() + timedelta(hours=6)
    Chip.objects.update(cooldown_until=later)
    settle_as(DISCONNECTED, attempt)
    chip.refresh_from_db()
    assert chip.cooldown_until == later


# --- once


def everything() -> list[dict[str, Any]]:
    """Every row that settling may write, without the time of the last touch."""
    tables = (
        "fila_mensagens", "envios_tentativas", "chips", "limites_minutos", "fila_eventos", "fila_mensagens_dlq",
        "interacoes", "chip_interactions", "conversations", "doctor_state", "clientes",
    )  # fmt: skip
    return [
        row["r"]
        for table in tables
        for row in rows(f"SELECT to_jsonb(t) - 'updated_at' - 'last_message_at' AS r FROM {table} t ORDER BY 1::text")
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "result",
    [ACCEPTED, UNKNOWN, REFUSED, WITHDRAWN, RESTRICTED, NO_WHATSAPP],
    ids=["accepted", "unknown", "refused", "withdrawn", "restricted", "no-whatsapp"],
)
def test_settling_the_same_result_again_changes_nothing(message: Mensagem, result: SendResult) -> None:
    attempt = open_one()
    settle_as(result, attempt)
    before = everything()
    settle_as(result, attempt)
    settle_as(result, attempt)
    assert everything() == before


@pytest.fixture
def opened(message: Mensagem) -> OpenAttempt:
    return open_one()


FORWARD = {"desconhecido": UNKNOWN, "rejeitado": REFUSED, "enviado": ACCEPTED}


@pytest.mark.django_db
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(st.sampled_from(list(FORWARD)), min_size=1, max_size=5))
def test_an_attempt_ends_at_the_strongest_proof_whatever_came_first(opened: OpenAttempt, told: list[str]) -> None:
    strongest = max(told, key=list(FORWARD).index)
    with transaction.atomic():
        for each in told:
            settle_as(FORWARD[each], opened)
        attempt, message = Tentativa.objects.get(), Mensagem.objects.get()
        reserved = weight_reserved()
        transaction.set_rollback(True)
    assert attempt.resultado == strongest
    assert message.status == {"desconhecido": "incerta", "rejeitado": "pendente", "enviado": "enviada"}[strongest]
    assert message.tentativas <= 1
    assert reserved["chip"] == reserved["global"]
    assert reserved["chip"] in (0, 2), "given back at most once"
    assert (message.tentativa_aberta_id is not None) is (strongest == "desconhecido")


def told(detail: str) -> SendResult:
    return unknown(ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, detail, status=500)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "answer",
    [
        told("antes\x00depois"),
        told("meio par \ud83d"),
        told("x" * 5000),
        accepted("3EB0\x00", status=201),
        accepted("3EB0\ud83d", status=201),
        accepted("K" * 500, status=201),
        accepted("3EB0OK", status=201, remote_jid="9" * 500 + "@s.whatsapp.net"),
    ],
    ids=["nul", "half pair", "long", "id nul", "id half pair", "id long", "jid long"],
)
def test_whatever_a_provider_answers_can_be_written(message: Mensagem, answer: SendResult) -> None:
    settle_as(answer, open_one())
    message.refresh_from_db()
    assert message.status in ("enviada", "incerta"), "never back in the fila: it may have left"
    assert Tentativa.objects.get().resultado in ("enviado", "desconhecido")


# --- late, and beside what people do meanwhile


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("result", "resultado", "status"),
    [
        (ACCEPTED, "enviado", "enviada"),
        (REFUSED, "rejeitado", "pendente"),
        (NO_WHATSAPP, "rejeitado", "erro"),
        (UNKNOWN, "desconhecido", "incerta"),
    ],
)
def test_a_result_that_comes_after_its_lease_was_rescued_still_counts(
    message: Mensagem, result: SendResult, resultado: str, status: str
) -> None:
    attempt = open_one()
    execute("UPDATE fila_mensagens SET lease_ate = agora() - interval '1 second'")
    assert rescue_expired_leases()["incertas"] == 1
    assert (Mensagem.objects.get().status, Tentativa.objects.get().resultado) == ("incerta", "desconhecido")
    settle_as(result, attempt)
    message.refresh_from_db()
    assert (message.status, Tentativa.objects.get().resultado) == (status, resultado)


@pytest.mark.django_db
def test_a_message_is_not_taken_again_while_its_result_is_unknown(message: Mensagem) -> None:
    factories.chip()
    settle_as(UNKNOWN, open_one())
    execute("UPDATE fila_mensagens SET status = 'pendente', agendar_para = agora()")
    assert look() == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("result", "status"),
    [(ACCEPTED, "enviada"), (UNKNOWN, "incerta"), (REFUSED, "cancelada"), (NO_WHATSAPP, "cancelada")],
    ids=["accepted", "unknown", "refused", "no-whatsapp"],
)
def test_a_message_cancelled_by_hand_on_the_wire_becomes_what_really_happened(
    message: Mensagem, result: SendResult, status: str
) -> None:
    attempt = open_one()
    execute("UPDATE fila_mensagens SET status = 'cancelada' WHERE id = %s", [message.id])
    settle_as(result, attempt)
    message.refresh_from_db()
    assert message.status == status
    assert (message.tentativa_aberta_id is None) is (status != "incerta")
    assert not MensagemDlq.objects.exists()


@pytest.mark.django_db
def test_a_message_put_back_by_hand_on_the_wire_is_sent_once(message: Mensagem) -> None:
    attempt = open_one()
    execute("UPDATE fila_mensagens SET status = 'pendente' WHERE id = %s", [message.id])
    factories.chip()
    assert look() == []
    settle_as(ACCEPTED, attempt)
    message.refresh_from_db()
    assert message.status == "enviada"


@pytest.mark.django_db
def test_a_failed_message_of_a_campaign_cancelled_meanwhile_is_not_tried_again(message: Mensagem) -> None:
    attempt = open_one()
    execute("UPDATE campanhas SET status = 'cancelada' WHERE id = %s", [message.campanha_id])
    settle_as(REFUSED, attempt)
    message.refresh_from_db()
    assert (message.status, message.outcome_reason_code) == ("cancelada", "campanha_cancelada")
    assert MensagemEvento.objects.latest("id").tipo == "cancelada"


@pytest.mark.django_db
@pytest.mark.parametrize(("result", "status"), [(REFUSED, "bloqueada"), (ACCEPTED, "enviada")])
def test_who_left_while_it_was_on_the_wire_gets_no_second_try(
    message: Mensagem, result: SendResult, status: str
) -> None:
    attempt = open_one()
    opt_out(message.cliente_id, origem="operador", motivo="pediu para sair", actor="ana", now=database_now())
    settle_as(result, attempt)
    message.refresh_from_db()
    assert message.status == status
    assert Interacao.objects.filter(mensagem=message).exists() is (status == "enviada")


@pytest.mark.django_db
def test_a_failed_message_of_a_paused_campaign_keeps_its_place_and_is_not_taken(message: Mensagem) -> None:
    attempt = open_one()
    execute("UPDATE campanhas SET status = 'pausada' WHERE id = %s", [message.campanha_id])
    settle_as(WITHDRAWN, attempt)
    message.refresh_from_db()
    assert (message.status, message.tentativas) == ("pendente", 0)
    assert look() == []
    execute("UPDATE campanhas SET status = 'ativa' WHERE id = %s", [message.campanha_id])
    make_due(message)
    assert len(look()) == 1


# --- which chip the next try takes


@pytest.mark.django_db
def test_after_a_chips_own_fault_another_chip_takes_over(chip: Chip, message: Mensagem) -> None:
    other = factories.chip(trust_score=80)
    first = open_one()
    assert first.chip_id == chip.id
    settle_as(DISCONNECTED, first)
    make_due(message)
    assert open_one().chip_id == other.id


@pytest.mark.django_db
@pytest.mark.parametrize("result", [REFUSED, WITHDRAWN], ids=["refused", "withdrawn"])
def test_a_message_whose_provider_was_away_goes_out_on_the_same_chip(
    chip: Chip, message: Mensagem, result: SendResult
) -> None:
    settle_as(result, open_one())
    make_due(message)
    failed_long_ago()
    assert open_one().chip_id == chip.id


@pytest.mark.django_db
def test_with_one_chip_only_a_failed_message_waits_for_its_rest(chip: Chip, message: Mensagem) -> None:
    settle_as(DISCONNECTED, open_one())
    make_due(message)
    assert look() == []
    Chip.objects.update(cooldown_until=database_now() - timedelta(seconds=1))
    make_due(message)
    assert look() == [], "the chip that failed with it a moment ago"
    failed_long_ago()
    make_due(message)
    assert open_one().chip_id == chip.id


# --- over the wire


@pytest.mark.django_db(transaction=True)
def test_a_restricted_chip_rests_half_an_hour_and_its_message_goes_out_on_another(
    simulator: SimulatorProcess, open_operation: None
) -> None:
    restricted, healthy = factories.chip(trust_score=90), factories.chip(trust_score=85)
    connect(simulator, restricted, healthy)
    simulator.fault("restrito", instance=restricted.instance_name)
    message = factories.mensagem(campanha=factories.campanha())
    drain()
    make_due(message)
    drain()
    message.refresh_from_db()
    restricted.refresh_from_db()
    (left,) = simulator.truth().records
    assert (message.status, left.chip, message.chip_id) == ("enviada", healthy.instance_name, healthy.id)
    assert restricted.cooldown_until is not None
    assert restricted.cooldown_until - database_now() > timedelta(minutes=29)
    factories.mensagens(3, campanha=factories.campanha())
    drain()
    assert len(simulator.calls(restricted.instance_name)) == 1, "a resting chip is not asked again"
    assert simulator.truth().by_chip(healthy.instance_name)[3:]


@pytest.mark.django_db(transaction=True)
def test_a_provider_that_refuses_connections_costs_a_try_and_blames_no_chip(
    open_operation: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setattr(django_settings, "PRODUCTION", True)  # nobody is there to prove to be the simulator
    monkeypatch.setattr(django_settings, "EVOLUTION_API_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(django_settings, "EVOLUTION_API_KEY", "chave-inventada")
    chip, message = factories.chip(), factories.mensagem(campanha=factories.campanha())
    drain()
    message.refresh_from_db()
    chip.refresh_from_db()
    assert (message.status, message.tentativas, message.outcome) == ("pendente", 1, "FAILED_PROVIDER")
    assert (chip.erros_ultimas_24h, chip.cooldown_until, chip.peso_dia) == (0, None, 0)
    attempt = Tentativa.objects.get()
    assert (attempt.resultado, attempt.error_kind) == ("rejeitado", "rede")


@pytest.mark.django_db
def test_a_claim_given_back_after_its_person_left_says_why_it_ended(message: Mensagem, chip: Chip) -> None:
    rules = policy.read()
    room = Room.of(fleet.load(), rules.policy, senders=4, now=database_now())
    claimed = claim(room, rules.policy, owner="teste", lease_s=120)
    opt_out(message.cliente_id, origem="operador", motivo="pediu para sair", actor="ana", now=database_now())
    assert give_back(claimed) == 1
    message.refresh_from_db()
    assert (message.status, message.outcome) == ("bloqueada", "BLOCKED_OPTED_OUT")
    told = MensagemEvento.objects.filter(mensagem=message).latest("id")
    assert (told.tipo, told.motivo) == ("bloqueada", "opted_out")
