"""Which server a drill uses: that of DATABASE_URL, or a private one where the drill crashes it."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import psycopg
from psycopg import sql

from julia.embedded import EmbeddedPostgresError, is_embedded, postmaster
from julia.embedded.cluster import Cluster, Use
from julia.embedded.places import places
from julia.exercicio.banco import Banco, Scratch, Server, url_of
from julia.exercicio.errors import DrillRefused

NAMES = ("exercicio", "exercicio-2", "exercicio-3", "exercicio-4")
GONE_WITHIN_S = 30.0
POLL_S = 0.02
_END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


class PrivateServer(Server):
    """An embedded server of the drill's own."""

    def __init__(self, cluster: Cluster, use: Use) -> None:
        super().__init__(cluster.url)
        self._cluster = cluster
        self._use = use

    def outage(self, scratch: Scratch, seconds: float) -> str:
        """Crash: nobody is asked to finish, and what was committed is recovered from the log at the next start."""
        pid = postmaster.living(self._cluster.at.data)
        if pid is None:
            raise DrillRefused("O servidor embutido do exercício não está de pé.")
        os.kill(pid, signal.SIGQUIT)
        deadline = time.monotonic() + GONE_WITHIN_S
        while postmaster.living(self._cluster.at.data) is not None and time.monotonic() < deadline:
            time.sleep(POLL_S)
        time.sleep(seconds)
        self._cluster.start()
        self._cluster.keep.unlink(missing_ok=True)  # it still ends with its last user
        scratch.hold()
        return f"o servidor embutido do exercício foi derrubado (SIGQUIT) e ficou {seconds:.0f} s fora"

    def close(self) -> None:
        self._use.release()


class SharedServer(Server):
    """The server of DATABASE_URL, which others may be using: only the scratch database is taken away."""

    def outage(self, scratch: Scratch, seconds: float) -> str:
        """The scratch database refuses everybody and its sessions are ended, for `seconds`."""
        name = sql.Identifier(scratch.name)
        with psycopg.connect(url_of(self.url, "postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            connection.execute(_END_SESSIONS, [scratch.name])
            time.sleep(seconds)
            connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        return (
            "DATABASE_URL é um servidor que não podemos reiniciar: as conexões do banco do exercício foram encerradas "
            f"e ele recusou todas por {seconds:.0f} s"
        )

    def close(self) -> None:
        """It is not ours to stop."""


DrillServer = PrivateServer | SharedServer


@contextlib.contextmanager
def server_for(url: str, *, private: bool) -> Iterator[DrillServer]:
    """That of `url`; with `private` one that may be crashed, where `url` is embedded. Refuses production either way."""
    shared = SharedServer(url)
    shared.refuse_production()
    if not (private and is_embedded(url)):
        yield shared
        return
    server = _private()
    try:
        yield server
    finally:
        server.close()


def _private() -> PrivateServer:
    try:
        for name in NAMES:
            cluster = Cluster(places(name))
            if use := cluster.use(exclusive=True):
                return PrivateServer(cluster, use)
    except EmbeddedPostgresError as error:
        raise DrillRefused(str(error)) from error
    raise DrillRefused(f"Já há {len(NAMES)} exercícios com servidor próprio neste clone. Espere um terminar.")


def wait_until_back(banco: Banco, *, within_s: float = 60.0) -> None:
    """Raises psycopg.OperationalError when it is not back by then."""
    deadline = time.monotonic() + within_s
    while not banco.answers():
        if time.monotonic() > deadline:
            banco.rows("SELECT 1")
        time.sleep(POLL_S)
