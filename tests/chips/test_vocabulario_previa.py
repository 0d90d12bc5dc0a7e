"""The preview of a changed rule: recorded attempts replayed under both, with the circuits' own transitions."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chips.models import Chip, Tentativa
from chips.providers.base import Fault
from chips.vocabulario import previa
from chips.vocabulario.catalogo import DEFAULTS
from chips.vocabulario.choices import ContaEm
from chips.vocabulario.previa import Effect, Past, Preview, Record, circuits_of, preview
from core.clock import database_now
from core.database import rows
from tests import factories

START = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
A, B = (str(UUID(int=n)) for n in (1, 2))
REFUSED = "rede.recusada"
CLOSED, LIMITED, BAD_400, SERVER = (
    "evolution.checagem_fechada", "evolution.http_429", "evolution.http_400", "evolution.http_5xx",
)  # fmt: skip


def past(minute: float, regra: str = "", chip: str = A, *, provider: str = "evolution", took_s: float = 1.0) -> Past:
    start = START.timestamp() + minute * 60
    rejected = bool(regra) and not DEFAULTS[regra].may_have_left
    return Past(chip, provider, regra, rejected, start, start + took_s, circuits_of(provider, chip))


def record(*attempts: Past, lonely: Sequence[str] = (), **settings: Any) -> Record:
    return Record(attempts, START, START + timedelta(days=1), False, settings, frozenset(lonely))


def previewed(codigo: str, attempts: Record, **changed: Any) -> Preview:
    rule = replace(DEFAULTS[codigo], **changed)
    return preview(codigo, rule, DEFAULTS, attempts)


def test_attempts_of_the_rule_are_counted_with_what_became_of_their_messages():
    found = previewed(CLOSED, record(past(0, CLOSED), past(1, CLOSED, B), past(2), past(3, SERVER)), retryable=False)
    assert found.with_rule == 2
    assert (found.before.retried, found.before.ended) == (2, 0)
    assert (found.after.retried, found.after.ended) == (0, 2)


def test_what_may_have_left_is_neither_repeated_nor_ended():
    found = previewed(BAD_400, record(past(0, BAD_400)), cooldown=MINUTE)
    assert (found.with_rule, found.before.retried, found.before.ended) == (1, 0, 0)


@pytest.mark.parametrize(
    ("minutes", "rest", "expected"),
    [
        ([0], 5, 5),
        ([0, 2], 5, 7),  # 12:00 to 12:05 and 12:02 to 12:07
        ([0, 10], 5, 10),
        ([0, 0], 5, 5),
        ([0, 1], 0, 0),
    ],
)
def test_rests_of_one_chip_that_overlap_count_once(minutes: list[int], rest: int, expected: int):
    attempts = record(*(past(minute, LIMITED) for minute in minutes))
    assert previewed(LIMITED, attempts, cooldown=rest * MINUTE).after.rest_s == expected * 60


def test_each_chip_rests_for_itself_and_a_recipients_fault_rests_nobody():
    both = record(past(0, LIMITED, A), past(0, LIMITED, B), past(1, "evolution.exists_false"), past(2, "nos.retirada"))
    found = previewed(LIMITED, both, cooldown=3 * MINUTE, fault=Fault.CHIP)
    assert (found.before.rest_s, found.after.rest_s) == (600, 360)
    assert previewed(LIMITED, both, fault=Fault.DESTINATARIO).after.rest_s == 0


def test_a_restriction_ejects_each_chip_that_met_it_for_at_least_half_an_hour():
    found = previewed(BAD_400, record(past(0, BAD_400, A), past(1, BAD_400, B), past(2)), restriction=True)
    assert (set(found.before.ejected), set(found.after.ejected)) == (set(), {A, B})
    assert (found.before.rest_s, found.after.rest_s) == (30 * 60, 60 * 60)
    assert (found.before.chip_openings, found.after.chip_openings) == (0, 2)


def test_three_failures_in_a_row_open_a_chip_and_a_success_between_them_does_not():
    in_a_row = record(*(past(n, CLOSED) for n in range(3)))
    broken = record(past(0, CLOSED), past(1, CLOSED), past(2), past(3, CLOSED))
    assert previewed(CLOSED, in_a_row, circuit=ContaEm.NENHUM).before.chip_openings == 1
    assert previewed(CLOSED, in_a_row, circuit=ContaEm.NENHUM).after.chip_openings == 0
    assert previewed(CLOSED, broken).before.chip_openings == 0


def test_calls_that_the_open_circuit_would_have_held_back_are_counted_and_not_judged():
    """Opened at 12:02; the next probe is due 300 s later, so that only the call of 12:09 is made again, and fails."""
    attempts = record(*(past(n, CLOSED) for n in (0, 1, 2, 3, 4, 5, 6, 9)))
    found = previewed(CLOSED, attempts, circuit=ContaEm.NENHUM)
    assert (found.before.chip_openings, found.before.avoided) == (1, 4)
    assert (found.after.chip_openings, found.after.avoided) == (0, 0)


def test_a_probe_that_succeeds_closes_the_circuit_again():
    attempts = record(past(0, CLOSED), past(1, CLOSED), past(2, CLOSED), past(8), past(9), past(10, CLOSED))
    assert previewed(CLOSED, attempts).before == replace(_nothing(), retried=4, rest_s=240, chip_openings=1)


def test_a_provider_opens_only_over_two_of_its_chips_unless_it_has_one():
    one_chip = [past(n, REFUSED) for n in range(5)]
    two_chips = [past(n, REFUSED, A if n % 2 else B) for n in range(5)]
    assert previewed(REFUSED, record(*one_chip)).before.provider_openings == 0
    assert previewed(REFUSED, record(*two_chips)).before.provider_openings == 1
    assert previewed(REFUSED, record(*one_chip, lonely=["evolution"])).before.provider_openings == 1


def test_a_chip_that_alone_meets_errors_that_may_have_left_opens_by_itself():
    attempts = record(*(past(n, SERVER) for n in range(5)))
    found = previewed(SERVER, attempts).before
    assert (found.provider_openings, found.chip_openings, found.avoided) == (0, 1, 2)


def test_moving_a_rule_to_the_providers_circuit_shows_what_it_would_have_opened():
    attempts = record(*(past(n, CLOSED, A if n % 2 else B) for n in range(5)))
    found = previewed(CLOSED, attempts, circuit=ContaEm.PROVEDOR)
    assert (found.before.provider_openings, found.after.provider_openings) == (0, 1)


def test_the_numbers_of_the_settings_are_used():
    attempts = record(past(0, CLOSED), circuito_chip={"falhas": 1, "inicial_s": 10, "max_s": 10})
    assert previewed(CLOSED, attempts).before.chip_openings == 1


def test_timeouts_open_nothing():
    attempts = record(*(past(n, "rede.tempo", A if n % 2 else B) for n in range(20)))
    found = previewed("rede.tempo", attempts, circuit=ContaEm.PROVEDOR)
    assert (found.before.provider_openings, found.before.avoided) == (0, 0)
    assert found.after.provider_openings == 1


def test_the_order_of_results_decides_not_the_order_of_calls():
    """The success began before the failures and ended after the first two."""
    attempts = record(
        past(0, took_s=150), past(1, CLOSED), past(2, CLOSED), past(2.6, CLOSED), past(2.7, CLOSED), past(3)
    )
    assert previewed(CLOSED, attempts).before.chip_openings == 0


def _nothing() -> Effect:
    return Effect(0, 0, 0.0, frozenset(), 0, 0, 0)


# --- reading the ledger


def attempt(chip: Chip, minutes_ago: float, regra: str = "", **values: Any) -> None:
    now = database_now()
    started = now - timedelta(minutes=minutes_ago)
    defaults: dict[str, Any] = {
        "chip": chip, "provider": chip.provider, "destino": "5511900000001", "tipo_mensagem": "prospeccao",
        "proativa": True, "balde_em": started, "dia_local": started.date(), "texto_hash": "0" * 64, "lote": uuid4(),
        "consumidor": "teste", "regra": regra, "iniciado_em": started, "encerrado_em": started + timedelta(seconds=1),
        "resultado": ("desconhecido" if DEFAULTS[regra].may_have_left else "rejeitado") if regra else "enviado",
    }  # fmt: skip
    Tentativa.objects.create(origem_id=uuid4(), **(defaults | values))


@pytest.mark.django_db
def test_the_newest_attempts_of_every_provider_are_read_oldest_first_in_two_statements():
    chip, other = factories.chip(), factories.chip(provider="z-api")
    attempt(chip, 5)
    attempt(chip, 4, CLOSED)
    attempt(other, 3, "zapi.desconectado")
    attempt(chip, 2, resultado="iniciado", encerrado_em=None)
    attempt(other, 1, resultado="desconhecido")  # from before results had names
    attempt(chip, 60 * 24 * 8, CLOSED)
    attempt(chip, 0.5, "evolution.ack_erro", resultado="enviado", nao_entregue_em=database_now())
    now = database_now()
    with CaptureQueriesContext(connection) as queries:
        found = previa.read(days=7, now=now)
    assert len(queries) == 2
    assert [(each.regra, each.rejected) for each in found.attempts] == [
        ("", False), (CLOSED, True), ("zapi.desconectado", True), ("evolution.ack_erro", True),
    ]  # fmt: skip
    assert [each.chip for each in found.attempts] == [str(chip.pk), str(chip.pk), str(other.pk), str(chip.pk)]
    assert not found.capped
    assert set(found.lonely) == {"evolution", "z-api"}


@pytest.mark.django_db
def test_more_attempts_than_the_cap_are_cut_at_the_old_end_and_said_to_be():
    chip = factories.chip()
    for minutes in (5, 4, 3, 2):
        attempt(chip, minutes, CLOSED)
    found = previa.read(days=7, now=database_now(), most=2)
    assert (len(found.attempts), found.capped) == (2, True)
    assert abs(found.since - (database_now() - 3 * MINUTE)) < timedelta(seconds=5)
    assert not previa.read(days=7, now=database_now(), most=4).capped


@pytest.mark.django_db
def test_reading_goes_through_the_index_of_the_newest_attempts():
    """The plan of the very statement, where a scan of the table costs more than its index."""
    now = database_now()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
    plan = rows("EXPLAIN " + previa._ATTEMPTS, [now - timedelta(days=7), now, 100, 100])
    assert any("tentativas_newest_of_provider" in line["QUERY PLAN"] for line in plan)
