"""Reading a CSV of doctors, row by row: what is in the file, without a database.

A file nobody can use raises `UnusableFile`; a row nobody can use becomes a `RejectedRow` with its line number, its
cells as they were and a sentence for the operator. Nothing is dropped in silence: a quote that is opened and never
closed costs its own line, not the lines after it.
"""

import csv
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TextIO

from core.clientes import names, phones
from core.clientes.csv_records import REPLACEMENT, Lines, UnusableFile, records, text_lines
from core.clientes.ddd import UFS

FIELDS = (
    "telefone",
    "nome",
    "primeiro_nome",
    "sobrenome",
    "especialidade",
    "cidade",
    "estado",
    "regiao",
    "tags",
)
_DIVERSE = ("nome", "primeiro_nome", "sobrenome")
_ESTADOS = frozenset({"", *UFS})
_NO_VALUES = dict.fromkeys(FIELDS, "")

CELL_LIMIT = 255
TAG_LIMIT = 64

_MOTIVO_LIMIT = 300
_COLUMNS_SHOWN = 20
_DELIMITERS = ";,\t"
_TAG_SEPARATORS = re.compile("[,;|]")
# Composing accents makes a text at most three times longer: shorter cells need no second look.
_SURELY_SHORT = CELL_LIMIT // 3

# A spreadsheet takes a cell that starts with one of these for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_BOOKKEEPING = ("linha", "motivo")


@dataclass(frozen=True, slots=True)
class ParsedRow:
    """`linha` is the line of the file, from 1, on which the row starts; `telefone` is canonical."""

    linha: int
    telefone: str
    nome: str
    primeiro_nome: str
    sobrenome: str
    especialidade: str
    cidade: str
    estado: str
    regiao: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """`celulas` are the cells as in the file, possibly more or fewer than `colunas`; `motivo` is in Portuguese."""

    linha: int
    colunas: tuple[str, ...]
    celulas: tuple[str, ...]
    codigo: str
    motivo: str


Problem = tuple[str, str]  # (code, sentence)


class RowReader(Iterator[ParsedRow | RejectedRow]):
    """The rows of one file, once, in its order. `ignoradas` are columns of the file that mean nothing here."""

    def __init__(self, stream: BinaryIO, mapa: Mapping[str, str]) -> None:
        self._lines = Lines(text_lines(stream))
        first_line = self._lines.first_with_text()
        if first_line is None:
            raise UnusableFile("O arquivo está vazio: a primeira linha deve ter os nomes das colunas.")
        self._delimiter = _delimiter_of(first_line, mapa)
        self._records = records(self._lines, self._delimiter)
        _, cells = next(self._records)
        self.colunas = _header(cells)
        positions = _positions(self.colunas, mapa)
        taken = set(positions.values())
        self._telefone = positions.pop("telefone")
        self._texts = [(field, index, _clean_of(field)) for field, index in positions.items()]
        self.ignoradas = tuple(
            name for index, name in enumerate(self.colunas) if name and index not in taken and name not in _BOOKKEEPING
        )
        self._rows = self._read()

    def __iter__(self) -> Iterator[ParsedRow | RejectedRow]:
        return self._rows

    def __next__(self) -> ParsedRow | RejectedRow:
        return next(self._rows)

    def _read(self) -> Iterator[ParsedRow | RejectedRow]:
        for linha, record in self._records:
            if isinstance(record, str):
                problem = ("aspas", "aspas abertas e não fechadas, ou fechadas no meio da célula")
                yield self._rejected(linha, record.split(self._delimiter), [problem])
            elif any(record) and any(cell.strip() for cell in record):
                yield self._row(linha, record)

    def _row(self, linha: int, cells: list[str]) -> ParsedRow | RejectedRow:
        width = len(self.colunas)
        if len(cells) != width:
            if len(cells) < width or any(cells[width:]):
                return self._rejected(linha, cells, [_ragged(len(cells), width)])
            cells = cells[:width]
        problems = self._damage(cells)
        values = self._values(cells)
        try:
            telefone = phones.parse(cells[self._telefone]).e164
        except phones.InvalidPhone as error:
            problems.insert(0, (error.reason_code, error.sentence))
            telefone = ""
        nome, primeiro_nome, sobrenome = _full_name(values["nome"], values["primeiro_nome"], values["sobrenome"])
        if (estado := values["estado"].upper()) not in _ESTADOS:
            problems.append(("estado", "estado deve ser a sigla de duas letras, por exemplo SP"))
        tags = _tags(values["tags"]) if values["tags"] else ()
        if tags and max(map(len, tags)) > TAG_LIMIT:
            problems.append(("tag_longa", f"etiqueta com mais de {TAG_LIMIT} caracteres"))
        if len(nome) > CELL_LIMIT and not problems:
            problems.append(("celula_longa", f"nome completo com mais de {CELL_LIMIT} caracteres"))
        if problems:
            return self._rejected(linha, cells, problems)
        return ParsedRow(
            linha,
            telefone,
            nome,
            primeiro_nome,
            sobrenome,
            values["especialidade"],
            values["cidade"],
            estado,
            values["regiao"],
            tags,
        )

    def _values(self, cells: list[str]) -> dict[str, str]:
        values = _NO_VALUES.copy()
        for field, index, clean in self._texts:
            if cell := cells[index]:
                values[field] = clean(cell if cell[0] != "'" else _as_typed(cell))
        return values

    def _damage(self, cells: list[str]) -> list[Problem]:
        """What is wrong with the text itself, in any column."""
        problems = []
        record = self._lines.record
        text = record[0] if len(record) == 1 else "".join(record)
        if REPLACEMENT in text or "\0" in text:
            problems.append(("ilegivel", "texto com caracteres ilegíveis: corrija-os ou salve o arquivo em UTF-8"))
        if max(map(len, cells)) > _SURELY_SHORT:
            longest = [
                name or f"{index + 1}ª coluna"
                for index, (name, cell) in enumerate(zip(self.colunas, cells, strict=True))
                if len(unicodedata.normalize("NFC", cell)) > CELL_LIMIT
            ]
            if longest:
                problems.append(("celula_longa", f"mais de {CELL_LIMIT} caracteres em: {_listed(longest)}"))
        return problems

    def _rejected(self, linha: int, cells: Sequence[str], problems: list[Problem]) -> RejectedRow:
        motivo = "; ".join(sentence for _, sentence in problems)
        # A database cannot keep NUL: the rejected row shows the symbol for it.
        celulas = tuple(cell.replace("\0", "\u2400") for cell in cells)
        return RejectedRow(linha, self.colunas, celulas, problems[0][0], motivo[:_MOTIVO_LIMIT])


