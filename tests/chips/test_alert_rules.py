"""What the fleet watches: connections, how many chips can carry what, chips that fail. Quiet on small fleets."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest

from chips.alert_rules import conexoes, pool, um_chip
from chips.choices import TipoMensagem
from chips.models import Chip
from core.alerts.evaluator import evaluate
from core.alerts.models import Alerta, Severidade
from core.alerts.rules import Finding
from core.circuits.names import of_chip
from core.clock import database_now
from core.database import execute
from tests import factories
from tests.core.test_circuits_services import open_circuit
from tests.fila.held import attempt_of

pytestmark = pytest.mark.django_db

Rule = Callable[[datetime], Iterable[Finding]]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
GONE = {"conexao_estado": "desconectado", "conexao_falhas": 2, "evolution_connected": False}


@pytest.fixture
def now() -> datetime:
    return database_now()


def found(rule: Rule, now: datetime) -> dict[str, Finding]:
    return {each.chave: each for each in rule(now)}


def fleet(now: datetime, count: int, **values: Any) -> list[Chip]:
    return [factories.chip(proximo_envio_em=now - MINUTE, **values) for _ in range(count)]


def disconnect(chip: Chip, at: datetime, **values: Any) -> None:
    Chip.objects.filter(pk=chip.pk).update(disconnected_since=at, conexao_desde=at, **(GONE | values))


# Connections -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "is_told"),
    [
        ({}, True),
        ({"conexao_estado": "conectado"}, False),  # one failed check: a blip
        ({"status": "cancelled"}, False),
        ({"status": "paused"}, False),
    ],
)
def test_a_chip_is_disconnected_after_two_checks(now: datetime, values: dict[str, Any], is_told: bool) -> None:
    _, lost = fleet(now, 2)
    disconnect(lost, now - 7 * MINUTE, **values)
    assert set(found(conexoes.whatsapp_desconectado, now)) == ({of_chip(lost.pk)} if is_told else set())


def test_each_instance_has_an_alert_of_its_own_with_its_evidence(now: datetime) -> None:
    chips = fleet(now, 4)
    for lost in chips[:2]:
        disconnect(lost, now - 7 * MINUTE, ultimo_envio_em=now - 9 * MINUTE)
    told = found(conexoes.whatsapp_desconectado, now)
    assert set(told) == {of_chip(lost.pk) for lost in chips[:2]}
    finding = told[of_chip(chips[0].pk)]
    assert finding.severidade is Severidade.CRITICAL
    assert (finding.valor, finding.desde) == (7, now - 7 * MINUTE)
    assert "7 min" in finding.mensagem
    assert not found(conexoes.whatsapp_fora, now)


def test_an_ended_session_asks_for_the_qr_code_and_a_ban_is_history_after_a_day(now: datetime) -> None:
    ended, banned = fleet(now, 2)
    factories.chip()
    Chip.objects.filter(pk=ended.pk).update(status="paused", sessao_encerrada_em=now - MINUTE)
    Chip.objects.filter(pk=banned.pk).update(status="banned", banned_at=now - HOUR)
    told = found(conexoes.whatsapp_desconectado, now)
    assert "QR code" in told[of_chip(ended.pk)].mensagem
    assert "banido" in told[of_chip(banned.pk)].titulo
    assert of_chip(banned.pk) not in found(conexoes.whatsapp_desconectado, now + DAY)


def test_when_nobody_is_connected_one_alert_speaks_for_all(now: datetime) -> None:
    for lost in fleet(now, 3):
        disconnect(lost, now - 3 * MINUTE)
    evaluate(now, only=("whatsapp_fora", "whatsapp_desconectado", "pool_vazio"))
    whole = Alerta.objects.get(tipo="whatsapp_fora")
    assert whole.anunciado_em is not None
    singles = Alerta.objects.filter(tipo="whatsapp_desconectado")
    assert {(each.inibido_por, each.anunciado_em) for each in singles} == {("whatsapp_fora", None)}


def test_old_bans_and_an_installation_without_chips_are_no_outage(now: datetime) -> None:
    assert not found(conexoes.whatsapp_fora, now)
    (banned,) = fleet(now, 1)
    Chip.objects.filter(pk=banned.pk).update(status="banned", banned_at=now - 2 * DAY, evolution_connected=False)
    assert not found(conexoes.whatsapp_fora, now)


def test_connected_but_mute_is_a_state_of_its_own(now: datetime) -> None:
    (mute,) = fleet(now, 1)
    Chip.objects.filter(pk=mute.pk).update(conexao_estado="conectado_mas_mudo", conexao_desde=now - 12 * MINUTE)
    assert set(found(conexoes.chip_mudo, now)) == {of_chip(mute.pk)}
    assert not found(conexoes.whatsapp_desconectado, now)


def test_a_provider_that_does_not_answer_is_one_alert_and_changes_no_chip(now: datetime) -> None:
    for chip in fleet(now, 3):
        Chip.objects.filter(pk=chip.pk).update(
            conexao_sem_resposta=2, conexao_sem_resposta_desde=now - 6 * MINUTE, conexao_erro="rede"
        )
    finding = found(conexoes.provedor_sem_resposta, now)["evolution"]
    assert (finding.valor, finding.severidade) == (3, Severidade.ERROR)
    assert not found(conexoes.whatsapp_desconectado, now)


def test_the_circuit_of_a_chip_is_told_of_while_it_is_in_production(now: datetime) -> None:
    working, out = fleet(now, 2)
    for chip in (working, out):
        open_circuit(of_chip(chip.pk))
    Chip.objects.filter(pk=out.pk).update(status="degraded")
    assert set(found(conexoes.circuito_de_chip_aberto, now)) == {of_chip(working.pk)}


# Pool ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("good", "lost", "severidade"),
    [
        (3, 0, None),
        (2, 0, None),  # a fleet of two is no fault
        (2, 1, Severidade.WARNING),
        (3, 5, None),
        (0, 3, Severidade.CRITICAL),
    ],
)
def test_prospecting_is_low_below_three_of_a_fleet_that_had_three(
    now: datetime, good: int, lost: int, severidade: Severidade | None
) -> None:
    fleet(now, good)
    for chip in fleet(now, lost, ultimo_envio_em=now - HOUR):
        disconnect(chip, now - HOUR)
    finding = found(pool.pool_baixo_prospeccao, now).get("")
    assert (finding.severidade if finding else None) is severidade


@pytest.mark.parametrize(
    ("lost", "is_told"),
    [
        ({"status": "degraded", "ultimo_envio_em": -HOUR}, True),
        (
            {"status": "degraded", "ultimo_envio_em": -2 * DAY},
            False,
        ),  # a smaller fleet
        ({"status": "warming"}, False),
        ({"bloqueio_manual": True}, False),  # long ago
        ({"bloqueio_manual": True, "bloqueado_em": -HOUR}, True),
        ({"bloqueio_manual": True, "ultimo_envio_em": -HOUR}, True),
        ({"pode_prospectar": False}, False),
        ({"trust_score": 59}, True),
        ({"trust_score": 60}, False),
        ({"cooldown_until": 20 * MINUTE}, False),  # back within half an hour
        ({"cooldown_until": 40 * MINUTE}, True),
        ({"limite_dia": 0}, False),  # at its limit: it works
        ({"tipo": "listener"}, False),
    ],
)
def test_who_counts_as_missing(now: datetime, lost: dict[str, Any], is_told: bool) -> None:
    fleet(now, 2)
    values = {key: now + value if isinstance(value, timedelta) else value for key, value in lost.items()}
    fleet(now, 1, **values)
    assert bool(found(pool.pool_baixo_prospeccao, now)) is is_told


def test_followups_and_replies_have_limits_of_their_own(now: datetime) -> None:
    fleet(now, 1)
    (weak,) = fleet(now, 1, trust_score=39)
    assert found(pool.pool_baixo_followup, now)[""].valor == 1
    assert not found(pool.pool_baixo_resposta, now)
    Chip.objects.filter(pk=weak.pk).update(trust_score=19)
    assert found(pool.pool_baixo_resposta, now)[""].valor == 1


def test_the_pool_is_empty_when_nobody_carries_anything_and_not_before_there_are_chips(now: datetime) -> None:
    assert not found(pool.pool_vazio, now)
    chips = fleet(now, 2)
    assert not found(pool.pool_vazio, now)
    Chip.objects.filter(pk__in=[chip.pk for chip in chips]).update(trust_score=10)
    assert found(pool.pool_vazio, now)[""].severidade is Severidade.CRITICAL


def test_a_fleet_behind_an_open_circuit_is_there(now: datetime) -> None:
    fleet(now, 3)
    open_circuit("evolution")
    for rule in (pool.pool_vazio, pool.pool_baixo_prospeccao, pool.pool_baixo_resposta):
        assert not found(rule, now)


@pytest.mark.parametrize(
    ("scores", "is_told"),
    [
        ([79, 79], False),
        ([80, 79, 79], False),
        ([79, 79, 79], True),
        ([80, 80, 80] + [79] * 7, False),
        ([80] + [79] * 3, True),
    ],
)
def test_the_pool_degrades_below_thirty_per_cent_of_high_trust(now: datetime, scores: list[int], is_told: bool) -> None:
    for score in scores:
        fleet(now, 1, trust_score=score)
    assert bool(found(pool.pool_degradado, now)) is is_told


def test_pools_are_read_for_all_types_together(now: datetime) -> None:
    fleet(now, 2)
    assert {tipo: (each.possiveis, each.disponiveis) for tipo, each in pool.pools(now).items()} == {
        TipoMensagem.PROSPECCAO: (2, 2),
        TipoMensagem.FOLLOWUP: (2, 2),
        TipoMensagem.RESPOSTA: (2, 2),
    }


# One chip --------------------------------------------------------------------------------------------------------


def called(chip: Chip, resultado: str, count: int, now: datetime, kind: str = "", *, minutes_ago: float = 10) -> None:
    for _ in range(count):
        attempt = attempt_of(factories.mensagem(), chip=chip, resultado=resultado, error_kind=kind)
        execute("UPDATE envios_tentativas SET iniciado_em = %s WHERE id = %s", [now - minutes_ago * MINUTE, attempt.pk])


@pytest.mark.parametrize(
    ("failed", "kind", "ok", "severidade"),
    [
        (2, "sessao", 5, None),
        (3, "sessao", 5, Severidade.WARNING),
        (3, "sessao", 1, None),  # four calls are too few
        (3, "sessao", 10, None),  # under a quarter
        (6, "desconhecido", 5, Severidade.ERROR),
        (6, "destino_invalido", 5, None),  # the recipients' fault
        (6, "servidor", 5, None),  # the provider's
    ],
)
def test_a_chip_with_many_errors_of_its_own(
    now: datetime, failed: int, kind: str, ok: int, severidade: Severidade | None
) -> None:
    (chip,) = fleet(now, 1)
    called(chip, "rejeitado", failed, now, kind)
    called(chip, "enviado", ok, now)
    finding = found(um_chip.muitos_erros, now).get(of_chip(chip.pk))
    assert (finding.severidade if finding else None) is severidade


def test_errors_of_an_hour_ago_are_over(now: datetime) -> None:
    (chip,) = fleet(now, 1)
    called(chip, "rejeitado", 9, now, "sessao", minutes_ago=61)
    assert not found(um_chip.muitos_erros, now)


@pytest.mark.parametrize(
    ("values", "is_told"),
    [
        ({"trust_score": 40}, False),
        ({"trust_score": 39}, True),
        ({"trust_score": 39, "status": "warming"}, False),
        ({"trust_score": 39, "bloqueio_manual": True}, False),
    ],
)
def test_trust_is_critical_below_forty(now: datetime, values: dict[str, Any], is_told: bool) -> None:
    fleet(now, 1, **values)
    assert bool(found(um_chip.trust_critico, now)) is is_told
