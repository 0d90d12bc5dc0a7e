"""Z-API: what waits in the vendor's queue must not be fired later, and its callbacks say what became of a message."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from uuid import uuid4

import pytest

from chips.models import Chip, Tentativa
from chips.providers.base import Code, ErrorKind, Fault
from chips.providers.evidence import Queued
from chips.providers.zapi import ZapiProvider
from chips.simulator.client import SimulatorProcess
from core.alerts.models import Alerta
from core.circuits import services as circuits
from core.clientes.models import Cliente
from core.clock import database_now
from fila.conversas.opt_out import opt_out
from fila.facts import text_hash
from fila.models import Interacao, Mensagem
from fila.reconciliacao import fila_zapi, fila_zapi_chamadas, fila_zapi_marcas
from fila.reconciliacao.avisos_de_erro import apply_error_acks
from fila.reconciliacao.fila_zapi_regras import Entry, Why, assign, why_remove
from fila.reconciliacao.services import look as reconcile
from guardrails.hours import Window
from guardrails.policy import Policy
from tests import factories
from tests.chips.results import unknown
from tests.fila.attempts import look, open_one, settle_as
from tests.fila.reconciling import Bench, age, attempt_of, bench, make_due, put_on_the_wire, status_of, told, waiting

pytestmark = pytest.mark.django_db

UNKNOWN = unknown(ErrorKind.TIMEOUT, Fault.PROVEDOR, Code.TIMEOUT, "sem resposta em 70 s")
TUESDAY = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)  # 10:00 in São Paulo


@pytest.fixture
def lab(simulator: SimulatorProcess, open_operation: None) -> Iterator[Bench]:
    simulator.adjust(queue_gap_s=[600, 600])
    with bench(simulator) as one:
        yield one


def queued(chip: Chip, *, known: bool = True, **values: Any) -> Mensagem:
    """A message that the vendor has queued; `known` False: and whose answer never came."""
    message = factories.mensagem(**values)
    attempt = open_one()
    result = put_on_the_wire(chip, message)
    settle_as(result if known else UNKNOWN, attempt)
    return message


def run() -> dict[str, int]:
    reconcile()
    return fila_zapi.run(now=database_now(), deadline_s=20)


def in_queue(lab: Bench, chip: Chip) -> int:
    return int(lab.simulator.chips()[chip.instance_name]["queue"])


def drop(lab: Bench, chip: Chip) -> None:
    """The phone loses its connection, and Julia is told."""
    lab.simulator.set_state(chip.instance_name, "close")
    lab.hand_on(until="DisconnectedCallback")


def come_back(lab: Bench, chip: Chip) -> None:
    """The phone is back: the vendor fires whatever it has queued."""
    lab.simulator.adjust(queue_gap_s=[0, 0])
    lab.simulator.set_state(chip.instance_name, "open")
    lab.hand_on(until="ConnectedCallback")


def hold_of(chip: Chip) -> datetime | None:
    chip.refresh_from_db()
    return chip.connection_cooldown_until


def close_hours() -> None:
    """Open on one day of the week that is not today."""
    tomorrow = database_now().isoweekday() % 7 + 1
    factories.set_setting("janela_envio", {"inicio": "10:00", "fim": "10:01", "dias": [tomorrow]})


# --- disconnected


def test_what_waited_when_the_phone_dropped_is_deleted_and_not_fired_on_its_return(lab: Bench) -> None:
    chip = lab.zapi()
    lab.simulator.adjust(queue_gap_s=[3, 3])
    message = queued(chip, campanha=factories.campanha())
    drop(lab, chip)
    assert (status_of(message), in_queue(lab, chip)) == ("enviada", 1)
    assert run() == {"filas_zapi": 1, "apagadas": 1, "nao_enviadas": 1}
    message.refresh_from_db()
    chip.refresh_from_db()
    attempt = attempt_of(message)
    assert (message.status, message.tentativas, message.outcome_reason_code) == (
        "pendente", 1, "fila_zapi_apagada:desconectado",
    )  # fmt: skip
    assert (attempt.resultado, attempt.evidencia, attempt.nao_entregue_em is not None) == ("enviado", "fila_zapi", True)
    assert chip.peso_dia == 0, "what never reached WhatsApp costs nothing"
    come_back(lab, chip)
    lab.simulator.wait_quiet()
    assert lab.simulator.truth().total == 0


def test_a_chip_that_dropped_carries_nothing_until_its_queue_was_purged(lab: Bench) -> None:
    chip = lab.zapi()
    queued(chip)
    assert hold_of(chip) is None
    drop(lab, chip)
    held_until = hold_of(chip)
    assert held_until is not None
    assert held_until > database_now() + timedelta(days=300)
    lab.simulator.set_state(chip.instance_name, "open")
    lab.hand_on(until="ConnectedCallback")
    chip.refresh_from_db()
    message = factories.mensagem()
    assert (chip.evolution_connected, look()) == (True, [])
    run()
    assert (hold_of(chip), in_queue(lab, chip)) == (None, 0)
    make_due(message)
    assert len(look()) == 1


def test_a_queue_that_cannot_be_read_keeps_its_chip_out(lab: Bench) -> None:
    chip = lab.zapi()
    message = queued(chip)
    drop(lab, chip)
    lab.simulator.fault("5xx", calls="other", status=503)
    assert run() == {"filas_zapi": 0, "apagadas": 0, "nao_enviadas": 0}
    assert hold_of(chip) is not None
    assert status_of(message) == "enviada"
    lab.simulator.clear_faults()
    assert run()["nao_enviadas"] == 1
    assert hold_of(chip) is None


def test_a_process_that_dies_after_the_removal_loses_nothing(lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = lab.zapi()
    message = queued(chip)
    drop(lab, chip)

    with monkeypatch.context() as killed:
        killed.setattr(fila_zapi, "_write", die)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert (in_queue(lab, chip), status_of(message)) == (0, "enviada")
    age(message, minutes=5)
    assert run()["nao_enviadas"] == 1
    assert status_of(message) == "pendente"


def test_a_process_that_dies_before_the_removal_changes_nothing(lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = lab.zapi()
    message = queued(chip)
    age(message, minutes=6)
    with monkeypatch.context() as killed:
        killed.setattr("fila.reconciliacao.fila_zapi_chamadas.remove", lambda *_, **__: {})
        assert run() == {"filas_zapi": 1, "apagadas": 0, "nao_enviadas": 0}
    lab.deliver(callback(chip, message, attempt_of(message)))
    lab.hand_on(until="")
    age(message, minutes=6)
    assert run()["nao_enviadas"] == 0
    assert (status_of(message), message.delivery_status) == ("enviada", "sent")


def test_an_evolution_chip_needs_no_purge(lab: Bench) -> None:
    chip = lab.chip()
    lab.simulator.set_state(chip.instance_name, "connecting")
    lab.hand_on()
    chip.refresh_from_db()
    assert (chip.evolution_connected, chip.connection_cooldown_until) == (False, None)


def test_a_message_whose_answer_never_came_is_recognised_by_person_and_text(lab: Bench) -> None:
    chip = lab.zapi()
    message = queued(chip, known=False)
    assert status_of(message) == "incerta"
    drop(lab, chip)
    assert run()["nao_enviadas"] == 1
    chip.refresh_from_db()
    attempt = attempt_of(message)
    assert (status_of(message), attempt.resultado, attempt.evidencia) == ("pendente", "rejeitado", "fila_zapi")
    assert attempt.queue_id
    assert chip.peso_dia == 0


def test_two_equal_unknown_ones_are_deleted_and_none_is_settled(lab: Bench) -> None:
    chip, person = lab.zapi(), factories.cliente()
    messages = [queued(chip, known=False, cliente=person, conteudo="Igual.", tipo="teste") for _ in range(2)]
    drop(lab, chip)
    assert run() == {"filas_zapi": 1, "apagadas": 2, "nao_enviadas": 0}
    assert (in_queue(lab, chip), [status_of(message) for message in messages]) == (0, ["incerta", "incerta"])


def test_what_is_not_ours_is_left_alone(lab: Bench) -> None:
    chip = lab.zapi()
    put_on_the_wire(chip, factories.mensagem(status="cancelada"), text="De outro sistema.")
    queued(chip)
    drop(lab, chip)
    assert run()["apagadas"] == 1
    assert in_queue(lab, chip) == 1
    assert hold_of(chip) is None


def test_a_call_that_is_still_open_is_its_callers_to_decide(lab: Bench) -> None:
    chip = lab.zapi()
    message = factories.mensagem()
    attempt = open_one()
    result = put_on_the_wire(chip, message)
    drop(lab, chip)
    assert run()["apagadas"] == 0
    assert hold_of(chip) is not None
    settle_as(result, attempt)
    assert run()["nao_enviadas"] == 1
    assert (status_of(message), hold_of(chip)) == ("pendente", None)


def test_a_drop_that_nobody_told_us_of_is_noticed_by_the_silence(lab: Bench) -> None:
    chip = lab.zapi()
    message, fresh = queued(chip), queued(chip)
    lab.simulator.set_state(chip.instance_name, "close", silent=True)
    assert run() == {"filas_zapi": 0, "apagadas": 0, "nao_enviadas": 0}
    age(message, minutes=5)
    assert run()["nao_enviadas"] == 2, "once it is known to be disconnected, nothing of ours may wait there"
    chip.refresh_from_db()
    assert (status_of(fresh), chip.evolution_connected) == ("pendente", False)


def test_a_return_that_nobody_told_us_of_is_noticed_too(lab: Bench) -> None:
    chip = lab.zapi()
    drop(lab, chip)
    lab.simulator.set_state(chip.instance_name, "open", silent=True)
    run()
    run()
    chip.refresh_from_db()
    assert (chip.evolution_connected, chip.connection_cooldown_until) == (True, None)


def test_an_open_circuit_is_left_alone(lab: Bench) -> None:
    chip = lab.zapi()
    queued(chip)
    drop(lab, chip)
    circuits.force_open("zapi", actor="ana", motivo="manutenção do provedor")
    assert run() == {"filas_zapi": 0, "apagadas": 0, "nao_enviadas": 0}


# --- connected


def test_five_minutes_without_a_callback_take_it_out_and_five_more_send_it_back(lab: Bench) -> None:
    chip = lab.zapi()
    message = queued(chip)
    age(message, minutes=4)
    assert run()["apagadas"] == 0
    age(message, minutes=1)
    assert run() == {"filas_zapi": 1, "apagadas": 1, "nao_enviadas": 0}
    assert (status_of(message), told(message)[-1]) == ("enviada", "fila_zapi_retirada")
    assert run()["nao_enviadas"] == 0
    age(message, minutes=5)
    assert run()["nao_enviadas"] == 1
    assert (status_of(message), lab.simulator.truth().total) == ("pendente", 0)


@pytest.mark.parametrize("known", [True, False])
def test_what_left_a_moment_before_it_was_taken_out_stays_sent(lab: Bench, known: bool) -> None:
    chip = lab.zapi()
    message = queued(chip, known=known)
    age(message, minutes=6)
    run()
    attempt = attempt_of(message)
    lab.deliver(callback(chip, message, attempt))
    lab.hand_on(until="")
    age(message, minutes=6)
    assert run()["nao_enviadas"] == 0
    assert status_of(message) == "enviada"


def test_what_proves_itself_after_it_was_given_back_wins(lab: Bench) -> None:
    chip = lab.zapi()
    message = queued(chip)
    age(message, minutes=6)
    run()
    age(message, minutes=6)
    run()
    assert status_of(message) == "pendente"
    lab.deliver(callback(chip, message, attempt_of(message)))
    lab.hand_on(until="")
    assert (status_of(message), told(message)[-2:]) == ("enviada", ["evidencia_tardia", "sent"])
    assert Interacao.objects.get(mensagem=message).delivery_status == "sent"


def test_what_is_not_in_the_queue_proves_nothing(lab: Bench) -> None:
    chip = lab.zapi()
    lab.simulator.adjust(queue_gap_s=[0, 0])
    lab.simulator.fault("webhook_perdido")
    sent, lost = queued(chip), queued(chip, known=False)
    lab.simulator.wait_quiet()
    for message in (sent, lost):
        age(message, minutes=6)
    assert run() == {"filas_zapi": 1, "apagadas": 0, "nao_enviadas": 0}
    assert (status_of(sent), status_of(lost)) == ("enviada", "incerta")
    assert (attempt_of(lost).buscas, told(lost)[-1]) == (1, "fila_zapi_consultada")
    assert run()["filas_zapi"] == 0
    age(sent, minutes=60)
    assert run()["filas_zapi"] == 0, "an accepted one is looked for once"


def test_after_an_opt_out_what_waits_for_that_person_is_deleted(lab: Bench) -> None:
    chip = lab.zapi()
    message, other = queued(chip), queued(chip)
    opt_out(message.cliente_id, origem="operador", motivo="pediu por telefone", actor="ana", now=database_now())
    assert run()["apagadas"] == 1
    assert in_queue(lab, chip) == 1
    age(message, minutes=5)
    run()
    assert (status_of(message), status_of(other)) == ("bloqueada", "enviada")


def test_when_hours_close_what_waits_is_deleted_and_goes_when_they_open(lab: Bench) -> None:
    chip = lab.zapi()
    message, answer = queued(chip), queued_reply(chip)
    close_hours()
    assert run()["apagadas"] == 1
    assert in_queue(lab, chip) == 1, "an answer to somebody who wrote may go at any hour"
    age(message, minutes=5)
    run()
    message.refresh_from_db()
    assert (message.status, message.tentativas, message.outcome_reason_code) == ("pendente", 0, "quiet_hours")
    assert message.agendar_para > database_now() + timedelta(hours=1)
    assert message.expira_em == message.agendar_para + timedelta(hours=24)
    assert status_of(answer) == "enviada"


def queued_reply(chip: Chip) -> Mensagem:
    message = factories.resposta()
    attempt = open_one()
    settle_as(put_on_the_wire(chip, message), attempt)
    return message


# --- removals that nobody confirmed


BEFORE_THE_REMOVAL = 3  # calls of a look at one chip: state, list, list again; then the removal, a last list, the state


def die(*_: object, **__: object) -> NoReturn:
    raise KeyboardInterrupt


def fail_the_removal(lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.simulator.fault("5xx", calls="other", status=503, after=BEFORE_THE_REMOVAL, count=1)
    assert run() == {"filas_zapi": 1, "apagadas": 0, "nao_enviadas": 0}
    lab.simulator.clear_faults()


def die_before_the_removal(lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(fila_zapi_chamadas, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            run()


UNCONFIRMED = [fail_the_removal, die_before_the_removal]


def queued_and_dropped(lab: Bench, chip: Chip, *, known: bool = True) -> Mensagem:
    """It waits at a phone that has gone, and leaves within seconds of its return."""
    lab.simulator.adjust(queue_gap_s=[3, 3])
    message = queued(chip, known=known)
    drop(lab, chip)
    return message


def fire(lab: Bench, chip: Chip) -> None:
    """The phone is back and its queue leaves; what the vendor posts about it is late."""
    lab.simulator.adjust(queue_gap_s=[0, 0])
    lab.simulator.set_state(chip.instance_name, "open")
    lab.simulator.wait_quiet()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("unconfirmed", UNCONFIRMED)
def test_a_removal_that_nobody_confirmed_never_proves_that_it_was_not_sent(
    lab: Bench, monkeypatch: pytest.MonkeyPatch, unconfirmed: Callable[..., None], known: bool
) -> None:
    chip = lab.zapi()
    message = queued_and_dropped(lab, chip, known=known)
    before = status_of(message)
    unconfirmed(lab, monkeypatch)
    assert (in_queue(lab, chip), attempt_of(message).evidencia) == (1, "")
    fire(lab, chip)
    assert lab.simulator.truth().total == 1
    for _ in range(2):
        age(message, minutes=5)
        assert run()["nao_enviadas"] == 0
    assert (status_of(message), attempt_of(message).buscas >= 1, look()) == (before, True, [])
    assert "fila_zapi_consultada" in told(message), "it is neither there nor confirmed, and that is shown"
    lab.hand_on()
    message.refresh_from_db()
    assert (message.status, message.delivery_status in ("delivered", "read")) == ("enviada", True)
    assert (run()["nao_enviadas"], look(), lab.simulator.truth().total) == (0, [], 1)


@pytest.mark.parametrize("unconfirmed", UNCONFIRMED)
def test_what_nobody_took_out_is_taken_out_by_the_next_look(
    lab: Bench, monkeypatch: pytest.MonkeyPatch, unconfirmed: Callable[..., None]
) -> None:
    chip = lab.zapi()
    message = queued(chip)
    drop(lab, chip)
    unconfirmed(lab, monkeypatch)
    assert hold_of(chip) is not None
    assert run() == {"filas_zapi": 1, "apagadas": 1, "nao_enviadas": 1}
    assert (in_queue(lab, chip), status_of(message), hold_of(chip)) == (0, "pendente", None)


def test_an_unconfirmed_removal_on_a_connected_phone_is_tried_again_at_once(
    lab: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = lab.zapi()
    message = queued(chip)
    opt_out(message.cliente_id, origem="operador", motivo="pediu por telefone", actor="ana", now=database_now())
    fail_the_removal(lab, monkeypatch)
    assert run()["apagadas"] == 1
    assert in_queue(lab, chip) == 0


def test_the_five_minutes_count_from_the_confirmation(lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = lab.zapi()
    message = queued(chip)
    age(message, minutes=6)
    fail_the_removal(lab, monkeypatch)
    age(message, minutes=6)
    assert run() == {"filas_zapi": 1, "apagadas": 1, "nao_enviadas": 0}
    age(message, minutes=4)
    assert run()["nao_enviadas"] == 0
    age(message, minutes=1)
    assert run()["nao_enviadas"] == 1


def test_a_confirmed_removal_counts_although_the_last_list_failed(lab: Bench) -> None:
    chip = lab.zapi()
    message = queued(chip)
    drop(lab, chip)
    lab.simulator.fault("5xx", calls="other", status=503, after=BEFORE_THE_REMOVAL + 1, count=1)
    assert run() == {"filas_zapi": 1, "apagadas": 1, "nao_enviadas": 0}
    assert (status_of(message), hold_of(chip) is None) == ("enviada", False)
    age(message, minutes=4)
    assert run()["nao_enviadas"] == 0
    age(message, minutes=1)
    assert run()["nao_enviadas"] == 1


def test_what_the_vendor_confirmed_and_still_lists_is_not_out(lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = lab.zapi()
    message = queued(chip)
    drop(lab, chip)

    async def say_so(*_: object) -> bool:
        return True

    with monkeypatch.context() as lying:
        lying.setattr(ZapiProvider, "remove_queued", say_so)
        assert run() == {"filas_zapi": 1, "apagadas": 0, "nao_enviadas": 0}
        lab.simulator.fault("5xx", calls="other", status=503, after=BEFORE_THE_REMOVAL, count=1)
        run()
        assert attempt_of(message).evidencia == "fila_zapi", "confirmed, and nobody looked again"
        lab.simulator.clear_faults()
        age(message, minutes=5)
        assert run()["nao_enviadas"] == 0
    assert (status_of(message), attempt_of(message).evidencia, in_queue(lab, chip)) == ("enviada", "", 1)
    assert run()["nao_enviadas"] == 1


def test_what_left_between_the_list_and_its_removal_is_not_taken_for_removed(
    lab: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = lab.zapi()
    message = queued_and_dropped(lab, chip)
    list_queues = fila_zapi_chamadas.list_queues

    def and_then_it_leaves(*args: Any, **options: Any) -> Any:
        listed = list_queues(*args, **options)
        fire(lab, chip)
        return listed

    with monkeypatch.context() as late:
        late.setattr(fila_zapi_chamadas, "list_queues", and_then_it_leaves)
        assert run()["apagadas"] == 0
    for _ in range(2):
        age(message, minutes=6)
        assert run()["nao_enviadas"] == 0
    assert (status_of(message), lab.simulator.truth().total) == ("enviada", 1)


def test_a_callback_that_waits_to_be_read_keeps_it_from_going_again(lab: Bench) -> None:
    chip = lab.zapi()
    message, other = queued(chip), queued(chip)
    for each in (message, other):
        age(each, minutes=6)
    run()
    for each in (message, other):
        age(each, minutes=6)
    lab.deliver(callback(chip, message, attempt_of(message)))
    assert fila_zapi.run(now=database_now(), deadline_s=20)["nao_enviadas"] == 0
    lab.hand_on(until="")
    assert run()["nao_enviadas"] == 1
    assert (status_of(message), status_of(other)) == ("enviada", "pendente")


def test_whatever_names_it_afterwards_says_that_it_had_left(lab: Bench) -> None:
    chip = lab.zapi()
    message = queued(chip)
    age(message, minutes=6)
    assert run()["apagadas"] == 1
    failed(lab, chip, message, "Timeout on send message")
    age(message, minutes=5)
    assert run()["nao_enviadas"] == 0
    assert (status_of(message), attempt_of(message).evidencia) == ("enviada", "")
    assert told(message)[-2:] == ["entrega_desconhecida", "fila_zapi_consultada"]


def test_a_callback_that_is_read_while_we_look_wins(lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = lab.zapi()
    message = queued(chip)
    drop(lab, chip)
    confirmed = fila_zapi_marcas.confirmed

    def and_then_it_is_told(removed: Any) -> None:
        confirmed(removed)
        lab.deliver(callback(chip, message, attempt_of(message)))
        lab.hand_on(until="")

    with monkeypatch.context() as late:
        late.setattr(fila_zapi_marcas, "confirmed", and_then_it_is_told)
        assert run()["nao_enviadas"] == 0
    assert (status_of(message), message.delivery_status) == ("enviada", "sent")


def test_many_are_taken_out_a_few_at_a_time(lab: Bench) -> None:
    chip = lab.zapi()
    messages = [queued(chip) for _ in range(7)]
    drop(lab, chip)
    assert run() == {"filas_zapi": 1, "apagadas": 7, "nao_enviadas": 7}
    assert {status_of(message) for message in messages} == {"pendente"}


# --- callbacks


def callback(chip: Chip, message: Mensagem, attempt: Tentativa, **fields: object) -> dict[str, Any]:
    """`DeliveryCallback` as contracts §2 show it."""
    return {
        "type": "DeliveryCallback",
        "phone": message.telefone_destino,
        "messageId": attempt.provider_message_id or "3EB0NEW",
        "zaapId": attempt.queue_id or "ZAAP0NEW",
        "instanceId": chip.instance_name,
        "momment": 1772542800000,
        **fields,
    }


def failed(lab: Bench, chip: Chip, message: Mensagem, error: str) -> None:
    lab.deliver(callback(chip, message, attempt_of(message), error=error))
    lab.hand_on(until="")


@pytest.fixture
def swift(simulator: SimulatorProcess, open_operation: None) -> Iterator[Bench]:
    """The vendor's queue moves at once."""
    with bench(simulator) as one:
        yield one


