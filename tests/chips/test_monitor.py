"""The connection monitor against the real simulator: every instance is asked, two checks agree before it is told."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings

from chips.choices import ConexaoEstado
from chips.jobs import verificar_whatsapp
from chips.models import Chip
from chips.monitor import asking, facts, services, store
from chips.monitor.facts import Problema
from chips.simulator.client import SimulatorProcess
from chips.webhooks import connection as webhook
from chips.webhooks.models import EventoRecebido
from core.circuits import services as circuits
from core.circuits.names import EVOLUTION
from core.clock import database_now
from core.database import execute
from core.jobs.deadline import Deadline
from tests import factories
from tests.conftest import connect

pytestmark = pytest.mark.django_db

LONG = timedelta(seconds=270)
MINUTE = timedelta(minutes=1)


def run() -> dict[str, int]:
    """One tick of the job, and the five minutes until the next."""
    found = verificar_whatsapp(database_now(), Deadline(LONG))
    execute("UPDATE chips SET conexao_verificada_em = conexao_verificada_em - interval '5 minutes'")
    return found


def seen(found: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in found.items() if value}


def fresh(chip: Chip) -> Chip:
    return Chip.objects.get(pk=chip.pk)


def problems() -> list[tuple[Problema, UUID]]:
    return [(problem.problema, problem.chip_id) for problem in facts.connections().problemas]


@pytest.fixture
def pair(simulator: SimulatorProcess) -> tuple[Chip, Chip]:
    chips = factories.chip(), factories.chip()
    connect(simulator, *chips)
    return chips


def zapi_chip(simulator: SimulatorProcess) -> Chip:
    chip = factories.chip(provider="z-api")
    chip.zapi_instance_id, chip.zapi_token = chip.instance_name, "token-inventado"
    chip.save(update_fields=["zapi_instance_id", "zapi_token"])
    simulator.register(chip.instance_name, phone=chip.telefone, provider="z-api", token="token-inventado")
    return chip


# --- two checks


def test_of_two_instances_the_closed_one_is_told_after_two_checks(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip]
) -> None:
    sound, dropped = pair
    simulator.set_state(dropped.instance_name, "close", silent=True)
    assert seen(run()) == {"processados": 2, "ok": 1, "desconectado_aguardando": 1}
    assert (fresh(dropped).evolution_connected, problems()) == (False, [])
    assert seen(run()) == {"processados": 2, "ok": 1, "desconectado": 1}
    assert problems() == [(Problema.DESCONECTADO, dropped.pk)]
    (problem,) = facts.connections().problemas
    assert (problem.desde, problem.falhas, problem.chave) == (
        fresh(dropped).disconnected_since,
        2,
        f"chip:{dropped.pk}",
    )
    assert fresh(sound).conexao_estado == ConexaoEstado.CONECTADO


def test_a_blip_between_two_checks_is_never_told(simulator: SimulatorProcess, pair: tuple[Chip, Chip]) -> None:
    simulator.set_state(pair[0].instance_name, "connecting", silent=True)
    run()
    simulator.set_state(pair[0].instance_name, "open", silent=True)
    assert seen(run()) == {"processados": 2, "ok": 2}
    assert (fresh(pair[0]).evolution_connected, fresh(pair[0]).conexao_falhas, problems()) == (True, 0, [])


def test_a_reconnection_found_by_a_check_clears_it(simulator: SimulatorProcess, pair: tuple[Chip, Chip]) -> None:
    simulator.set_state(pair[0].instance_name, "close", silent=True)
    run(), run()
    simulator.set_state(pair[0].instance_name, "open", silent=True)
    assert seen(run()) == {"processados": 2, "ok": 1, "reconectado": 1}
    chip = fresh(pair[0])
    assert (chip.evolution_connected, chip.disconnected_since, chip.conexao_estado, problems()) == (
        True, None, ConexaoEstado.CONECTADO, [],
    )  # fmt: skip


def test_an_open_webhook_clears_it_without_waiting_for_a_check(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip]
) -> None:
    simulator.set_state(pair[0].instance_name, "close", silent=True)
    run(), run()
    assert webhook.apply(pair[0].pk, "open", status_reason=200, at=database_now())
    assert (fresh(pair[0]).conexao_falhas, problems()) == (0, [])


@pytest.mark.parametrize("status", ["warming", "ready", "active", "degraded", "pending", "paused"])
def test_no_check_touches_the_lifecycle_status(simulator: SimulatorProcess, status: str) -> None:
    chip = factories.chip(status=status)
    connect(simulator, chip)
    for state in ("close", "open"):
        simulator.set_state(chip.instance_name, state, silent=True)
        run(), run()
        assert fresh(chip).status == status


def test_an_instance_that_does_not_exist_is_disconnected(simulator: SimulatorProcess, db: None) -> None:
    chip = factories.chip()
    assert run()["desconectado_aguardando"] == 1
    assert run()["desconectado"] == 1
    assert not fresh(chip).evolution_connected


# --- Z-API


def test_a_zapi_phone_is_asked_too_and_waits_for_its_purge(simulator: SimulatorProcess, db: None) -> None:
    chip = zapi_chip(simulator)
    assert seen(run()) == {"processados": 1, "ok": 1}
    simulator.set_state(chip.instance_name, "close", silent=True)
    run()
    held = fresh(chip).connection_cooldown_until
    assert held is not None, "its queue would fire when it comes back"
    assert run()["desconectado"] == 1
    assert fresh(chip).connection_cooldown_until == held, "a hold is set by the drop, not again by each check"
    simulator.set_state(chip.instance_name, "open", silent=True)
    assert run()["reconectado"] == 1
    assert (fresh(chip).evolution_connected, fresh(chip).connection_cooldown_until) == (True, held)


# --- nobody answers


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [("5xx", {}), ("html_502", {}), ("reset_antes", {}), ("malformado", {"variant": "cortado"}), ("banco_fora", {}),
     ("429", {})],
)  # fmt: skip
def test_an_api_that_does_not_answer_disconnects_nobody(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip], kind: str, parameters: dict[str, Any]
) -> None:
    before = {chip.pk: (chip.evolution_connected, chip.connection_state, chip.status) for chip in pair}
    simulator.fault(kind, provider="evolution", calls="any", **parameters)
    assert seen(run()) == {"processados": 2, "sem_resposta": 2}
    assert problems() == []
    assert seen(run()) == {"processados": 2, "erro_persistente": 2}
    assert {fresh(chip).pk: (fresh(chip).evolution_connected, fresh(chip).connection_state, fresh(chip).status)
            for chip in pair} == before  # fmt: skip
    assert [problem for problem, _ in problems()] == [Problema.SEM_RESPOSTA] * 2
    assert facts.connections().desconectados_pct == 0
    simulator.clear_faults()
    assert seen(run()) == {"processados": 2, "ok": 2}
    assert problems() == []


def test_silence_does_not_clear_a_disconnection(simulator: SimulatorProcess, pair: tuple[Chip, Chip]) -> None:
    simulator.set_state(pair[0].instance_name, "close", silent=True)
    run(), run()
    simulator.fault("5xx", provider="evolution", calls="any")
    run(), run()
    assert (Problema.DESCONECTADO, pair[0].pk) in problems()


def test_a_missing_answer_ends_within_the_time_of_one_call(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "CALL_S", 0.3)
    simulator.fault("buraco_negro", instance=pair[0].instance_name, calls="any")
    assert seen(run()) == {"processados": 2, "ok": 1, "sem_resposta": 1}
    assert fresh(pair[0]).conexao_erro == "timeout"


def test_outside_production_a_stranger_is_not_asked(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SIMULADOR_NONCE", "outro")
    assert seen(run()) == {"nao_perguntados": 2}


def test_a_provider_behind_an_open_circuit_is_not_asked(simulator: SimulatorProcess, pair: tuple[Chip, Chip]) -> None:
    circuits.force_open(EVOLUTION, actor="teste", motivo="manutenção do provedor")
    zapi = zapi_chip(simulator)
    assert seen(run()) == {"processados": 1, "ok": 1, "nao_perguntados": 2}
    assert fresh(zapi).conexao_estado == ConexaoEstado.CONECTADO


def test_200_instances_of_a_provider_that_answers_nobody_fit_into_the_job(
    simulator: SimulatorProcess, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scaled down in time only: 10 s per call and 50 s for all become 1 s and 5 s."""
    monkeypatch.setattr(asking, "CALL_S", 1.0)
    chips = [factories.chip() for _ in range(200)]
    connect(simulator, *chips)
    simulator.fault("buraco_negro", provider="evolution", calls="other")
    checks = services.check(deadline_s=5.0)
    assert services.tally(checks)["sem_resposta"] == 200


