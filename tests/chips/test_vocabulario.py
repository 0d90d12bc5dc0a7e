"""The error vocabulary: every result has one rule, every rule can be reached, structure alone decides which."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from chips.models import RegraErro
from chips.providers import evolution_contract, zapi_contract
from chips.providers.base import ChipAddress, Code, ErrorKind, Fault, SendResult, Verdict
from chips.providers.classification import accepted
from chips.providers.registry import provider_for
from chips.simulator.client import SimulatorProcess
from chips.vocabulario import alertas, catalogo
from chips.vocabulario.catalogo import DEFAULTS, ENTRIES
from chips.vocabulario.choices import ContaEm
from chips.vocabulario.circuitos import told
from chips.vocabulario.models import Culpa
from chips.vocabulario.rules import Rule
from chips.vocabulario.services import RuleRefused, adjust, apply, create_missing_rows, current
from core.alerts.models import Alerta
from core.audit.services import MotivoMissing
from core.circuits.services import CallResult
from core.database import execute
from core.integrations.http import new_client
from core.models import AuditEntry
from tests import factories
from tests.chips.vocabulary import NUMBER, WAYS, WRITTEN_BY_SQL

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MOTIVO = "o provedor mudou o texto da resposta"


def reached(codigo: str) -> SendResult:
    return WAYS[codigo]() if codigo in WAYS else catalogo.result(codigo)


# --- the closed set

FAMILIES: dict[str, tuple[str, ...]] = {"": ("rede.", "nos."), "evolution": ("evolution.",), "z-api": ("zapi.",)}


def test_every_rule_can_be_reached_and_nothing_else_is_a_rule():
    assert set(WAYS) | WRITTEN_BY_SQL == set(ENTRIES)


@pytest.mark.parametrize("codigo", sorted(ENTRIES))
def test_a_result_carries_its_rule_and_nothing_that_the_rule_does_not_say(codigo: str):
    entry, result = ENTRIES[codigo], reached(codigo)
    assert result.rule == codigo
    assert (result.verdict, result.kind, result.code) == (entry.verdict, entry.kind, entry.code)
    assert (result.fault, result.retryable, result.restriction) == (
        entry.rule.fault,
        entry.rule.retryable,
        entry.rule.restriction,
    )
    assert result.cooldown == (entry.rule.cooldown or None)


@pytest.mark.parametrize("codigo", sorted(ENTRIES))
def test_an_entry_fits_its_column_and_tells_people_what_to_do(codigo: str):
    entry = ENTRIES[codigo]
    assert len(codigo) <= 60
    assert entry.provider in ("", "evolution", "z-api")
    assert codigo.startswith(FAMILIES[entry.provider])
    assert 30 <= len(entry.rule.sentence) <= 200
    assert entry.rule.sentence.endswith(".")
    assert entry.reason.endswith(".")
    assert entry.rule.retryable <= (entry.verdict is Verdict.NAO_ENVIADA)


_TEXT = st.text(max_size=40)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_BODY = st.binary(max_size=60) | _JSON.map(lambda value: json.dumps(value).encode()) | _JSON.map(
    lambda value: json.dumps({"error": "x", "response": {"message": value}}).encode()
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(status=st.integers(100, 599), body=_BODY)
def test_whatever_a_provider_answers_is_in_the_set(status: int, body: bytes):
    for result in (
        evolution_contract.classify(status, body, number=NUMBER),
        zapi_contract.classify(status, body),
        zapi_contract.not_connected(zapi_contract.classify_state(status, body)),
    ):
        assert result.rule in ENTRIES or (result.rule == "" and result.verdict is Verdict.ACEITA)


# --- structure decides, never digits in a text


def _named(status: int, text: str) -> list[str]:
    envelope = json.dumps({"status": status, "error": "x", "response": {"message": [text]}}).encode()
    plain = json.dumps({"status": status, "error": "x", "response": {"message": text}}).encode()
    error = json.dumps({"error": text}).encode()
    return [
        evolution_contract.classify(status, envelope, number=NUMBER).rule,
        evolution_contract.classify(status, plain, number=NUMBER).rule,
        zapi_contract.classify(status, error).rule,
        zapi_contract.classify(status, text.encode()).rule,
    ]


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 405, 409, 415, 422, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("digits", ["400", "401", "404", "429", "500", "503", "5511940012345", "+55 (11) 95003-4290"])
def test_digits_inside_a_text_change_nothing(status: int, digits: str):
    without = _named(status, "msg to somebody failed after a while")
    assert _named(status, f"msg to {digits} failed after {digits} ms") == without


@settings(max_examples=200, deadline=None)
@given(
    digits=st.integers(0, 10**15).map(str),
    status=st.sampled_from([400, 403, 404, 429, 500, 503]),
    shape=st.sampled_from(["falhou {}", "{} falhou", "codigo {} ({})", "HTTP/1.1 {} falhou"]),
)
def test_no_number_in_any_place_of_a_text_moves_the_result(digits: str, status: int, shape: str):
    assert _named(status, shape.format(digits, digits)) == _named(status, shape.format("x", "x"))


@pytest.mark.parametrize("text", ["Olá, isto não é spam", "somos da equipe 400, não bloqueado"])
def test_the_status_outranks_the_words_of_a_pause(text: str):
    assert set(_named(429, f"too many: {text}")) == {"evolution.http_429", "zapi.http_429"}


@pytest.mark.parametrize(
    ("error", "code", "rule"),
    [
        ("Did not have permission to send this message.", "", "zapi.entrega_restrita"),
        ("WhatsApp did not allow sending this message", "", "zapi.entrega_restrita"),
        ("Message has not been sent because it got invalid phone number", "", "zapi.entrega_numero_inexistente"),
        ("qualquer coisa", "SHADOW_BAN", "zapi.entrega_restrita"),
        ("qualquer coisa", "", "zapi.entrega_erro"),
        ("Timeout on send message", "", "zapi.entrega_tempo"),
        ("not a Timeout on send message", "", "zapi.entrega_erro"),
    ],
)
def test_a_delivery_error_is_read_by_its_whole_documented_text(error: str, code: str, rule: str):
    assert zapi_contract.delivery_failed(error, code).rule == rule


# --- whose fault, and where it counts (decisions §14)

DECIDED = {
    "evolution.exists_false": (Fault.DESTINATARIO, ContaEm.NENHUM, 0),
    "evolution.nao_autorizado": (Fault.NOS, ContaEm.PROVEDOR, 0),
    "evolution.instancia_inexistente": (Fault.CHIP, ContaEm.CHIP, 60),
    "evolution.checagem_fechada": (Fault.CHIP, ContaEm.CHIP, 60),
    "evolution.restricao_banido": (Fault.CHIP, ContaEm.CHIP, 30 * 60),
    "evolution.http_400": (Fault.CHIP, ContaEm.CHIP, 15 * 60),
    "evolution.http_5xx": (Fault.PROVEDOR, ContaEm.PROVEDOR, 0),
    "evolution.http_503": (Fault.PROVEDOR, ContaEm.PROVEDOR, 5 * 60),
    "zapi.http_429": (Fault.CHIP, ContaEm.NENHUM, 5 * 60),
    "zapi.not_allowed": (Fault.NOS, ContaEm.PROVEDOR, 0),
    "rede.recusada": (Fault.PROVEDOR, ContaEm.PROVEDOR, 0),
    "rede.perdida": (Fault.PROVEDOR, ContaEm.PROVEDOR, 0),
    "rede.tempo": (Fault.PROVEDOR, ContaEm.NENHUM, 0),
}


@pytest.mark.parametrize("codigo", sorted(DECIDED))
def test_faults_circuits_and_rests_are_those_decided(codigo: str):
    rule = DEFAULTS[codigo]
    assert (rule.fault, rule.circuit, rule.cooldown.total_seconds()) == DECIDED[codigo]


def test_a_timeout_counts_on_no_circuit():
    timeouts = [entry for entry in ENTRIES.values() if entry.kind is ErrorKind.TIMEOUT]
    assert len(timeouts) >= 6
    assert {entry.rule.circuit for entry in timeouts} == {ContaEm.NENHUM}
    assert {told(entry.codigo, DEFAULTS) for entry in timeouts} == {(CallResult.TIMEOUT, CallResult.TIMEOUT)}


@pytest.mark.parametrize(
    ("codigo", "provider", "chip"),
    [
        ("", CallResult.SUCCESS, CallResult.SUCCESS),
        ("evolution.exists_false", CallResult.SUCCESS, CallResult.NEUTRAL),
        ("evolution.checagem_proibido", CallResult.NEUTRAL, CallResult.TRIP),
        ("evolution.checagem_fechada", CallResult.NEUTRAL, CallResult.FAILURE),
        ("evolution.http_5xx", CallResult.FAILURE, CallResult.FAILURE),
        ("evolution.nao_autorizado", CallResult.FAILURE, CallResult.NEUTRAL),
        ("zapi.http_429", CallResult.NEUTRAL, CallResult.NEUTRAL),
        ("nos.retirada", CallResult.NEUTRAL, CallResult.NEUTRAL),
        ("de.outra_versao", CallResult.NEUTRAL, CallResult.NEUTRAL),
    ],
)
def test_what_a_result_tells_the_circuits(codigo: str, provider: CallResult, chip: CallResult):
    assert told(codigo, DEFAULTS) == (provider, chip)


# --- the rest that an answer asks for


@pytest.mark.parametrize(
    ("status", "message", "retry_after", "rest"),
    [
        (429, "x", None, 5 * MINUTE),
        (429, "x", 40 * MINUTE, 40 * MINUTE),
        (503, "x", timedelta(seconds=20), timedelta(seconds=20)),
        (500, "x", 2 * MINUTE, 2 * MINUTE),
        (500, "forbidden", timedelta(seconds=5), 60 * MINUTE),
        (500, "forbidden", 90 * MINUTE, 90 * MINUTE),
    ],
)
def test_a_real_retry_after_wins_and_never_shortens_a_restriction(
    status: int, message: str, retry_after: timedelta | None, rest: timedelta
):
    body = json.dumps({"response": {"message": message}}).encode()
    result = evolution_contract.classify(status, body, retry_after=retry_after)
    assert (result.cooldown, result.retry_after) == (rest, retry_after)
    generous = {**DEFAULTS, result.rule: replace(DEFAULTS[result.rule], cooldown=7 * MINUTE)}
    ours = apply(result, generous).cooldown
    assert ours == (max(retry_after or MINUTE, 7 * MINUTE) if result.restriction else retry_after or 7 * MINUTE)


def test_a_recipients_fault_rests_nobody():
    body = json.dumps({"response": {"message": [{"exists": False}]}}).encode()
    assert evolution_contract.classify(400, body, retry_after=MINUTE).cooldown is None


# --- rules in force


def changed(codigo: str, **values: Any) -> dict[str, Rule]:
    return {**DEFAULTS, codigo: replace(DEFAULTS[codigo], **values)}


def test_an_adjusted_rule_is_folded_into_the_result():
    rules = changed(
        "evolution.checagem_fechada", fault=Fault.PROVEDOR, retryable=False, cooldown=9 * MINUTE, restriction=True
    )
    result = apply(reached("evolution.checagem_fechada"), rules)
    assert (result.fault, result.retryable, result.cooldown, result.restriction) == (
        Fault.PROVEDOR,
        False,
        9 * MINUTE,
        True,
    )
    assert (result.verdict, result.kind, result.code) == (Verdict.NAO_ENVIADA, ErrorKind.SESSAO, Code.NOT_CONNECTED)


@pytest.mark.parametrize("codigo", sorted(ENTRIES))
def test_no_rule_makes_something_repeatable_that_may_have_left(codigo: str):
    eager = {key: replace(rule, may_have_left=False, retryable=True) for key, rule in DEFAULTS.items()}
    result = apply(reached(codigo), eager)
    assert result.verdict is ENTRIES[codigo].verdict
    assert result.retryable is (result.verdict is Verdict.NAO_ENVIADA)


def test_results_without_a_rule_and_accepted_ones_stay_as_they_are():
    ok, odd = accepted("3EB0", status=201), replace(reached("rede.tempo"), rule="de.outra_versao")
    assert (apply(ok, DEFAULTS), apply(odd, DEFAULTS), apply(odd, {})) == (ok, odd, odd)


def test_a_rule_cannot_contradict_itself():
    with pytest.raises(ValueError, match="never tried again"):
        replace(DEFAULTS["rede.tempo"], retryable=True)
    with pytest.raises(ValueError, match="not negative"):
        replace(DEFAULTS["rede.tempo"], cooldown=-MINUTE)


@pytest.mark.django_db
def test_the_rules_in_force_are_the_catalogue_in_one_statement():
    create_missing_rows()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert current() == DEFAULTS
    assert len(queries) == 1


@pytest.mark.django_db
def test_what_raw_sql_adjusts_is_in_force_and_the_contract_is_not_adjustable():
    create_missing_rows()
    execute("UPDATE regras_de_erro SET culpa = 'provedor', descanso_s = 90 WHERE codigo = 'evolution.http_400'")
    execute("UPDATE regras_de_erro SET pode_ter_saido = false, tentar_de_novo = false WHERE codigo = 'rede.tempo'")
    rules = current()
    assert (rules["evolution.http_400"].fault, rules["evolution.http_400"].cooldown) == (
        Fault.PROVEDOR,
        timedelta(seconds=90),
    )
    assert rules["rede.tempo"] == DEFAULTS["rede.tempo"]


DAMAGE = {
    "missing": ["DELETE FROM regras_de_erro WHERE codigo = 'rede.tempo'"],
    "without a sentence": ["UPDATE regras_de_erro SET frase = '  ' WHERE codigo = 'rede.tempo'"],
    "somebody else's fault": [
        "ALTER TABLE regras_de_erro DROP CONSTRAINT regras_culpa_is_lawful",
        "UPDATE regras_de_erro SET culpa = 'ninguem', descanso_s = 900 WHERE codigo = 'rede.tempo'",
    ],
    "repeating what may have left": [
        "ALTER TABLE regras_de_erro DROP CONSTRAINT regras_unknown_is_never_repeated",
        "UPDATE regras_de_erro SET tentar_de_novo = true WHERE codigo = 'rede.tempo'",
    ],
    "of another version": ["UPDATE regras_de_erro SET codigo = 'de.outra_versao' WHERE codigo = 'rede.tempo'"],
}


@pytest.mark.django_db
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_row_that_is_missing_or_senseless_means_the_default(damage: str):
    create_missing_rows()
    for statement in DAMAGE[damage]:
        execute(statement)
    assert current() == DEFAULTS


@pytest.mark.django_db
def test_a_migration_inserts_what_is_missing_and_keeps_what_people_adjusted():
    assert set(RegraErro.objects.values_list("codigo", flat=True)) == set(ENTRIES)
    RegraErro.objects.filter(pk="rede.perdida").update(culpa=Culpa.NOS, descanso_s=30, frase="Nossa frase.")
    RegraErro.objects.filter(pk="rede.recusada").update(provider="evolution", tentar_de_novo=True)
    RegraErro.objects.filter(pk="rede.tempo").update(pode_ter_saido=False, tentar_de_novo=True)
    RegraErro.objects.filter(pk="nos.retirada").delete()
    create_missing_rows()
    kept = RegraErro.objects.get(pk="rede.perdida")
    assert (kept.culpa, kept.descanso_s, kept.frase) == ("nos", 30, "Nossa frase.")
    assert RegraErro.objects.get(pk="rede.recusada").provider == ""
    factual = RegraErro.objects.get(pk="rede.tempo")
    assert (factual.pode_ter_saido, factual.tentar_de_novo) == (True, False)
    assert RegraErro.objects.filter(pk="nos.retirada").exists()


# --- changing a rule

CODIGO = "evolution.checagem_fechada"


def change(rule: Rule, *, seen: Rule | None = None, motivo: str = MOTIVO) -> bool:
    return adjust(CODIGO, rule, seen=seen or current()[CODIGO], actor="ana", motivo=motivo, now=NOW)


@pytest.mark.django_db
def test_a_change_is_in_force_at_once_with_its_audit_entry_and_its_history():
    rule = replace(DEFAULTS[CODIGO], cooldown=5 * MINUTE, sentence="Reconecte o chip.")
    assert change(rule)
    assert current()[CODIGO] == rule
    row = RegraErro.objects.get(pk=CODIGO)
    assert (row.alterada_por, row.alterada_em) == ("ana", NOW)
    entry = AuditEntry.objects.get(acao="regra_de_erro_ajustada")
    assert (entry.entidade_id, entry.motivo, entry.detalhes["descanso_s"]) == (CODIGO, MOTIVO, [60, 300])
    newest = row.historico.order_by("-pgh_id").select_related("pgh_context").first()  # type: ignore[attr-defined]
    assert newest.pgh_context.metadata == {"usuario": "ana", "motivo": MOTIVO}
    assert (newest.descanso_s, newest.frase) == (300, "Reconecte o chip.")


@pytest.mark.django_db
def test_restoring_the_default_is_told_as_such():
    change(replace(DEFAULTS[CODIGO], restriction=True))
    assert change(DEFAULTS[CODIGO])
    assert current()[CODIGO] == DEFAULTS[CODIGO]
    assert AuditEntry.objects.filter(acao="regra_de_erro_restaurada").count() == 1


@pytest.mark.django_db
def test_a_change_that_changes_nothing_leaves_no_trace():
    assert not change(DEFAULTS[CODIGO])
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("broken", "refused"),
    [
        ({"motivo": "curto"}, MotivoMissing),
        ({"seen": replace(DEFAULTS[CODIGO], restriction=True)}, RuleRefused),
        ({"rule": replace(DEFAULTS[CODIGO], may_have_left=True, retryable=False)}, RuleRefused),
        ({"rule": replace(DEFAULTS[CODIGO], cooldown=timedelta(days=8))}, RuleRefused),
        ({"rule": replace(DEFAULTS[CODIGO], sentence=" ")}, RuleRefused),
        ({"rule": replace(DEFAULTS[CODIGO], sentence="x" * 201)}, RuleRefused),
    ],
)
def test_an_impossible_change_is_refused_and_leaves_no_trace(broken: dict[str, Any], refused: type[Exception]):
    values: dict[str, Any] = {"rule": replace(DEFAULTS[CODIGO], cooldown=MINUTE * 2), **broken}
    with pytest.raises(refused):
        change(**values)
    assert current()[CODIGO] == DEFAULTS[CODIGO]
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_supervisors_at_once_one_wins_and_the_other_is_told():
    create_missing_rows()
    start, told_off, won = threading.Barrier(2), list[RuleRefused](), list[int]()

    def press(minutes: int) -> None:
        try:
            start.wait(10)
            change(replace(DEFAULTS[CODIGO], cooldown=minutes * MINUTE), seen=DEFAULTS[CODIGO])
            won.append(minutes)
        except RuleRefused as refusal:
            told_off.append(refusal)
        finally:
            connection.close()

    presses = [threading.Thread(target=press, args=(minutes,)) for minutes in (2, 3)]
    for each in presses:
        each.start()
    for each in presses:
        each.join()
    assert (len(won), len(told_off)) == (1, 1)
    assert "Outra pessoa" in str(told_off[0])
    assert current()[CODIGO].cooldown == won[0] * MINUTE
    assert AuditEntry.objects.filter(entidade_id=CODIGO).count() == 1


# --- alerts that only people can end


@pytest.mark.django_db
def test_a_refused_credential_is_one_open_alert_per_chip_until_a_call_of_it_is_accepted():
    chip, other = factories.chip("julia_5521900005678"), factories.chip()
    refused = reached("evolution.nao_autorizado")
    assert alertas.raise_for([(chip.pk, refused), (other.pk, reached("evolution.http_5xx"))], DEFAULTS) == 1
    assert alertas.raise_for([(chip.pk, refused), (chip.pk, refused)], DEFAULTS) == 1
    alert = Alerta.objects.get()
    assert (alert.tipo, alert.chave, alert.severidade, alert.ocorrencias) == (
        "falha_autenticacao",
        f"chip:{chip.pk}",
        "critical",
        2,
    )
    assert alert.titulo == "O provedor recusou as credenciais de julia_…5678"
    assert alert.mensagem == DEFAULTS["evolution.nao_autorizado"].sentence
    assert alertas.resolve_for([other.pk]) == 0
    assert alertas.resolve_for([chip.pk, other.pk]) == 1
    assert alertas.resolve_for([]) == 0


@pytest.mark.django_db
def test_ordinary_results_cost_no_query_and_no_alert():
    ordinary = [(UUID(int=1), reached(codigo)) for codigo in ("rede.tempo", "evolution.exists_false", "zapi.http_429")]
    with CaptureQueriesContext(connection) as queries:
        assert alertas.raise_for(ordinary, DEFAULTS) == 0
    assert len(queries) == 0


@pytest.mark.parametrize(
    ("codigo", "tipo"),
    [
        ("zapi.not_allowed", "falha_autenticacao"),
        ("zapi.status_credencial", "falha_autenticacao"),
        ("nos.sem_credenciais", "falha_autenticacao"),
        ("evolution.esquema", "pedido_recusado"),
        ("evolution.rota_inexistente", "pedido_recusado"),
    ],
)
@pytest.mark.django_db
def test_our_own_faults_are_alerts_of_their_kind(codigo: str, tipo: str):
    alertas.raise_for([(factories.chip().pk, reached(codigo))], DEFAULTS)
    assert Alerta.objects.get().tipo == tipo


# --- over real HTTP


@pytest.fixture(scope="module")
def process() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as running:
        yield running


@pytest.fixture
def simulator(process: SimulatorProcess) -> SimulatorProcess:
    process.reset()
    process.register("chip-01", phone="5511900000001", token="token-do-chip")
    process.register("z-01", phone="5511900000009", provider="z-api", token="zt")
    return process


def sent(simulator: SimulatorProcess, provider: str, instance: str = "", **changes: Any) -> SendResult:
    names = {"evolution": ("chip-01", simulator.evolution_url), "z-api": ("z-01", simulator.zapi_url)}
    name, url = names[provider]
    name = instance or name
    chip = ChipAddress(
        UUID(int=1), provider, url, instance_name=name, api_key="token-do-chip", zapi_instance_id=name, zapi_token="zt"
    )

    async def run() -> SendResult:
        async with new_client(read_s=2.0) as client:
            return await provider_for(provider, client).send_text(
                replace(chip, **changes), number=NUMBER, text="Oi", correlation_id="c1"
            )

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("provider", "kind", "parameters", "rule"),
    [
        ("evolution", "restrito", {}, "evolution.checagem_proibido"),
        ("evolution", "restrito", {"message": "rate-overlimit"}, "evolution.checagem_limite"),
        ("evolution", "restrito_400", {}, "evolution.envio_proibido"),
        ("evolution", "500_nao_enviou", {}, "evolution.checagem_tempo"),
        ("evolution", "400_nao_enviou", {}, "evolution.envio_fechado"),
        ("evolution", "400_enviou", {}, "evolution.envio_banco"),
        ("evolution", "inexistente", {"numbers": [NUMBER]}, "evolution.exists_false"),
        ("evolution", "desconectado", {}, "evolution.checagem_fechada"),
        ("evolution", "desconectado", {"variant": "nunca"}, "evolution.checagem_nao_carregada"),
        ("evolution", "banco_fora", {}, "evolution.nao_autorizado"),
        ("evolution", "429", {"retry_after_s": 120}, "evolution.http_429"),
        ("evolution", "5xx", {"status": 503}, "evolution.http_503"),
        ("evolution", "html_502", {}, "evolution.http_5xx"),
        ("evolution", "malformado", {}, "evolution.sem_chave"),
        ("evolution", "reset_antes", {}, "rede.perdida"),
        ("evolution", "reset_depois", {}, "rede.perdida"),
        ("evolution", "buraco_negro", {}, "rede.tempo"),
        ("evolution", "recusa", {}, "rede.recusada"),
        ("z-api", "400_nao_enviou", {}, "zapi.http_400"),
        ("z-api", "500_nao_enviou", {}, "zapi.http_5xx"),
        ("z-api", "desconectado", {}, "zapi.desconectado"),
        ("z-api", "429", {}, "zapi.http_429"),
        ("z-api", "reset_depois", {}, "rede.perdida"),
    ],
)
def test_each_fault_of_a_provider_comes_back_under_its_rule(
    simulator: SimulatorProcess, provider: str, kind: str, parameters: dict[str, Any], rule: str
):
    simulator.fault(kind, provider=provider, **parameters)
    result = sent(simulator, provider)
    assert result.rule == rule
    if parameters.get("retry_after_s"):
        assert result.cooldown == timedelta(seconds=parameters["retry_after_s"])


@pytest.mark.parametrize(
    ("provider", "instance", "changes", "rule"),
    [
        ("evolution", "", {"api_key": "errada"}, "evolution.nao_autorizado"),
        ("evolution", "outra", {}, "evolution.instancia_inexistente"),
        ("z-api", "outra", {}, "zapi.status_instancia"),
    ],
)
def test_a_wrong_identity_comes_back_under_its_rule(
    simulator: SimulatorProcess, provider: str, instance: str, changes: dict[str, str], rule: str
):
    assert sent(simulator, provider, instance, **changes).rule == rule


@pytest.mark.parametrize("provider", ["evolution", "z-api"])
def test_a_client_message_id_is_not_written_where_the_provider_has_none(simulator: SimulatorProcess, provider: str):
    """Both vendors choose ids themselves; Z-API would even read `messageId` as the message replied to."""
    names = {"evolution": ("chip-01", simulator.evolution_url), "z-api": ("z-01", simulator.zapi_url)}
    name, url = names[provider]
    chip = ChipAddress(UUID(int=1), provider, url, name, "token-do-chip", name, "zt")

    async def run() -> tuple[bool, SendResult]:
        async with new_client(read_s=2.0) as client:
            vendor = provider_for(provider, client)
            result = await vendor.send_text(
                chip, number=NUMBER, text="Oi", correlation_id="c1", client_message_id="TENTATIVA42"
            )
            return vendor.capabilities.client_message_id, result

    capable, result = asyncio.run(run())
    assert (capable, result.verdict) == (False, Verdict.ACEITA)
    assert result.provider_message_id != "TENTATIVA42"
    (record,) = simulator.wait_for(lambda truth: truth.total == 1).records
    assert record.key_id != "TENTATIVA42"


def test_a_rule_outside_the_set_cannot_be_named():
    with pytest.raises(KeyError):
        catalogo.result("evolution.inventada")