def test_a_callback_confirms_what_was_queued(swift: Bench) -> None:
    chip = swift.zapi(notify_sent_by_me=True)
    message = queued(chip)
    swift.hand_on()
    message.refresh_from_db()
    assert (message.status, message.delivery_status in ("delivered", "read")) == ("enviada", True)


@pytest.mark.parametrize("notify", [True, False])
def test_an_unknown_one_is_settled_by_the_vendors_own_callbacks(swift: Bench, notify: bool) -> None:
    chip = swift.zapi(notify_sent_by_me=notify)
    message = queued(chip, known=False)
    assert status_of(message) == "incerta"
    swift.hand_on()
    message.refresh_from_db()
    (record,) = swift.simulator.truth().records
    assert (message.status, message.provider_message_id) == ("enviada", record.key_id)
    assert message.delivery_status in ("delivered", "read")


def test_a_callback_that_may_mean_two_unknown_ones_settles_none(lab: Bench) -> None:
    chip, person = lab.zapi(), factories.cliente()
    messages = [queued(chip, known=False, cliente=person) for _ in range(2)]
    lab.deliver(callback(chip, messages[0], attempt_of(messages[0])))
    lab.hand_on(until="")
    assert [status_of(message) for message in messages] == ["incerta", "incerta"]
    assert waiting() == ["mais de um envio desconhecido combina: nenhum foi confirmado"]