def test_what_was_not_reached_in_time_comes_first_at_the_next_check(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip]
) -> None:
    services.check([pair[0].pk], deadline_s=10)
    assert [target.chip_id for target in store.targets()] == [pair[1].pk, pair[0].pk]


# --- mute


def attempts(chip: Chip, count: int, *, minutes_ago: float, resultado: str = "enviado", ack: str = "pending") -> None:
    for _ in range(count):
        execute(
            """INSERT INTO envios_tentativas (origem_id, chip_id, provider, destino, tipo_mensagem, proativa, balde_em,
                   dia_local, texto_hash, lote, consumidor, iniciado_em, resultado, delivery_status)
               VALUES (gen_random_uuid(), %s, 'evolution', '5511900001234', 'prospeccao', true, agora(), current_date,
                   '', gen_random_uuid(), 'teste', agora() - %s, %s, %s)""",
            [chip.pk, timedelta(minutes=minutes_ago), resultado, ack],
        )


def echo(chip: Chip, *, minutes_ago: float = 0, kind: str = "eco") -> None:
    EventoRecebido.objects.create(
        provider=chip.provider, instance=chip.instance_name, evento="send.message", kind=kind, payload={},
        chave=f"{kind}:{minutes_ago}:{chip.pk}", recebido_em=database_now() - timedelta(minutes=minutes_ago),
    )  # fmt: skip


