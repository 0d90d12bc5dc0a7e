"""What must be true before anything is started, and what to do when it is not."""

import contextlib
import errno
import fcntl
import hashlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from julia.supervisor import groups

AFTERMATH_S = 30.0  # how long the guardian of a killed supervisor may take
POLL_S = 0.2


class CannotStart(Exception):
    """The text says why, and what to do."""


def check_port(host: str, port: int, *, command: str) -> None:
    """Raises CannotStart when somebody listens there already, or the address is not ours."""
    reason = _bind_error(host, port)
    if reason is None:
        return
    if isinstance(reason, PermissionError):
        raise CannotStart(f"A porta {port} exige privilégios (é menor que 1024). Use outra: PORT=8000 {command}")
    if reason.errno == errno.EADDRINUSE:
        other = next((free for free in range(port + 1, port + 100) if _bind_error(host, free) is None), port + 1)
        raise CannotStart(
            f"A porta {port} já está em uso{_used_by(port)}. "
            f"Encerre quem a usa ou escolha outra: PORT={other} {command}"
        )
    raise CannotStart(f"Não é possível escutar em {host}:{port}: {reason.strerror or reason}. Confira HOST e PORT.")


def parse_port(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 65535:
        return int(text)
    raise CannotStart(f"PORT={text!r} não é uma porta. Use um número de 1 a 65535, por exemplo PORT=8001.")


def only_one(home: Path, database_url: str, address: str, *, say: Callable[[str], None]) -> int:
    """The descriptor of a lock that says: everything of this clone on this database is run by us.

    The guardian inherits it, so that after a supervisor's violent death the next one waits until its remains are gone.
    Raises CannotStart when another supervisor runs.
    """
    name = hashlib.sha256(database_url.encode()).hexdigest()[:12]
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = os.open(home / f"servir-{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CannotStart(f"Não é possível escrever em {home}: {error.strerror}.") from error
    deadline = time.monotonic() + AFTERMATH_S
    told = False
    while not _locked(lock):
        pid, where = _holder(lock)
        if pid and groups.is_alive(pid):
            raise CannotStart(
                f"A Julia já está rodando nesta cópia do projeto{where} (processo {pid}). "
                f"Use essa, ou encerre-a com Ctrl-C no terminal dela (ou: kill {pid})."
            )
        if time.monotonic() > deadline:
            raise CannotStart("Os processos da execução anterior não terminaram. Veja-os: ps aux | grep manage.py")
        if not told:
            say("A execução anterior foi morta; esperando os processos dela terminarem ...")
            told = True
        time.sleep(POLL_S)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()} {address}".encode(), 0)
    return lock


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: int) -> tuple[int, str]:
    pid, _, address = os.pread(lock, 500, 0).decode(errors="replace").partition(" ")
    return (int(pid) if pid.isdigit() else 0), f" em {address}" if address else ""


def _bind_error(host: str, port: int) -> OSError | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return error
    return None


def _used_by(port: int) -> str:
    """` pelo processo 123 (python -m http.server)` where the system tells us, else how to ask."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening_inodes(Path("/proc/net") / table, port)}
    for inode in inodes:
        for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()) == f"socket:[{inode}]":
                    process = descriptor.parent.parent
                    command = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
                    return f" pelo processo {process.name} ({command[:80]})"
    return f" por outro programa (quem: ss -ltnp 'sport = :{port}')"


def _listening_inodes(table: Path, port: int) -> list[str]:
    listen = "0A"
    with contextlib.suppress(OSError):
        entries = [line.split() for line in table.read_text().splitlines()[1:]]
        return [entry[9] for entry in entries if entry[3] == listen and int(entry[1].rpartition(":")[2], 16) == port]
    return []