def test_a_restriction_takes_the_chip_out_at_once_and_the_message_goes_elsewhere(swift: Bench) -> None:
    chip = swift.zapi()
    swift.simulator.fault("restrito", instance=chip.instance_name)
    message = queued(chip)
    swift.hand_on()
    chip.refresh_from_db()
    assert (chip.status, Alerta.objects.filter(tipo="chip_degradado").count()) == ("degraded", 1)
    assert (status_of(message), attempt_of(message).regra) == ("enviada", "zapi.entrega_restrita")
    age(message, seconds=61)
    apply_error_acks()
    message.refresh_from_db()
    assert (message.status, message.tentativas, message.outcome) == ("pendente", 1, "FAILED_BANNED")


def test_a_number_that_does_not_exist_ends_the_message_and_is_remembered(swift: Bench) -> None:
    chip, person = swift.zapi(), factories.cliente()
    swift.simulator.number(person.telefone, exists=False)
    message = queued(chip, cliente=person)
    swift.hand_on()
    age(message, seconds=61)
    apply_error_acks()
    chip.refresh_from_db()
    assert (status_of(message), message.outcome) == ("erro", "FAILED_VALIDATION")
    assert Cliente.objects.get(pk=person.pk).status_telefone == "invalido"
    assert (chip.status, chip.erros_ultimas_24h) == ("active", 0)