def known_for_hours(*chips: Chip) -> None:
    desde = database_now() - timedelta(hours=5)
    Chip.objects.filter(pk__in=[chip.pk for chip in chips]).update(conexao_estado="conectado", conexao_desde=desde)


SENT = {"count": 5, "minutes_ago": 20.0}


@pytest.mark.parametrize(
    ("name", "sends", "echoes", "mute"),
    [
        ("nothing sent", {}, {}, False),
        ("sent and acknowledged", SENT | {"ack": "sent"}, {}, False),
        ("sent, the echo came", SENT, {"minutes_ago": 19}, False),
        ("sent, the receipt came", SENT, {"minutes_ago": 19, "kind": "recibo"}, False),
        ("sent a moment ago", SENT | {"minutes_ago": 5.0}, {}, False),
        ("refused, nothing left", SENT | {"resultado": "rejeitado"}, {}, False),
        ("sent too few", SENT | {"count": 2}, {}, False),
        ("sent before this connection", SENT | {"minutes_ago": 400.0}, {}, False),
        ("sent, nothing came back", SENT | {"count": 3}, {}, True),
        ("nobody answered its sends", SENT | {"resultado": "desconhecido"}, {}, True),
        ("only inbound came", SENT, {"kind": "entrada"}, True),
        ("an old echo", SENT, {"minutes_ago": 29}, True),
    ],
)
def test_open_for_the_api_and_silent_on_the_wire_is_connected_but_mute(
    simulator: SimulatorProcess,
    pair: tuple[Chip, Chip],
    name: str,
    sends: dict[str, Any],
    echoes: dict[str, Any],
    mute: bool,
) -> None:
    chip = pair[0]
    known_for_hours(*pair)
    if sends:
        attempts(chip, **sends)
    if echoes:
        echo(chip, **echoes)
    assert (run()["mudos"], fresh(chip).conexao_estado == ConexaoEstado.CONECTADO_MAS_MUDO) == (int(mute), mute), name
    assert problems() == ([(Problema.MUDO, chip.pk)] if mute else [])
    assert fresh(chip).evolution_connected, "mute is told and stays eligible"


