"""Which directories a server uses, and the account that runs it. Nothing here starts anything."""

import hashlib
import os
import pwd
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from julia.embedded.errors import EmbeddedPostgresError

PROJECT = Path(__file__).resolve().parents[2]
ROOT_HOME = Path("/var/lib/julia")
UNPRIVILEGED = "nobody"

PORT = 5432  # only names the socket file: there is no TCP port
SOCKET_FILE = f".s.PGSQL.{PORT}"
SOCKET_PATH_LIMIT = 107  # sockaddr_un.sun_path without its final NUL
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")  # needs no quoting in unix_socket_directories


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged account that runs the server when we are root (PostgreSQL refuses root)."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Places:
    """`home` is ours; `data` and `sockets` belong to the account that runs the server, mode 0700."""

    home: Path
    sockets: Path
    account: Account | None

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def owner(self) -> int:
        return self.account.uid if self.account else os.geteuid()


def places(name: str, project: Path = PROJECT) -> Places:
    """The places of the server called `name` of one clone. Two clones never share any."""
    project = project.resolve()
    return places_in(ROOT_HOME / _hash(project) / name if os.geteuid() == 0 else project / ".julia" / name)


def places_in(home: Path) -> Places:
    account = unprivileged_account() if os.geteuid() == 0 else None
    return Places(home=home, sockets=_socket_directory(home), account=account)


def unprivileged_account() -> Account:
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError as error:
        raise EmbeddedPostgresError(
            f"PostgreSQL does not run as root, and this machine has no account `{UNPRIVILEGED}`. "
            "Run as an ordinary user, or set DATABASE_URL (and APP_ENV)."
        ) from error
    return Account(name=UNPRIVILEGED, uid=entry.pw_uid, gid=entry.pw_gid)


def _socket_directory(home: Path) -> Path:
    """Inside `home`, unless its path is too long for a socket or would need quoting."""
    inside = home / "run"
    if len(os.fsencode(inside / SOCKET_FILE)) <= SOCKET_PATH_LIMIT and PLAIN_PATH.fullmatch(str(inside)):
        return inside
    return Path("/tmp", f"julia-{os.geteuid()}-{_hash(home)}")  # noqa: S108 (`make_private` checks whose it is)


def _hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def make_home(home: Path) -> None:
    """As root, each directory we make can be traversed by the server's account whatever the umask."""
    if home.is_dir():
        return
    if os.geteuid() == 0 and home != ROOT_HOME:
        make_home(home.parent)
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL has no place for its data: {error}. Set DATABASE_URL (and APP_ENV) instead."
        ) from error
    if os.geteuid() == 0:
        home.chmod(0o755)


def make_private(directory: Path, at: Places) -> None:
    """Create it, or check that nobody else made it (it may lie in the shared /tmp), and close it to others."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), at.owner):
        raise EmbeddedPostgresError(f"{directory} belongs to somebody else: remove it, or set DATABASE_URL.")
    if at.account and found.st_uid != at.owner:
        os.chown(directory, at.account.uid, at.account.gid)
    directory.chmod(0o700)


def remove_tree(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
