"""Why is nothing being sent? The first thing that blocks is named, with the next step, and nothing else is claimed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from chips.models import Chip
from chips.simulator.client import SimulatorProcess
from core.clock import Agora
from core.database import execute
from core.health import beats
from core.health.models import RoleBeat
from fila.models import Campanha, Mensagem
from julia.diagnostico import Finding, diagnose, first_blocker
from tests import factories

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)  # a Tuesday, 10:00 in Brasília
BUSINESS_HOURS = {"inicio": "08:00", "fim": "20:00", "dias": [1, 2, 3, 4, 5]}


@pytest.fixture(autouse=True)
def _working(open_operation: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation in which nothing blocks at NOW: each test then breaks one thing."""
    monkeypatch.setattr(settings, "EVOLUTION_API_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(settings, "OUTBOUND_ALLOWLIST", ["5511900000001"])
    factories.set_setting("janela_envio", BUSINESS_HOURS)
    factories.chip()
    Chip.objects.update(proximo_envio_em=NOW)
    for papel in ("worker", "scheduler"):
        beats.beat(papel, f"{papel}:1")
    RoleBeat.objects.update(beat_at=NOW - timedelta(seconds=5))
    factories.mensagem(campanha=factories.campanha(), agendar_para=NOW - timedelta(minutes=1))


def blocker(now: datetime = NOW) -> Finding:
    found = first_blocker(diagnose(now))
    assert found is not None, "nothing was found to block"
    assert found.proximo, "a blocker without a next step"
    return found


def test_where_nothing_blocks_nothing_is_said_to_block() -> None:
    findings = diagnose(NOW)
    assert first_blocker(findings) is None
    assert {finding.check: finding.ok for finding in findings} == {
        "configuracao": True,
        "banco": True,
        "ambiente": True,
        "worker": True,
        "scheduler": True,
        "chaves": True,
        "lista_de_teste": True,
        "circuitos": True,
        "chips": True,
        "limite_global": True,
        "campanhas": True,
        "horario": True,
        "fila": True,
    }


# --- one thing broken


def silent(papel: str) -> None:
    RoleBeat.objects.filter(papel=papel).update(beat_at=NOW - timedelta(minutes=10))


def closed(papel: str) -> None:
    RoleBeat.objects.filter(papel=papel).update(encerrado_em=NOW)


def open_circuit(name: str) -> None:
    execute(
        """INSERT INTO circuits (name, state, retry_at) VALUES (%s, 'open', agora() + interval '1 hour')
           ON CONFLICT (name) DO UPDATE SET state = excluded.state, retry_at = excluded.retry_at""",
        [name],
    )


def pause_campaign() -> None:
    Campanha.objects.update(status="pausada")


CASES: list[tuple[str, Callable[[], Any], str, str]] = [
    ("no chip", Chip.objects.all().delete, "chips", "nenhum dos 0 chips está em produção"),
    ("no chip in production", lambda: Chip.objects.update(status="paused"), "chips", "nenhum dos 1 chips está"),
    (
        "no chip connected",
        lambda: Chip.objects.update(evolution_connected=False),
        "chips",
        "nenhum dos 1 chips em produção está conectado ao WhatsApp",
    ),
    (
        "chip without permission",
        lambda: Chip.objects.update(pode_prospectar=False),
        "chips",
        "não tem permissão para este tipo de mensagem",
    ),
    ("chip without trust", lambda: Chip.objects.update(trust_score=10), "chips", "confiança abaixo do mínimo"),
    (
        "chip at rest",
        lambda: Chip.objects.update(cooldown_until=NOW + timedelta(hours=1)),
        "chips",
        "em descanso depois de uma falha",
    ),
    ("chip without secret", lambda: Chip.objects.update(webhook_secret=""), "chips", "segredo de webhook"),
    (
        "operation paused",
        lambda: factories.set_setting("operacao_pausada", True),
        "chaves",
        "a chave operacao_pausada está ligada e retém: acompanhamento, campanha, resposta",
    ),
    (
        "campaigns off",
        lambda: factories.set_setting("campaigns_enabled", False),
        "chaves",
        "a chave campaigns_enabled está desligada e retém: campanha",
    ),
    (
        "safe mode",
        lambda: factories.set_setting("safe_mode", True),
        "chaves",
        "a chave safe_mode está ligada e retém: acompanhamento, campanha",
    ),
    (
        "switch garbled",
        lambda: factories.set_setting("worker_fila", "sim"),
        "chaves",
        "a chave worker_fila não pôde ser lida",
    ),
    ("circuit open", lambda: open_circuit("evolution"), "circuitos", "Evolution API está aberto: nada sai por ele"),
    ("campaign paused", pause_campaign, "campanhas", "está pausada, com 1 mensagens à espera"),
    ("worker never seen", RoleBeat.objects.filter(papel="worker").delete, "worker", "nunca deu sinal de vida"),
    ("worker silent", lambda: silent("worker"), "worker", "não dá sinal desde 03/03 09:50:00"),
    ("worker ended", lambda: closed("worker"), "worker", "foi encerrado às 03/03 10:00:00"),
    ("scheduler never seen", RoleBeat.objects.filter(papel="scheduler").delete, "scheduler", "nunca deu sinal"),
    (
        "another environment",
        lambda: factories.set_setting("environment", "production"),
        "ambiente",
        "o banco diz ser de outro ambiente (production; aqui é test)",
    ),
    ("locked by hand", lambda: factories.set_setting("envio_travado", True), "ambiente", "travado em Ajustes"),
    ("lock garbled", lambda: factories.set_setting("envio_travado", "x"), "ambiente", "não pôde ser lido"),
]


@pytest.mark.parametrize(("breaks", "check", "says"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_one_thing_that_blocks_is_named(breaks: Callable[[], Any], check: str, says: str) -> None:
    if check == "chips":
        Mensagem.objects.all().delete()
    breaks()
    found = blocker()
    assert found.check == check
    assert says in found.detalhe


def test_a_database_that_is_another_project_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SUPABASE_PROJECT_REF", "projeto-a")
    factories.set_setting("supabase_project_ref", "projeto-b")
    assert "outro ambiente (projeto-b; aqui é projeto-a)" in blocker().detalhe


def test_without_simulator_and_without_allowlist_nothing_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "OUTBOUND_ALLOWLIST", [])
    found = blocker()
    assert (found.check, "OUTBOUND_ALLOWLIST vazia" in found.detalhe) == ("lista_de_teste", True)


def test_the_simulator_needs_no_allowlist(simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "OUTBOUND_ALLOWLIST", [])
    findings = {finding.check: finding for finding in diagnose(NOW)}
    assert findings["lista_de_teste"].ok is True
    assert "simulador" in findings["lista_de_teste"].detalhe


def test_in_production_the_allowlist_is_no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "OUTBOUND_ALLOWLIST", [])
    monkeypatch.setattr(settings, "PRODUCTION", True)
    assert first_blocker(diagnose(NOW)) is None


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        (datetime(2026, 3, 3, 23, 30, tzinfo=UTC), "04/03 às 08:00"),
        (datetime(2026, 3, 4, 10, 59, tzinfo=UTC), "04/03 às 08:00"),
        (datetime(2026, 3, 7, 15, 0, tzinfo=UTC), "09/03 às 08:00"),
    ],
    ids=["evening", "before opening", "saturday"],
)
def test_outside_hours_the_next_opening_is_named(now: datetime, opens: str) -> None:
    RoleBeat.objects.update(beat_at=now)
    found = blocker(now)
    assert (found.check, opens in found.detalhe) == ("horario", True)