def test_a_timeout_on_delivery_proves_neither(lab: Bench) -> None:
    chip = lab.zapi()
    message, lost = queued(chip), queued(chip, known=False)
    for each in (message, lost):
        failed(lab, chip, each, "Timeout on send message")
    age(message, seconds=61)
    assert apply_error_acks() == []
    assert (status_of(message), status_of(lost)) == ("enviada", "incerta")
    assert told(message)[-1] == told(lost)[-1] == "entrega_desconhecida"


def test_a_receipt_after_a_failed_delivery_wins(lab: Bench) -> None:
    chip = lab.zapi()
    message = queued(chip)
    failed(lab, chip, message, "Error on send message")
    assert attempt_of(message).delivery_status == "failed"
    key = attempt_of(message).provider_message_id
    body = {"type": "MessageStatusCallback", "status": "RECEIVED", "ids": [key], "instanceId": chip.instance_name}
    lab.deliver(body | {"phone": message.telefone_destino, "momment": 1772542800000})
    lab.hand_on(until="")
    age(message, seconds=61)
    assert apply_error_acks() == []
    assert (status_of(message), message.delivery_status) == ("enviada", "delivered")


@pytest.mark.parametrize(
    ("error", "status", "outcome"),
    [
        ("WhatsApp did not allow sending this message", "pendente", "FAILED_BANNED"),
        ("Error on send message", "pendente", "FAILED_PROVIDER"),
        ("Phone number does not exist", "erro", "FAILED_VALIDATION"),
    ],
)
def test_an_unknown_one_that_the_vendor_calls_failed_was_not_sent(
    lab: Bench, error: str, status: str, outcome: str
) -> None:
    chip = lab.zapi()
    message = queued(chip, known=False)
    failed(lab, chip, message, error)
    chip.refresh_from_db()
    attempt = attempt_of(message)
    assert (status_of(message), message.outcome) == (status, outcome)
    assert (attempt.resultado, attempt.evidencia, chip.peso_dia) == ("rejeitado", "recibo", 0)


