"""The log file that the runbook's `grep` lines read: one file per day behind a link, appended to by every process.

Several processes write without knowing of each other: each line is one write to a descriptor in append mode, and the
file's name carries its day, so that nothing is ever renamed under a writer. The link at `LOG_FILE` names the newest.
A disk that is full, or a directory that is not there, costs lines of this file and nothing else; `file_state` tells.
"""

import errno
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

KEEP_DAYS = 7
MODE = 0o600
LINE_LIMIT = 256 * 1024
LOOK_EVERY_S = 5.0  # whether somebody removed the file under us, and whether a broken place is whole again
_BRASILIA = ZoneInfo("America/Sao_Paulo")
_SENTENCES = {
    errno.ENOSPC: "o disco do arquivo de log está cheio",
    errno.EDQUOT: "a cota de disco do arquivo de log acabou",
    errno.EROFS: "o disco do arquivo de log só permite leitura",
    errno.EACCES: "sem permissão para gravar no diretório do log",
    errno.EPERM: "sem permissão para gravar no diretório do log",
    errno.ENOTDIR: "o caminho do arquivo de log não é um diretório",
    errno.EEXIST: "no lugar do arquivo de log há outra coisa",
    errno.ELOOP: "no lugar do arquivo de log há outra coisa",
    errno.EIO: "o disco do arquivo de log responde com erro",
}


@dataclass(frozen=True, slots=True)
class FileState:
    """How the log file fares as this process sees it. `path` empty: switched off.

    `error` is a sentence for the operator, empty while all is well; `since` the first line that was lost; `lost` how
    many were lost since this process began. `free_bytes` None where the place cannot be asked.
    """

    path: str = ""
    error: str = ""
    since: datetime | None = None
    lost: int = 0
    free_bytes: int | None = None

    @property
    def enabled(self) -> bool:
        return bool(self.path)

    @property
    def ok(self) -> bool:
        return not self.error


class DailyFile:
    """A text stream for a log handler, which writes whole lines under its own lock. Never raises OSError."""

    def __init__(
        self,
        path: str,
        *,
        clock: Callable[[], float] = time.time,
        on_trouble: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.path = Path(path).absolute()
        self._clock = clock
        self._on_trouble = on_trouble
        self._fd: int | None = None
        self._day: date | None = None
        self._looked_at = float("-inf")
        self._torn = False
        self._error = ""
        self._failed_at = float("-inf")
        self._since: datetime | None = None
        self._lost = 0

    def write(self, text: str) -> int:
        now = self._clock()
        if self._error and 0 <= now - self._failed_at < LOOK_EVERY_S:
            self._lost += 1
            return len(text)
        try:
            self._append(text, now)
        except OSError as error:
            self._failed(error, now)
        else:
            self._error, self._since = "", None
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def state(self) -> FileState:
        """What was lost so far; and, without writing, whether the place would take a line now."""
        free, trouble = self._place()
        return FileState(str(self.path), self._error or trouble, self._since, self._lost, free)

    def dated(self, day: date) -> Path:
        return self.path.with_name(f"{self.path.name}.{day.isoformat()}")

    def _append(self, text: str, now: float) -> None:
        day = datetime.fromtimestamp(now, _BRASILIA).date()
        if self._fd is None or day != self._day or not self._still_there(now):
            self._open(day, now)
        line = text.encode("utf-8", "backslashreplace")
        if len(line) > LINE_LIMIT:
            line = line[:LINE_LIMIT] + b" [cortada]\n"
        data = b"\n" + line if self._torn else line
        written = os.write(self._fd, data) if self._fd is not None else 0
        self._torn = written < len(data)
        if self._torn:
            raise OSError(errno.ENOSPC, "short write")

    def _still_there(self, now: float) -> bool:
        if 0 <= now - self._looked_at < LOOK_EVERY_S:
            return True
        self._looked_at = now
        return self._fd is not None and os.fstat(self._fd).st_nlink > 0

    def _open(self, day: date, now: float) -> None:
        self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self.dated(day), flags, MODE)
        try:
            if stat.S_IMODE(os.fstat(fd).st_mode) != MODE:
                os.fchmod(fd, MODE)
            self._point_to(day)
            self._forget_before(day - timedelta(days=KEEP_DAYS - 1))
        except OSError:
            os.close(fd)
            raise
        self._fd, self._day, self._looked_at = fd, day, now

    def _point_to(self, day: date) -> None:
        """The link names the newest day, whichever process is first; an ordinary file in its place keeps its lines."""
        target = self.dated(day).name
        if self.path.is_symlink():
            if self.path.readlink().name >= target:
                return
        elif self.path.exists():
            before = datetime.fromtimestamp(self.path.stat().st_mtime, _BRASILIA).date()
            kept = self.dated(before)
            if not self.path.is_file() or kept.exists():
                raise OSError(errno.EEXIST, "not ours")
            self.path.rename(kept)
            kept.chmod(MODE)
            target = max(target, kept.name)
        link = self.path.with_name(f".{self.path.name}.{os.getpid()}.{threading.get_ident()}")
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        link.replace(self.path)

    def _forget_before(self, oldest: date) -> None:
        pattern = re.compile(rf"{re.escape(self.path.name)}\.(\d{{4}}-\d\d-\d\d)")
        for each in self.path.parent.iterdir():
            found = pattern.fullmatch(each.name)
            if found and found[1] < oldest.isoformat():
                each.unlink(missing_ok=True)

    def _failed(self, error: OSError, now: float) -> None:
        sentence = _SENTENCES.get(error.errno or 0, "o arquivo de log não pôde ser gravado")
        self._failed_at = now
        self._lost += 1
        if self._since is None:
            self._since = datetime.fromtimestamp(now, UTC)
        first, self._error = sentence != self._error, sentence
        if not self._torn:
            self._drop_descriptor()
        if first:
            self._on_trouble(sentence)

    def _drop_descriptor(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            try:
                os.close(fd)
            except OSError:
                return

    def _place(self) -> tuple[int | None, str]:
        existing = next((each for each in (self.path.parent, *self.path.parents) if each.exists()), None)
        if existing is None or not existing.is_dir():
            return None, _SENTENCES[errno.ENOTDIR]
        try:
            found = os.statvfs(existing)
        except OSError as error:
            return None, _SENTENCES.get(error.errno or 0, "o arquivo de log não pôde ser gravado")
        free = found.f_bavail * found.f_frsize
        if not os.access(existing, os.W_OK | os.X_OK):
            return free, _SENTENCES[errno.EACCES]
        return free, "" if free else _SENTENCES[errno.ENOSPC]


class DailyFileHandler(logging.StreamHandler[DailyFile]):
    """Writes to a DailyFile; records about the file's own trouble stay out of it."""

    def __init__(self, path: str) -> None:
        super().__init__(DailyFile(path, on_trouble=_tell))

    def setStream(self, stream: object) -> None:  # noqa: N802  (its name in `logging`)
        """Commands move the terminal's handlers to another stream: this one stays."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != _OWN:
            super().emit(record)

    def close(self) -> None:
        self.stream.close()
        super().close()


_OWN = "core.logfile"


def _tell(sentence: str) -> None:
    logging.getLogger(_OWN).error("arquivo de log parado: %s; o processo segue sem ele", sentence)


def file_state() -> FileState:
    """The log file of this process: for health and alerts. Touches no database and writes nothing."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, DailyFileHandler):
            return handler.stream.state()
    return FileState()