def test_a_recipients_open_zone_is_enough() -> None:
    """20:30 in Brasília is 19:30 in Manaus."""
    now = datetime(2026, 3, 3, 23, 30, tzinfo=UTC)
    RoleBeat.objects.update(beat_at=now)
    factories.mensagem(cliente=factories.cliente(telefone="5592900000001"))
    assert first_blocker(diagnose(now)) is None


def test_an_active_campaign_with_messages_outweighs_a_paused_one() -> None:
    factories.mensagem(campanha=factories.campanha(status="pausada"))
    assert first_blocker(diagnose(NOW)) is None


@pytest.mark.parametrize("other_is", [silent, closed])
def test_one_living_worker_is_enough(other_is: Callable[[str], None]) -> None:
    other_is("worker")
    beats.beat("worker", "worker:2")
    RoleBeat.objects.filter(instancia="worker:2").update(beat_at=NOW - timedelta(seconds=20))
    assert first_blocker(diagnose(NOW)) is None


def test_a_busy_chip_is_no_blocker() -> None:
    Chip.objects.update(proximo_envio_em=NOW + timedelta(seconds=30))
    assert first_blocker(diagnose(NOW)) is None


def test_an_empty_fila_is_no_blocker() -> None:
    Mensagem.objects.all().delete()
    findings = {finding.check: finding for finding in diagnose(NOW)}
    assert (findings["fila"].ok, findings["fila"].detalhe) == (None, "não há mensagem pendente: nada a enviar")


