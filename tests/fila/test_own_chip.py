"""A conversation keeps its number: its messages wait for it with a date and a reason, and hold up nobody else."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from chips.models import Chip
from chips.providers.base import ChipAddress, Code, SendResult
from chips.providers.classification import accepted
from chips.providers.wire import withdrawn
from core.circuits.names import of_chip
from core.circuits.services import snapshot
from core.clock import database_now
from core.database import execute
from fila.models import Mensagem
from fila.reconciliacao import acesso, fila_zapi
from fila.worker import wire
from fila.worker.wire import Stops, Wire
from tests import factories
from tests.fila.attempts import look, open_one, settle_as

pytestmark = pytest.mark.django_db


def reply_on(chip: Chip) -> Mensagem:
    message = factories.resposta()
    execute(
        "INSERT INTO conversation_chips (conversa_id, chip_id, active) VALUES (%s, %s, true)",
        [message.conversa_id, chip.pk],
    )
    return message


def send_what_goes(looks: int) -> int:
    sent = 0
    for _ in range(looks):
        for attempt in look():
            settle_as(accepted(f"3EB{attempt.id}", status=201), attempt)
            sent += 1
    return sent


def test_replies_of_a_resting_chip_hold_up_nobody_else(open_operation: None) -> None:
    resting = factories.chip()
    for _ in range(3):
        factories.chip()
    replies = [reply_on(resting) for _ in range(4)]
    Chip.objects.filter(pk=resting.pk).update(cooldown_until=database_now() + timedelta(minutes=30))
    factories.mensagens(3, campanha=factories.campanha())
    assert send_what_goes(3) == 3
    for reply in replies:
        reply.refresh_from_db()
        assert (reply.status, reply.outcome) == ("pendente", "FAILED_NO_CAPACITY")
        assert reply.outcome_reason_code == "no_capacity:chip_da_conversa"
        assert timedelta(seconds=290) < reply.agendar_para - database_now() < timedelta(seconds=370)


def test_a_follow_up_waits_for_the_pace_of_its_conversations_chip(open_operation: None) -> None:
    pacing = factories.chip()
    factories.chip()
    own = factories.resposta(tipo="followup", inbound_interacao_id=None)
    execute(
        "INSERT INTO conversation_chips (conversa_id, chip_id, active) VALUES (%s, %s, true)",
        [own.conversa_id, pacing.pk],
    )
    Chip.objects.filter(pk=pacing.pk).update(proximo_envio_em=database_now() + timedelta(seconds=120))
    factories.mensagem(tipo="followup")
    assert send_what_goes(2) == 1
    own.refresh_from_db()
    assert timedelta(seconds=110) < own.agendar_para - database_now() < timedelta(seconds=150)


def test_a_reply_whose_chip_has_an_open_circuit_says_so(open_operation: None) -> None:
    chip = factories.chip()
    factories.chip()
    reply = reply_on(chip)
    execute(
        "INSERT INTO circuits (name, state, retry_at) VALUES (%s, 'open', agora() + interval '5 minutes')",
        [of_chip(chip.pk)],
    )
    assert look() == []
    reply.refresh_from_db()
    assert (reply.outcome, reply.outcome_reason_code) == ("FAILED_CIRCUIT_OPEN", "circuit_open:chip")


def test_a_queue_may_be_purged_once_its_circuit_wants_a_probe(open_operation: None) -> None:
    """Otherwise chip and circuit would wait for each other for ever."""
    until = database_now() + timedelta(days=3650)
    factories.chip(provider="z-api", zapi_instance_id="Z", zapi_token="T", connection_cooldown_until=until)
    for due, may in (("+", False), ("-", True)):
        execute(
            f"""UPDATE circuits SET state = 'open', retry_at = agora() {due} interval '1 minute'
                WHERE name = 'zapi'"""
        )
        assert acesso.may_call(snapshot(), "z-api") is may


def test_a_database_of_another_environment_touches_no_queue(
    open_operation: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.set_setting("envio_travado", True)
    monkeypatch.setattr(fila_zapi, "_due", lambda *_: pytest.fail("a queue was looked for"))
    assert fila_zapi.run(now=database_now(), deadline_s=1.0)["filas_zapi"] == 0


class Asked:
    """A provider that only asks whether it may still write."""

    async def send_text(self, _address: ChipAddress, *, go_ahead: Any, **_: Any) -> SendResult:
        return accepted("3EB0", status=201) if go_ahead() else withdrawn()


@pytest.mark.parametrize(("frozen_s", "code"), [(0.0, Code.OK), (600.0, Code.WITHDRAWN)])
def test_a_sender_that_was_frozen_after_its_commit_writes_nothing(
    open_operation: None, monkeypatch: pytest.MonkeyPatch, frozen_s: float, code: Code
) -> None:
    chip = factories.chip()
    factories.mensagem(campanha=factories.campanha())
    attempt = open_one()
    monkeypatch.setattr(wire, "provider_for", lambda *_: Asked())
    address = ChipAddress(chip.pk, "evolution", "http://127.0.0.1:9")

    async def send() -> SendResult:
        one, opened = Wire(1), time.monotonic() - frozen_s
        settled = await one.send(attempt, address, committed=opened - 1, opened=opened, stops=Stops())
        await one.close()
        return settled.result

    assert asyncio.run(send()).code is code
