"""Text and records of a CSV somebody exported: encodings, line numbers, and quotes that never close."""

import codecs
import csv
import io
from collections import deque
from collections.abc import Iterator, Sequence
from typing import BinaryIO, cast

REPLACEMENT = "\ufffd"

# A record of more lines than this is an opened quote that nobody closed: no cell that long is accepted anyway.
_LINES_PER_RECORD = 256
_CHARS_PER_LINE = 1 << 20
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


class UnusableFile(Exception):
    """The whole file is refused; the text is for the operator."""


class _EndlessRecord(Exception):
    pass


def _windows_1252(error: UnicodeError) -> tuple[str, int]:
    """Bytes that are not UTF-8 are read as Windows-1252, byte for byte, so that a file pasted together from both
    reads well and one pass is enough. The five bytes that Windows-1252 does not define become U+FFFD."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", errors="replace"), error.end


codecs.register_error("julia.windows_1252", _windows_1252)


def text_lines(stream: BinaryIO) -> Iterator[str]:
    """Physical lines with their ends, of UTF-8 (BOM or not), UTF-16 with BOM or Windows-1252. Leaves `stream` open."""
    buffered = io.BufferedReader(cast(io.RawIOBase, stream))
    start = buffered.peek(4)[:4]
    if start in _SPREADSHEETS:
        buffered.detach()
        raise UnusableFile("O arquivo é uma planilha do Excel: abra-a e salve como CSV UTF-8.")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = io.TextIOWrapper(buffered, encoding="utf-16", errors="replace", newline="")
    else:
        text = io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="julia.windows_1252", newline="")
    try:
        while line := text.readline(_CHARS_PER_LINE):
            yield line
    finally:
        if not stream.closed:  # its owner may have closed it before the last line
            text.detach()
            buffered.detach()


class Lines:
    """Lines on their way to a `csv.reader`, counted, with those of the record in progress kept for a second look."""

    def __init__(self, source: Iterator[str]) -> None:
        self._source = source
        self._pending: deque[str] = deque()
        self.number = 0  # of the line handed out last, from 1
        self.record: list[str] = []

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._pending.popleft() if self._pending else next(self._source)
        self.number += 1
        self.record.append(line)
        if len(self.record) > _LINES_PER_RECORD:
            raise _EndlessRecord
        return line

    def give_back(self, lines: Sequence[str]) -> None:
        self._pending.extendleft(reversed(lines))
        self.number -= len(lines)
        self.record.clear()

    def first_with_text(self) -> str | None:
        """The next line that is not blank, not consumed; None at the end of the file."""
        for line in self:
            if line.strip():
                self.give_back([line])
                return line
            self.record.clear()
        return None


def records(lines: Lines, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """(number of its first line, cells) of each record, or (number, the line itself) where its quotes are wrong.

    Reading goes on with the line after the wrong one, whatever the opened quote had swallowed.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start = lines.number + 1
        lines.record.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _EndlessRecord):
            wrong, *swallowed = lines.record
            lines.give_back(swallowed)
            yield start, wrong.rstrip("\r\n")
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
        else:
            yield start, cells
