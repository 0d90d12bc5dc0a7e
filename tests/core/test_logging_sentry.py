"""What reaches Sentry: every kind of failure, under its correlation id, and nothing that a stranger may not read.

The failing process is a real one; Sentry is a small server on this machine.
"""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from core import correlation
from core.sentry import SAME_AGAIN_AFTER_S, Throttle, clean
from julia.embedded.places import PROJECT
from tests.julia.processes import environment_of_test

PHONE, TEXT, TOKEN = "5511900001234", "Olá Dra. Ana, plantão na sexta?", "segredo-do-chip-123"
SECRETS = (PHONE, TEXT, "Dra. Ana", TOKEN)

# Three failures as they happen: a job that breaks, a call of the worker that breaks, a page that breaks.
SCRIPT = f"""
import asyncio, random, sys, uuid
import django
django.setup()
from datetime import timedelta
from django.contrib.auth.models import User
from django.test import Client
import sentry_sdk
from core import clock, correlation
from core.jobs import runner
from core.jobs.registry import job
from fila.claim import Claimed
from fila.dispatch import OpenAttempt
from fila.worker.loop import Drain
import julia.backoffice.diagnostico as page

WORDS = "{PHONE} apikey={TOKEN} {TEXT}"

@job("falha_de_teste", cron="0 0 1 1 *", sla=timedelta(days=400))
def falha_de_teste(now):
    "Falha."
    correlation.hide("{TEXT}")
    raise ValueError("job: " + WORDS)

with correlation.use("job00001"):
    assert not runner.run("falha_de_teste", now=clock.now()).ok

async def broken():
    raise RuntimeError("worker: " + WORDS)

async def worker():
    drain = Drain("teste", senders=1, rng=random.Random(1))
    message = Claimed(uuid.uuid4(), 1, uuid.uuid4(), 7, None, "campanha", 5, "{PHONE}", "{TEXT}", 0, None, "fila0001",
                      {{}})
    attempt = OpenAttempt(id=1, mensagem=message, chip_id=uuid.uuid4(), provider="evolution", proativa=True, peso=1,
                          iniciado_em=clock.now(), sondas={{}})
    task = asyncio.create_task(broken())
    drain._open[task], drain._began[1] = attempt, 0.0
    await asyncio.wait([task])
    drain._done(task)
asyncio.run(worker())

def diagnose(now):
    correlation.hide("{TEXT}")
    raise LookupError("view: " + WORDS)
page.diagnose = diagnose
client = Client(raise_request_exception=False, SERVER_NAME="localhost")
client.force_login(User.objects.create_superuser("raiz"))
answer = client.get("/admin/diagnostico/?telefone={PHONE}", headers={{"X-Correlation-ID": "tela0001"}})
assert answer.status_code == 500, answer.status_code
sentry_sdk.flush(10)
"""


class Stub(ThreadingHTTPServer):
    """Takes envelopes and keeps their events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                stub.take(body.decode())
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                """Silent."""

        super().__init__(("127.0.0.1", 0), Handler)
        self.dsn = f"http://chave@127.0.0.1:{self.server_port}/1"

    def take(self, body: str) -> None:
        lines = body.split("\n")
        for header, payload in zip(lines[1::2], lines[2::2], strict=False):
            if header and json.loads(header).get("type") == "event":
                self.events.append(json.loads(payload))

    def about(self, word: str) -> dict[str, Any]:
        (found,) = (event for event in self.events if event["exception"]["values"][-1]["value"].startswith(word))
        return found


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.django_db(transaction=True)
def test_a_job_a_worker_and_a_page_that_break_are_told_under_their_ids_and_without_secrets(stub: Stub) -> None:
    environment = environment_of_test(
        SENTRY_DSN=stub.dsn, DJANGO_SETTINGS_MODULE="julia.settings", NO_PROXY="127.0.0.1", LOG_FORMAT="json"
    )
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    ids = {word: stub.about(word)["tags"]["correlation_id"] for word in ("job", "worker", "view")}
    assert ids == {"job": "job00001", "worker": "fila0001", "view": "tela0001"}
    assert stub.about("job")["tags"]["job"] == "falha_de_teste"
    assert stub.about("worker")["tags"]["campanha_id"] == "7"
    assert stub.about("worker")["logentry"]["message"] == "chamada com erro inesperado"
    assert stub.about("view")["exception"]["values"][-1]["type"] == "LookupError"
    for event in stub.events:
        assert "request" not in event
        assert "breadcrumbs" not in event
        assert all(
            "vars" not in frame for value in event["exception"]["values"] for frame in value["stacktrace"]["frames"]
        )
    assert [secret for secret in SECRETS if secret in without_source(stub)] == []
    assert [secret for secret in SECRETS if secret in done.stderr] == []


def without_source(stub: Stub) -> str:
    """What was sent, but for the lines of source code around each frame: this very script is full of secrets."""
    events = json.loads(json.dumps(stub.events))
    for event in events:
        for value in event["exception"]["values"]:
            for frame in value["stacktrace"]["frames"]:
                for name in ("context_line", "pre_context", "post_context"):
                    frame.pop(name, None)
    return json.dumps(events, ensure_ascii=False)


def test_without_an_address_nothing_is_set_up() -> None:
    import sentry_sdk

    assert not sentry_sdk.get_client().is_active()


def test_the_same_failure_is_told_once_a_minute() -> None:
    throttle = Throttle()
    assert throttle.lets_pass(("fila.worker", "banco indisponível"), 0.0)
    assert not throttle.lets_pass(("fila.worker", "banco indisponível"), SAME_AGAIN_AFTER_S - 1)
    assert throttle.lets_pass(("fila.worker", "outro"), 1.0)
    assert throttle.lets_pass(("fila.worker", "banco indisponível"), SAME_AGAIN_AFTER_S)


def test_whatever_a_library_puts_into_an_event_is_scrubbed() -> None:
    event = {
        "message": f"para {PHONE}",
        "transaction": f"/webhooks/evolution/{TOKEN}",
        "request": {"url": "http://x/?telefone=5511900001234", "cookies": {"a": "b"}},
        "user": {"id": 1, "ip_address": "10.0.0.1"},
        "breadcrumbs": {"values": [{"message": TEXT}]},
        "extra": {"fundo": [{"phone": PHONE, "texto": TEXT}]},
        "tags": {"numero": PHONE},
        "exception": {"values": [{"value": PHONE, "stacktrace": {"frames": [{"vars": {"x": TEXT}}]}}]},
    }
    with correlation.use("abc12345"):
        cleaned = clean(event, {})
    said = json.dumps(cleaned, ensure_ascii=False)
    assert [secret for secret in SECRETS if secret in said] == []
    assert cleaned is not None
    assert cleaned["tags"]["correlation_id"] == "abc12345"
    assert not {"request", "user", "breadcrumbs"} & cleaned.keys()