def test_messages_of_unknown_outcome_are_told() -> None:
    factories.mensagem(status="incerta")
    findings = {finding.check: finding for finding in diagnose(NOW)}
    assert "1 mensagens com resultado desconhecido" in findings["incertas"].detalhe


# --- several things broken


IN_ORDER = [
    ("ambiente", lambda: factories.set_setting("envio_travado", True)),
    ("worker", lambda: silent("worker")),
    ("scheduler", lambda: silent("scheduler")),
    ("chaves", lambda: factories.set_setting("operacao_pausada", True)),
    ("chips", lambda: Chip.objects.update(status="paused")),
    ("campanhas", pause_campaign),
]


@pytest.mark.parametrize("first", range(len(IN_ORDER)))
def test_of_several_the_one_nearest_to_the_ground_comes_first(first: int) -> None:
    for _, breaks in IN_ORDER[first:]:
        breaks()
    assert blocker().check == IN_ORDER[first][0]
    blocking = {finding.check for finding in diagnose(NOW) if finding.ok is False}
    assert blocking == {check for check, _ in IN_ORDER[first:]}, "the others are told too"


def test_without_a_database_nothing_else_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("connection refused for julia at 127.0.0.1")

    monkeypatch.setattr(connection, "ensure_connection", away)
    findings = diagnose(NOW)
    assert [finding.check for finding in findings] == ["configuracao", "banco"]
    assert findings[-1].detalhe == "o banco de dados não responde (OperationalError)"


def test_missing_migrations_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda *_: [("a", False), ("b", False)])
    assert (blocker().check, blocker().detalhe) == ("banco", "2 migrações por aplicar")


def test_no_phone_number_is_shown() -> None:
    said = json.dumps([(finding.detalhe, finding.proximo) for finding in diagnose(NOW)])
    phones = [*Chip.objects.values_list("telefone", flat=True), *settings.OUTBOUND_ALLOWLIST]
    assert not [phone for phone in phones if phone in said]


# --- the command


@pytest.fixture
def working_now() -> None:
    """The command reads the real clock."""
    factories.set_setting("janela_envio", factories.OPEN_ALL_DAY)
    RoleBeat.objects.update(beat_at=Agora())


def run(*words: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("diagnostico", *words, stdout=out)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_the_command_ends_with_0_where_nothing_blocks(working_now: None) -> None:
    code, said = run()
    assert code == 0
    assert said.rstrip().endswith("Nada bloqueia o envio.")


def test_the_command_ends_with_1_and_says_what_to_do(working_now: None) -> None:
    RoleBeat.objects.filter(papel="worker").delete()
    code, said = run()
    assert code == 1
    assert "PARA  worker: o worker nunca deu sinal de vida" in said
    assert "Primeiro bloqueio: o worker nunca deu sinal de vida: a fila não é consumida" in said
    assert "O que fazer: Inicie-o: `python manage.py servir --papel worker`." in said


@pytest.mark.parametrize("blocked", [True, False])
def test_programs_get_the_same_as_json(working_now: None, blocked: bool) -> None:
    if blocked:
        factories.set_setting("operacao_pausada", True)
    code, said = run("--json")
    report = json.loads(said)
    assert code == int(blocked)
    assert (report["bloqueio"] or {}).get("check") == ("chaves" if blocked else None)
    assert [finding["check"] for finding in report["verificacoes"]][:2] == ["configuracao", "banco"]
    assert set(report["verificacoes"][0]) == {"check", "ok", "detalhe", "proximo"}


def test_one_open_circuit_beside_a_working_provider_is_told_of_and_blocks_nothing() -> None:
    factories.chip(provider="z-api", proximo_envio_em=NOW)
    open_circuit("evolution")
    findings = diagnose(NOW)
    assert [finding.ok for finding in findings if finding.check == "circuitos"] == [None]
