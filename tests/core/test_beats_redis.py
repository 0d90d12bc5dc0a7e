"""The worker's sign of life in Redis, over the real protocol: the row in the database never depends on it."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from core.health import beats
from core.health.models import RoleBeat

pytestmark = pytest.mark.django_db


class FakeRedis(socketserver.ThreadingTCPServer):
    """Says OK to every command of RESP2 and remembers it."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        super().__init__(("127.0.0.1", 0), _Talk)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server_address[1]}/0"

    def sets(self) -> list[list[str]]:
        return [command for command in self.commands if command[0] == "SET"]


class _Talk(socketserver.StreamRequestHandler):
    server: FakeRedis

    def handle(self) -> None:
        while header := self.rfile.readline():
            parts = []
            for _ in range(int(header[1:])):
                length = int(self.rfile.readline()[1:])
                parts.append(self.rfile.read(length + 2)[:-2].decode())
            self.server.commands.append(parts)
            self.wfile.write(b"+OK\r\n")


@pytest.fixture
def redis_server() -> Iterator[FakeRedis]:
    server = FakeRedis()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_worker_beat_is_a_key_that_lives_for_two_minutes(redis_server: FakeRedis, settings: Any) -> None:
    settings.REDIS_URL = redis_server.url
    beats.beat("worker", "worker:1")
    (command,) = redis_server.sets()
    assert (command[1], command[3:]) == ("worker:fila:heartbeat", ["EX", "120"])
    assert datetime.fromisoformat(command[2]) == RoleBeat.objects.get().beat_at
    beats.beat("worker", "worker:1")
    assert len(redis_server.sets()) == 2


def test_other_roles_leave_the_key_alone(redis_server: FakeRedis, settings: Any) -> None:
    settings.REDIS_URL = redis_server.url
    beats.beat("scheduler", "scheduler:1")
    assert redis_server.sets() == []


def test_without_a_redis_address_nobody_is_called(settings: Any) -> None:
    settings.REDIS_URL = ""
    beats.beat("worker", "worker:1")
    assert RoleBeat.objects.count() == 1


def test_a_redis_that_is_gone_or_says_nothing_costs_the_beat_nothing(settings: Any) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for port in (silent.getsockname()[1], 1):
            settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
            beats.beat("worker", f"worker:{port}")
    assert RoleBeat.objects.count() == 2