def read_rows(stream: BinaryIO, mapa: Mapping[str, str] | None = None) -> RowReader:
    """Rows of the file in its order, with flat memory. `mapa` names the field of columns that have another name.

    The header is read at once and raises `UnusableFile`; wholly empty rows are not rows. `stream` stays open.
    """
    return RowReader(stream, mapa or {})


def _clean_of(field: str) -> Callable[[str], str]:
    """Few specialties and towns fill a whole file, names are nearly all different."""
    return names.clean if field in _DIVERSE else _clean_repeated


_clean_repeated = lru_cache(maxsize=16_384)(names.clean)


def _key(name: str) -> str:
    return names.search_key(names.clean(name)).replace(" ", "_").replace("-", "_")


def _delimiter_of(header: str, mapa: Mapping[str, str]) -> str:
    """The one that finds most known columns, then most columns."""
    known = {*FIELDS, *map(_key, mapa)}

    def found(delimiter: str) -> tuple[int, int]:
        cells = next(csv.reader([header], delimiter=delimiter))
        return sum(_key(cell) in known for cell in cells), len(cells)

    return max(_DELIMITERS, key=found)


def _header(cells: list[str] | str) -> tuple[str, ...]:
    if isinstance(cells, str):
        raise UnusableFile("A linha dos nomes das colunas tem aspas abertas e não fechadas.")
    if any(REPLACEMENT in cell or "\0" in cell for cell in cells):
        raise UnusableFile("O arquivo não é um texto legível: salve-o como CSV UTF-8.")
    return tuple(names.clean(cell) for cell in cells)


