"""One private server: made, started, found, shared and stopped."""

import contextlib
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from julia.embedded import binaries, postmaster
from julia.embedded.errors import EmbeddedPostgresError
from julia.embedded.places import PORT, SOCKET_FILE, Places, make_home, make_private, remove_tree

DATABASE = "julia"
ROLE = "julia"
START_TIMEOUT_S = 60.0
POLL_S = 0.01
LOG_LIMIT_BYTES = 5_000_000
NO_FREE_CONNECTION = ("too many clients", "connection slots")

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "jit": "off",
}
DISPOSABLE_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """The server of `at`. A `disposable` one trades durability for speed and is made anew if its data are broken."""

    at: Places
    disposable: bool = False

    @property
    def url(self) -> str:
        """Understood by libpq and by django-environ, which hands host and port over as OPTIONS."""
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(self.at.sockets), safe='')}&port={PORT}"

    def is_running(self) -> bool:
        return postmaster.living(self.at.data) is not None

    # Sharing ------------------------------------------------------------------

    def use(self, *, exclusive: bool = False) -> "Use | None":
        """Start or attach, and count this process as a user until `Use.release` or its end, however it ends.

        None when `exclusive` is asked for and another process uses the server.
        """
        with self.locked():
            users = os.open(self.at.home / "users", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
                self._start()
            except BlockingIOError:
                os.close(users)
                return None
            except BaseException:
                os.close(users)
                raise
        return Use(self, users, os.getpid())

    def start(self) -> bool:
        """Make it run until `stop`, whoever uses it meanwhile. True when this call started it."""
        with self.locked():
            self.keep.touch()
            return self._start()

    def stop(self) -> bool:
        """False when it was not running."""
        with self.locked():
            self.keep.unlink(missing_ok=True)
            return postmaster.end(self.at.data)

    @property
    def keep(self) -> Path:
        return self.at.home / "keep"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Serialises start and stop between processes; the kernel frees it with its holder."""
        make_home(self.at.home)
        with (self.at.home / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # Starting -----------------------------------------------------------------

    def _start(self) -> bool:
        refusal = self._refusal(DATABASE)
        if refusal is None or any(text in refusal for text in NO_FREE_CONNECTION):
            return False
        if self._attach():
            return False
        install = binaries.locate(self.at.account)
        try:
            self._start_prepared(install)
        except EmbeddedPostgresError:
            if not self.disposable:
                raise
            postmaster.end(self.at.data)
            remove_tree(self.at.data)
            self._start_prepared(install)
        return True

    def _refusal(self, dbname: str) -> str | None:
        """Why a connection is not possible; None when it is."""
        try:
            self._connect(dbname).close()
        except psycopg.OperationalError as error:
            return str(error)
        return None

    def _connect(self, dbname: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=str(self.at.sockets), port=PORT, user=ROLE, dbname=dbname, connect_timeout=5, autocommit=True
        )

    def _attach(self) -> bool:
        """Wait for a living server that is still starting. One without a socket (cleaned away) is ended."""
        deadline = time.monotonic() + START_TIMEOUT_S
        refusal: str | None = "no connection was tried"
        while postmaster.living(self.at.data) is not None:
            refusal = self._refusal("postgres")
            if refusal is None:
                self._ensure_database()
                return True
            if postmaster.says_ready(self.at.data) and not (self.at.sockets / SOCKET_FILE).exists():
                postmaster.end(self.at.data)
            elif time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"The PostgreSQL server of {self.at.data} runs but takes no connections: {refusal}"
                )
            time.sleep(POLL_S)
        return False

    def _start_prepared(self, install: Path) -> None:
        self._prepare_data(install)
        self._launch(install)
        self._ensure_database()

    def _prepare_data(self, install: Path) -> None:
        """Data appear by a rename, complete: an initdb that was interrupted leaves nothing that counts."""
        make_private(self.at.sockets, self.at)
        version = self.at.data / "PG_VERSION"
        if version.exists():
            self._check_version(version.read_text().strip(), binaries.major_version(install))
            return
        unfinished = self.at.home / "initdb.tmp"
        remove_tree(self.at.data)
        remove_tree(unfinished)
        make_private(unfinished, self.at)
        options = [f"--pgdata={unfinished}", f"--username={ROLE}", "--auth=trust", "--encoding=UTF8"]
        # The same order and case rules on every machine, whatever locales it has (the build has no ICU).
        options += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self._run([str(install / "bin" / "initdb"), *options, *(["--no-sync"] if self.disposable else [])])
        unfinished.rename(self.at.data)

    def _check_version(self, found: str, expected: str) -> None:
        if found != expected:
            raise EmbeddedPostgresError(
                f"{self.at.data} was made by PostgreSQL {found}, the installed binaries are {expected}. "
                "Save it with the old version (pg_dump) or delete that directory to begin anew."
            )

    def _launch(self, install: Path) -> None:
        """Tried again while orphans of a killed server still hold its shared memory."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            self._remove_stale_lock_files()
            begin = self._spawn(install)
            if self._becomes_ready(begin, deadline):
                return
            said = self._log_since(begin)
            if "shared memory block" not in said or time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL did not start. {self.at.log} ends with:\n{said[-2000:]}")
            time.sleep(0.1)

    def _remove_stale_lock_files(self) -> None:
        """PostgreSQL keeps those whose pid is taken, be it by a zombie. `_attach` has proved that nobody is alive."""
        (self.at.data / "postmaster.pid").unlink(missing_ok=True)
        (self.at.sockets / f"{SOCKET_FILE}.lock").unlink(missing_ok=True)

    def _spawn(self, install: Path) -> int:
        """Returns the position in the log at which this start begins."""
        settings = {**SETTINGS, **(DISPOSABLE_SETTINGS if self.disposable else {})}
        settings["unix_socket_directories"] = str(self.at.sockets)
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = os.open(self.at.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if os.fstat(log).st_size > LOG_LIMIT_BYTES:
                os.ftruncate(log, 0)
            begin = os.fstat(log).st_size
            # The shell leaves the server to init: it outlives us, and once dead it is not our zombie.
            server = [str(install / "bin" / "postgres"), "-D", str(self.at.data), *options]
            self._run(["/bin/sh", "-c", '"$@" &', "sh", *server], output=log)
        finally:
            os.close(log)
        return begin

    def _becomes_ready(self, begin: int, deadline: float) -> bool:
        """False once the server has given up; until it has written its pid file or a reason it gets three seconds."""
        patience = time.monotonic() + 3.0
        seen = False
        while time.monotonic() < deadline:
            if postmaster.living(self.at.data) is not None:
                seen = True
                if postmaster.says_ready(self.at.data) and self._refusal("postgres") is None:
                    return True
            elif seen or time.monotonic() > patience or "FATAL" in self._log_since(begin):
                return False
            time.sleep(POLL_S)
        return False

    def _log_since(self, begin: int) -> str:
        with self.at.log.open("rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")

    def _ensure_database(self) -> None:
        with contextlib.closing(self._connect("postgres")) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _run(self, command: list[str], *, output: int = subprocess.PIPE) -> None:
        account = self.at.account
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        result = subprocess.run(
            command,
            check=False,
            cwd="/",
            env={**inherited, "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if result.returncode != 0:
            said = (result.stdout or b"").decode(errors="replace").strip()
            raise EmbeddedPostgresError(f"{Path(command[0]).name} failed ({result.returncode}):\n{said[-2000:]}")


@dataclass(slots=True)
class Use:
    """This process's share of a running server. The last user out stops it, unless `start` asked to keep it."""

    cluster: Cluster
    users: int
    process: int

    def release(self) -> bool:
        """True when this stopped the server. Does nothing in a forked child or a second time."""
        if self.users < 0 or os.getpid() != self.process:
            return False
        with self.cluster.locked():
            users, self.users = self.users, -1
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            finally:
                os.close(users)
            if self.cluster.keep.exists():
                return False
            return postmaster.end(self.cluster.at.data)
