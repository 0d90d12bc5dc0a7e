"""The log file as the runbook greps it, written by the real paths: webhook, inbox, worker (jobs reference §6.1)."""

import json
import logging
import logging.config
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import OperationalError
from django.test import Client

from chips.choices import InboxKind
from chips.models import Chip
from chips.simulator.client import SimulatorProcess
from chips.webhooks import inbox, views
from chips.webhooks.outcomes import Outcome, Received
from core.logfile import DailyFileHandler
from core.logging import logging_config
from tests import factories
from tests.conftest import connect
from tests.fila.drains import drain
from tests.fila.webhooks import deliver, process, upsert

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "julia.log"
    config = logging_config("json", "INFO", str(path))
    made = logging.config.DictConfigurator(config)
    handler = DailyFileHandler(str(path))
    handler.setFormatter(made.configure_formatter(dict(config["formatters"]["file"])))
    logging.getLogger().addHandler(handler)
    yield path
    logging.getLogger().removeHandler(handler)
    handler.close()


@pytest.fixture
def chip(open_operation: None) -> Chip:
    return factories.chip()


def grep(pipeline: str, log: Path) -> list[str]:
    """The pipeline as a person types it, with LOG in place of the file's name."""
    command = pipeline.replace("LOG", str(log))
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False).stdout.splitlines()


def test_a_send_and_a_refused_send_are_found_by_phone(log: Path, simulator: SimulatorProcess, chip: Chip) -> None:
    connect(simulator, chip)
    reached, refused = factories.mensagens(2, tipo="lembrete")
    simulator.fault("inexistente", numbers=[refused.telefone_destino])
    drain()
    reached.refresh_from_db()
    (line,) = grep(f'grep "{reached.telefone_destino}" LOG | grep "message sent"', log)
    assert f"mensagem_id={reached.pk}" in line
    assert f"correlation_id={reached.correlation_id} " in line
    assert grep(f'grep "{reached.telefone_destino}" LOG | grep -E "error|failed"', log) == []
    (line,) = grep(f'grep "{refused.telefone_destino}" LOG | grep -E "error|failed"', log)
    assert "Z-API message send failed" in line
    assert line in grep('grep -E "error|failed|exception" LOG | grep -E "process_message|webhook"', log)
    assert reached.conteudo not in log.read_text()


def test_a_message_that_cannot_be_processed_is_found_by_phone(
    log: Path, chip: Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor, text = factories.cliente(), "Gostaria de saber mais sobre o plantão"

    def broken(received: Received) -> Outcome:
        raise ValueError(f"não entendi: {received.parsed.text}")

    monkeypatch.setitem(inbox._handlers, InboxKind.ENTRADA, broken)
    assert deliver(chip, upsert(doctor.telefone, text)) == "received"
    process()
    assert len(grep(f'grep "Webhook received" LOG | grep {doctor.telefone}', log)) == 1
    found = 'grep -E "error|failed|exception" LOG | grep -E "process_message|webhook" | grep "Error processing message"'
    (line,) = grep(found, log)
    assert doctor.telefone in line
    assert text not in log.read_text()


def test_a_message_that_cannot_be_stored_is_found_by_phone(
    log: Path, chip: Chip, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    doctor = factories.cliente()

    def away(*_: object, **__: object) -> int:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(views, "store", away)
    answer = client.post(
        f"/webhooks/evolution/{chip.instance_name}",
        data={"instance": chip.instance_name, **upsert(doctor.telefone, "oi")},
        content_type="application/json",
        headers={"X-Instance-Secret": chip.webhook_secret},
    )
    assert answer.status_code == 503
    (line,) = grep('grep "Webhook error" LOG | grep "Failed to save conversation" | grep "Supabase error"', log)
    assert doctor.telefone in line


def test_an_unreadable_webhook_is_found(log: Path, chip: Chip, client: Client) -> None:
    client.post(
        f"/webhooks/evolution/{chip.instance_name}",
        data=json.dumps([1]),
        content_type="application/json",
        headers={"X-Instance-Secret": chip.webhook_secret},
    )
    assert (
        len(grep('grep -E "error|failed|exception" LOG | grep -E "process_message|webhook" | grep Invalid', log)) == 1
    )
