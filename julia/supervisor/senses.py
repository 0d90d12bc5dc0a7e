"""How the supervisor learns of progress: it hears its children's datagrams, and asks what cannot speak for itself."""

import contextlib
import http.client
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from core.health import progress
from julia.supervisor.policy import Policy
from julia.supervisor.preflight import CannotStart

ANSWER_WITHIN_S = 5.0
LONGEST_DATAGRAM = 200
LONGEST_ADDRESS = 100  # of a unix socket; the systems' limits are 104 and 108
READ_AT_ONCE = 1000
PREFIX, ADDRESS = "julia-servir-", "progresso"


@dataclass(frozen=True, slots=True)
class Sign:
    """`session` says whose: each child leads one, and a new start is a new one."""

    session: int
    pid: int
    what: str


class Ears:
    """A datagram socket in a directory that only this user can enter. Raises CannotStart where there is no room."""

    def __init__(self) -> None:
        try:
            self._home = _short_lived_directory()
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.socket.setblocking(False)
            self.socket.bind(str(self._address))
        except OSError as error:
            raise CannotStart(
                "Não é possível criar um diretório temporário para acompanhar os processos: "
                f"{error.strerror or error}. Aponte TMPDIR para um diretório em que este usuário possa escrever."
            ) from error
        sweep(self._home.parent)

    @property
    def _address(self) -> Path:
        return self._home / ADDRESS

    def environment(self, policy: Policy) -> dict[str, str]:
        """What a child must know to be heard."""
        return {progress.SOCKET: str(self._address), progress.EVERY: str(policy.progress_every_s)}

    def heard(self) -> list[Sign]:
        """Everything since the last call; never waits."""
        return [sign for datagram in self._datagrams() if (sign := understood(datagram))]

    def _datagrams(self) -> Iterator[bytes]:
        with contextlib.suppress(BlockingIOError):
            for _ in range(READ_AT_ONCE):
                yield self.socket.recv(LONGEST_DATAGRAM)

    def close(self) -> None:
        self.socket.close()
        shutil.rmtree(self._home, ignore_errors=True)


def understood(datagram: bytes) -> Sign | None:
    words = datagram.decode(errors="replace").split()
    if len(words) != 3 or not (words[0].isdecimal() and words[1].isdecimal()):
        return None
    return Sign(int(words[0]), int(words[1]), words[2])


def sweep(parent: Path) -> None:
    """Remove what supervisors that were killed have left: a socket of this user at which nobody listens any more."""
    for address in parent.glob(f"{PREFIX}*/{ADDRESS}"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as caller:
            if address.parent.stat().st_uid != os.getuid():
                continue
            try:
                caller.connect(str(address))
            except ConnectionRefusedError:
                shutil.rmtree(address.parent, ignore_errors=True)


def _short_lived_directory() -> Path:
    home = Path(tempfile.mkdtemp(prefix=PREFIX))
    if len(os.fsencode(home)) < LONGEST_ADDRESS:
        return home
    home.rmdir()
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))


class Probe:
    """Asks the same question again and again in a thread of its own; one that hangs does not hold up anybody.

    `answered_at`: monotonic instant of the last question that was answered yes.
    """

    def __init__(self, name: str, ask: Callable[[], bool], *, every_s: float) -> None:
        self.answered_at: float | None = None
        self._ask = ask
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pergunta-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                if self._ask():
                    self.answered_at = time.monotonic()
                self._ended.wait(self._every_s)
        finally:
            connection.close()


def database_answers() -> bool:
    """On this thread's connection, which is opened again after it broke."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError):
        connection.close()
        return False
    return True


def health_answers(host: str, port: int) -> bool:
    """Whether the api processes a GET /health. What it says is its own matter, as long as it can say it."""
    asking = http.client.HTTPConnection(host, port, timeout=ANSWER_WITHIN_S)
    try:
        asking.request("GET", "/health", headers={"Host": _accepted_host(host)})
        return asking.getresponse().status < http.client.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asking.close()


def _accepted_host(host: str) -> str:
    """A name from ALLOWED_HOSTS: behind a proxy the api refuses every other."""
    ours = f"[{host}]" if ":" in host else host
    named = [name.removeprefix(".") for name in settings.ALLOWED_HOSTS if name != "*"]
    return ours if not named or ours in named else named[0]