def _positions(colunas: tuple[str, ...], mapa: Mapping[str, str]) -> dict[str, int]:
    """Field -> index of its column. A mapped column wins over one that merely has the field's name."""
    keys = [_key(name) for name in colunas]
    repeated = sorted({name for name, key in zip(colunas, keys, strict=True) if key and keys.count(key) > 1})
    mapped = {_key(column): field for column, field in mapa.items()}
    if repeated and any(_key(name) in {*FIELDS, *mapped} for name in repeated):
        raise UnusableFile(f"Coluna repetida no arquivo: {_listed(repeated)}. Deixe só uma de cada.")
    positions = {key: index for index, key in enumerate(keys) if key in FIELDS and key not in mapped}
    for column, field in mapped.items():
        if field not in FIELDS:
            raise UnusableFile(f"O campo {field!r} do mapa não existe. Campos aceitos: {', '.join(FIELDS)}.")
        if column not in keys:
            raise UnusableFile(f"A coluna {column!r} do mapa não está no arquivo. {_columns_found(colunas)}")
        positions[field] = keys.index(column)
    if len(set(mapped.values())) < len(mapped):
        raise UnusableFile("O mapa aponta duas colunas para o mesmo campo.")
    if "telefone" not in positions:
        raise UnusableFile(
            f"Não há uma coluna telefone. {_columns_found(colunas)} Colunas aceitas: {', '.join(FIELDS)}. "
            "Se o telefone está em outra coluna, indique-a com --mapa coluna=telefone."
        )
    return positions


def _columns_found(colunas: Iterable[str]) -> str:
    """People's data is not repeated in an error: a first line that holds a telephone is not a header."""
    if any(_is_phone(name) for name in colunas):
        return "A primeira linha parece ter dados: acrescente acima dela os nomes das colunas."
    return f"Colunas no arquivo: {_listed([name for name in colunas if name])}."


def _is_phone(cell: str) -> bool:
    try:
        phones.parse(cell)
    except phones.InvalidPhone:
        return False
    return True


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(name[:40] for name in columns[:_COLUMNS_SHOWN]) or "nenhuma"
    return shown if len(columns) <= _COLUMNS_SHOWN else f"{shown} e mais {len(columns) - _COLUMNS_SHOWN}"


def _ragged(cells: int, width: int) -> Problem:
    return (
        "celulas",
        f"a linha tem {cells} célula{'s' * (cells > 1)} e o cabeçalho tem {width}: confira separadores e aspas",
    )


def _full_name(nome: str, primeiro_nome: str, sobrenome: str) -> tuple[str, str, str]:
    """What the file says, each from the other where only one way of writing the name is filled."""
    if not primeiro_nome and not sobrenome:
        return nome, *names.split(nome)
    primeiro_nome = names.without_honorifics(primeiro_nome)
    return nome or f"{primeiro_nome} {sobrenome}".strip(), primeiro_nome, sobrenome


@lru_cache(maxsize=4096)
def _tags(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag for part in _TAG_SEPARATORS.split(cell) if (tag := part.strip())))


def neutralise(cell: str) -> str:
    """The text as a spreadsheet may open it: never a formula. `read_rows` takes the apostrophe off again."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def _as_typed(cell: str) -> str:
    return cell[1:] if cell[1:].startswith(_FORMULA_STARTS) else cell


class RejectedSheet:
    """Rows to correct and import again: `linha` and `motivo` first, then the columns of the file.

    In this order a row with too many cells keeps them all.
    """

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file, delimiter=";", quoting=csv.QUOTE_ALL)
        self.count = 0

    def add(self, row: RejectedRow) -> None:
        if not self.count:
            self.write_header(row.colunas)
        self.count += 1
        kept = [index for index, name in enumerate(row.colunas) if name not in _BOOKKEEPING]
        overflow = range(len(row.colunas), len(row.celulas))
        cells = [row.celulas[index] for index in (*kept, *overflow) if index < len(row.celulas)]
        self._writer.writerow([row.linha, row.motivo, *map(neutralise, cells)])

    def write_header(self, colunas: Sequence[str]) -> None:
        self._writer.writerow([*_BOOKKEEPING, *(neutralise(name) for name in colunas if name not in _BOOKKEEPING)])


@contextmanager
def rejected_sheet(path: Path) -> Iterator[RejectedSheet]:
    """A sheet that is at `path` only once the block ends well, readable by its owner alone: it holds telephones."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    unfinished = Path(name)
    try:
        with unfinished.open("w", encoding="utf-8-sig", newline="") as file:
            yield RejectedSheet(file)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_rejected(path: Path, rows: Iterable[RejectedRow], *, colunas: Sequence[str] = ()) -> int:
    """Write all of `rows` and return how many; `colunas` is the header when there is none of them."""
    with rejected_sheet(path) as sheet:
        for row in rows:
            sheet.add(row)
        if not sheet.count:
            sheet.write_header(colunas)
    return sheet.count