@pytest.mark.parametrize("checked", ["agora() - interval '3 hours'", "NULL"])
def test_echoes_that_came_while_nobody_checked_count(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip], checked: str
) -> None:
    known_for_hours(*pair)
    execute(f"UPDATE chips SET conexao_verificada_em = {checked}")
    attempts(pair[0], 5, minutes_ago=120)
    echo(pair[0], minutes_ago=119)
    assert (run()["mudos"], problems()) == (0, [])


def test_an_echo_ends_it_and_until_then_it_stays(simulator: SimulatorProcess, pair: tuple[Chip, Chip]) -> None:
    chip = pair[0]
    known_for_hours(*pair)
    attempts(chip, 3, minutes_ago=20)
    assert [run()["mudos"] for _ in range(3)] == [1, 1, 1]
    (problem,) = facts.connections().problemas
    assert timedelta(minutes=19) < database_now() - problem.desde < timedelta(minutes=26)
    echo(chip)
    assert (run()["mudos"], problems()) == (0, [])
    assert fresh(chip).conexao_eco_em is not None


# --- who knows better


def test_a_webhook_that_comes_while_the_provider_thinks_outranks_its_answer(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = asking.ask

    def webhook_meanwhile(*args: Any, **kwargs: Any) -> Any:
        answers = real(*args, **kwargs)
        webhook.apply(pair[0].pk, "close", status_reason=402, at=database_now())
        return answers

    monkeypatch.setattr(asking, "ask", webhook_meanwhile)
    assert seen(run()) == {"processados": 2, "ok": 2, "superados": 1}
    assert (fresh(pair[0]).evolution_connected, fresh(pair[0]).connection_state) == (False, "close")
    assert fresh(pair[1]).conexao_estado == ConexaoEstado.CONECTADO


# --- facts


def test_a_session_that_whatsapp_ended_is_told_until_somebody_reads_the_qr_code(pair: tuple[Chip, Chip]) -> None:
    webhook.apply(pair[0].pk, "close", status_reason=401, at=database_now())
    assert (fresh(pair[0]).status, problems()) == ("paused", [(Problema.SESSAO_ENCERRADA, pair[0].pk)])
    webhook.apply(pair[0].pk, "open", status_reason=200, at=database_now())
    assert (fresh(pair[0]).status, problems()) == ("paused", [])


def test_a_banned_number_is_told(pair: tuple[Chip, Chip]) -> None:
    webhook.apply(pair[0].pk, "close", status_reason=403, at=database_now())
    assert problems() == [(Problema.BANIDO, pair[0].pk)]


def test_who_paused_a_chip_is_not_told_that_it_is_disconnected(
    simulator: SimulatorProcess, pair: tuple[Chip, Chip]
) -> None:
    Chip.objects.filter(pk=pair[0].pk).update(status="paused")
    simulator.set_state(pair[0].instance_name, "close", silent=True)
    run(), run()
    assert (fresh(pair[0]).conexao_estado, problems()) == (ConexaoEstado.DESCONECTADO, [])


def test_the_fleet_is_one_query_and_holds_no_phone(
    pair: tuple[Chip, Chip], django_assert_num_queries: Callable[[int], Any]
) -> None:
    factories.chip("julia_5511900001234", conexao_estado="desconectado", evolution_connected=False)
    with django_assert_num_queries(1):
        fleet = facts.connections()
    assert (fleet.vigiados, fleet.conectados, fleet.ativos_conectados, fleet.desconectados_pct) == (3, 2, 2, 33)
    assert [problem.nome for problem in fleet.problemas] == ["julia_…1234"]


def test_an_empty_fleet_has_no_problem(db: None) -> None:
    assert facts.connections() == facts.Connections(0, 0, 0, ())
    assert facts.connections().desconectados_pct == 0
