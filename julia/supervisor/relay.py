"""What the children print, line by line and under their names, on our own standard output.

Two kinds of threads, so that a terminal that does not read (Ctrl-S) or is gone never stops a child: readers empty the
pipes into a bounded queue, one writer empties the queue; what does not fit is counted and said.
"""

import io
import json
import os
import queue
import select
import sys
import threading
from typing import IO

QUEUED_LINES = 10_000
LINE_LIMIT = 64 * 1024
NAME_WIDTH = 9
CLOSE_WITHIN_S = 2.0


class Relay:
    """Writes to the descriptor itself: a thread that hangs in a buffered write would hold up the end of the process."""

    def __init__(self, descriptor: int | None = None, *, as_json: bool = False) -> None:
        self._descriptor = sys.stdout.fileno() if descriptor is None else descriptor
        self._as_json = as_json
        self._lines: queue.Queue[bytes | None] = queue.Queue(QUEUED_LINES)
        self._dropped = 0
        self._writer = threading.Thread(target=self._write, name="saida", daemon=True)
        self._writer.start()

    def follow(self, name: str, output: IO[bytes]) -> None:
        """Pass on what comes from `output` until its end."""
        threading.Thread(target=self._read, args=(name, output), name=f"saida-{name}", daemon=True).start()

    def say(self, text: str = "", *, name: str = "") -> None:
        """Our own words; without a name as they are, for the person at the terminal."""
        for line in text.split("\n"):
            self._put(self._own(name, line))

    def stream(self, name: str) -> "Stream":
        """A text stream for log handlers of this process."""
        return Stream(self, name)

    def close(self) -> None:
        """Write what is queued, for at most a few seconds."""
        try:
            self._lines.put(None, timeout=CLOSE_WITHIN_S)
        except queue.Full:
            return
        self._writer.join(CLOSE_WITHIN_S)

    def _put(self, line: bytes) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _read(self, name: str, output: IO[bytes]) -> None:
        with output:
            while line := output.readline(LINE_LIMIT):
                self._put(self._labelled(name, line.rstrip(b"\r\n")))

    def _write(self) -> None:
        somebody_reads = True
        while (line := self._lines.get()) is not None:
            if self._dropped and self._lines.empty():
                dropped, self._dropped = self._dropped, 0
                line += b"\n" + self._labelled("servir", f"{dropped} linhas não couberam na saída".encode())
            somebody_reads = somebody_reads and write_all(self._descriptor, line + b"\n")

    def _own(self, name: str, line: str) -> bytes:
        if not name:
            return line.encode()
        if self._as_json and not line.startswith("{"):
            return self._labelled(name, json.dumps({"message": line}, ensure_ascii=False).encode())
        return self._labelled(name, line.encode())

    def _labelled(self, name: str, line: bytes) -> bytes:
        """A JSON record stays one, with the name as its first field; any other line gets it in front."""
        if self._as_json and line.startswith(b'{"'):
            return b'{"processo": "' + name.encode() + b'", ' + line[1:]
        return name.ljust(NAME_WIDTH).encode() + b" | " + line


class Stream(io.TextIOBase):
    """Collects whole lines for the relay."""

    def __init__(self, relay: Relay, name: str) -> None:
        self._relay = relay
        self._name = name

    def write(self, text: str) -> int:
        if stripped := text.rstrip("\n"):
            self._relay.say(stripped, name=self._name)
        return len(text)


def write_all(descriptor: int, data: bytes) -> bool:
    """False when nobody reads any more: the roles work on without their output."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except OSError:
            return False
    return True