# --- the rules, pure

ENTRY = Entry(
    id=1, origem="fila", mensagem_id=uuid4(), resultado="enviado", evidencia="", nao_entregue=False, entrega="pending",
    iniciado_em=TUESDAY, proxima_busca_em=None, buscas=0, destino="5511900000001", texto_hash="h", chave="3EB0",
    fila_id="ZAAP", proativa=True, tipo="campanha", saiu=False, fuso="America/Sao_Paulo",
)  # fmt: skip
POLICY = Policy(window=Window.between("08:00", "20:00", [1, 2, 3, 4, 5]))
NIGHT = TUESDAY + timedelta(hours=12)


@pytest.mark.parametrize(
    ("changes", "now", "disconnected", "why"),
    [
        ({}, TUESDAY, False, None),
        ({}, TUESDAY + timedelta(minutes=4, seconds=59), False, None),
        ({}, TUESDAY + timedelta(minutes=5), False, Why.SEM_RETORNO),
        ({}, TUESDAY + timedelta(hours=25), False, None),
        ({}, TUESDAY, True, Why.DESCONECTADO),
        ({}, NIGHT, False, Why.FORA_DO_HORARIO),
        ({"proativa": False}, NIGHT, True, Why.DESCONECTADO),
        ({"saiu": True}, TUESDAY, False, Why.SAIU),
        ({"saiu": True}, NIGHT, True, Why.SAIU),
        ({"saiu": True, "tipo": "confirmacao_opt_out", "proativa": False}, TUESDAY, False, None),
    ],
)
def test_why_an_entry_may_not_wait(changes: dict[str, Any], now: datetime, disconnected: bool, why: Why | None) -> None:
    assert why_remove(replace(ENTRY, **changes), POLICY, now=now, disconnected=disconnected) is why


def entry(zaap_id: str, message_id: str = "", phone: str = "5511900000001", text: str = "") -> Queued:
    return Queued(zaap_id, message_id, phone, text, None)


def test_the_vendors_ids_come_before_the_text() -> None:
    by_zaap, by_key = replace(ENTRY, id=1), replace(ENTRY, id=2, fila_id="", chave="3EB1")
    found = assign([entry("ZAAP"), entry("OUTRO", "3EB1"), entry("NADA", "3EB9")], [by_zaap, by_key])
    assert [(each.queued.zaap_id, [one.id for one in each.entries]) for each in found] == [
        ("ZAAP", [1]),
        ("OUTRO", [2]),
    ]


def test_both_spellings_are_one_person() -> None:
    lost = replace(ENTRY, chave="", fila_id="", destino="5541980000001", texto_hash=text_hash("Olá"))
    (found,) = assign([entry("Z", "", "554180000001", "OLÁ ")], [lost])
    assert found.sure
