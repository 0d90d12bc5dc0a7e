"""Writes about doctors: the import, as a handful of statements over one temporary table."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import islice
from json import dumps
from typing import BinaryIO

from django.db import connection, transaction
from django.db.models import Value
from django.db.models.functions import Coalesce

from core import correlation
from core.clientes import names
from core.clientes.importacao import ParsedRow, RejectedRow, RowReader, read_rows
from core.clientes.models import Importacao, ImportacaoRejeitada
from core.clock import Agora
from core.database import execute, rows

# How many rejected and duplicate rows a report carries: the table has all of them.
REPORTED_ROWS = 1000

_NOME_BUSCA_LIMIT = 512
_BLOCK_ROWS = 1000
# From here on the planner's idea of the table is renewed before the foreign keys of the new rows are checked.
_MANY_ROWS = 1000
_TEXTS = ("especialidade", "cidade", "estado", "regiao")
_NAMES = ("nome", "primeiro_nome", "sobrenome", "nome_busca")
_COLUMNS = ("telefone", *_NAMES, *_TEXTS, "tags")  # `fuso` comes from a trigger

# situacao: N new person, R repeats an earlier row of the file, C already in the table, X rejected
_CREATE = """
    DROP TABLE IF EXISTS pg_temp.importacao_linhas;
    CREATE TEMPORARY TABLE importacao_linhas (
        linha integer NOT NULL, situacao "char" NOT NULL DEFAULT 'N', primeira integer,
        telefone text, nome text, primeiro_nome text, sobrenome text, nome_busca text,
        especialidade text, cidade text, estado text, regiao text, tags varchar[],
        celulas jsonb, codigo text, motivo text
    ) ON COMMIT DROP
"""
_COPY = f"COPY importacao_linhas (linha, situacao, {', '.join(_COLUMNS)}, celulas, codigo, motivo) FROM STDIN"

_MARK_REPEATED = """
    UPDATE importacao_linhas AS linha SET situacao = 'R', primeira = pessoa.primeira
      FROM (SELECT telefone, min(linha) AS primeira FROM importacao_linhas WHERE situacao = 'N'
             GROUP BY telefone HAVING count(*) > 1) AS pessoa
     WHERE linha.telefone = pessoa.telefone AND linha.linha <> pessoa.primeira
"""

# The rows of one person as one: of each field the first filled cell counts, with `atualizar` the last.
_MERGE_REPEATED = """
    UPDATE importacao_linhas AS linha
       SET nome = coalesce(campos -> 'nome' ->> 0, ''), primeiro_nome = coalesce(campos -> 'nome' ->> 1, ''),
           sobrenome = coalesce(campos -> 'nome' ->> 2, ''), nome_busca = coalesce(campos -> 'nome' ->> 3, ''),
           especialidade = coalesce(campos ->> 'especialidade', ''), cidade = coalesce(campos ->> 'cidade', ''),
           estado = coalesce(campos ->> 'estado', ''), regiao = coalesce(campos ->> 'regiao', ''),
           tags = ARRAY(SELECT jsonb_array_elements_text(coalesce(campos -> 'tags', '[]')))
      FROM (SELECT telefone, jsonb_object_agg(campo, valor ORDER BY linha {order}) AS campos
              FROM importacao_linhas AS repetida, LATERAL (VALUES
                   ('nome', jsonb_build_array(nome, primeiro_nome, sobrenome, nome_busca), nome <> ''),
                   ('especialidade', to_jsonb(especialidade), especialidade <> ''),
                   ('cidade', to_jsonb(cidade), cidade <> ''), ('estado', to_jsonb(estado), estado <> ''),
                   ('regiao', to_jsonb(regiao), regiao <> ''), ('tags', to_jsonb(tags), tags <> '{{}}')
                   ) AS celula (campo, valor, preenchida)
             WHERE preenchida AND telefone IN (SELECT telefone FROM importacao_linhas WHERE situacao = 'R')
             GROUP BY telefone) AS pessoa
     WHERE linha.telefone = pessoa.telefone AND linha.situacao = 'N'
"""

_MARK_KNOWN = """
    UPDATE importacao_linhas AS linha SET situacao = 'C'
      FROM clientes WHERE clientes.telefone = linha.telefone AND linha.situacao = 'N'
"""

_INSERT_NEW = f"""
    INSERT INTO clientes ({", ".join(_COLUMNS)})
    SELECT {", ".join(_COLUMNS)} FROM importacao_linhas WHERE situacao = 'N' ORDER BY telefone
    ON CONFLICT (telefone) DO NOTHING
"""  # noqa: S608  (the columns above)

_INSERT_REJECTED = """
    INSERT INTO importacao_rejeitadas (importacao_id, linha, celulas, codigo, motivo)
    SELECT %s, linha, celulas, codigo, motivo FROM importacao_linhas WHERE situacao = 'X' ORDER BY linha
"""

_DUPLICATES = """
    SELECT linha, primeira FROM importacao_linhas WHERE situacao IN ('R', 'C') ORDER BY linha LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A row whose person was known: from line `primeira` of the file, or (None) from the table."""

    linha: int
    primeira: int | None


@dataclass(frozen=True, slots=True)
class ImportReport:
    """linhas = novos + duplicados + rejeitados; `atualizados` are people of the table whose row changed.

    `rejeitadas` and `duplicadas` hold the first `REPORTED_ROWS` of each. `importacao_id` is None for a dry run.
    """

    importacao_id: int | None
    colunas: tuple[str, ...]
    colunas_ignoradas: tuple[str, ...]
    linhas: int
    novos: int
    duplicados: int
    atualizados: int
    rejeitados: int
    rejeitadas: tuple[RejectedRow, ...]
    duplicadas: tuple[Duplicate, ...]


def importar(
    stream: BinaryIO,
    *,
    nome_arquivo: str,
    actor: str,
    mapa: Mapping[str, str] | None = None,
    atualizar: bool = False,
    dry_run: bool = False,
    now: datetime,
    importacao: Importacao | None = None,
    on_rejected: Callable[[RejectedRow], None] = lambda row: None,
) -> ImportReport:
    """Import a CSV of doctors: all of its good rows in one transaction, or nothing. Memory stays flat.

    A person already known, by an earlier row or in the table, only has empty fields filled (the name counts as one
    field); with `atualizar` a filled cell overwrites, an empty one never erases. People marked as deleted stay as
    they are, and nobody's opt-out changes. One import writes at a time: a second one waits.

    `importacao` is the row that announced this import, if there was one; a dry run writes nothing at all.
    `on_rejected` sees every rejected row while the file is read, before it is certain that the import commits.
    Raises `UnusableFile`.
    """
    reader = read_rows(stream, mapa)
    with transaction.atomic():
        execute("SET LOCAL work_mem = '64MB'")
        execute(_CREATE)
        tally = _Tally(on_rejected)
        _copy(tally.counted(reader))
        execute("ANALYZE importacao_linhas")
        if not dry_run:
            execute("SELECT pg_advisory_xact_lock(hashtext('importar_clientes'))")
        if execute(_MARK_REPEATED):
            execute(_MERGE_REPEATED.format(order="ASC" if atualizar else "DESC"))
        execute(_MARK_KNOWN)
        novos, atualizados = _count_changes(atualizar) if dry_run else _change(atualizar)
        importacao_id = None
        if not dry_run:
            record = importacao or Importacao.objects.create(
                nome_arquivo=nome_arquivo[:255], mapa=dict(mapa or {}), correlation_id=correlation.get()
            )
            _finish(record, tally, novos=novos, atualizados=atualizados, atualizar=atualizar, actor=actor, now=now)
            importacao_id = record.pk
        duplicadas = tuple(Duplicate(**row) for row in rows(_DUPLICATES, [REPORTED_ROWS]))
    return ImportReport(
        importacao_id=importacao_id,
        colunas=reader.colunas,
        colunas_ignoradas=reader.ignoradas,
        linhas=tally.linhas,
        novos=novos,
        duplicados=tally.linhas - tally.rejeitados - novos,
        atualizados=atualizados,
        rejeitados=tally.rejeitados,
        rejeitadas=tuple(tally.first_rejected),
        duplicadas=duplicadas,
    )


class _Tally:
    """Counts rows on their way to the database."""

    def __init__(self, on_rejected: Callable[[RejectedRow], None]) -> None:
        self._on_rejected = on_rejected
        self.linhas = 0
        self.rejeitados = 0
        self.first_rejected: list[RejectedRow] = []

    def counted(self, reader: RowReader) -> Iterator[ParsedRow | RejectedRow]:
        for row in reader:
            self.linhas += 1
            if isinstance(row, RejectedRow):
                self.rejeitados += 1
                self._on_rejected(row)
                if self.rejeitados <= REPORTED_ROWS:
                    self.first_rejected.append(row)
            yield row


def _copy(source: Iterator[ParsedRow | RejectedRow]) -> None:
    """COPY text is put together by hand: adapting each value by its type costs ten times as much."""
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        while block := "".join(map(_line, islice(source, _BLOCK_ROWS))):
            copy.write(block)


def _line(row: ParsedRow | RejectedRow) -> str:
    if isinstance(row, RejectedRow):
        cells = dumps({"colunas": row.colunas, "celulas": row.celulas}, ensure_ascii=False)
        return _escaped(f"{row.linha}\tX", cells, row.codigo, row.motivo, before=_NULLS)
    return _escaped(
        f"{row.linha}\tN",
        row.telefone,
        row.nome,
        row.primeiro_nome,
        row.sobrenome,
        names.search_key(names.without_honorifics(row.nome))[:_NOME_BUSCA_LIMIT],
        row.especialidade,
        row.cidade,
        row.estado,
        row.regiao,
        _array(row.tags),
        after=_NO_REASON,
    )


_NULLS = "\t\\N" * len(_COLUMNS)
_NO_REASON = "\t\\N" * 3


def _escaped(start: str, *values: str, before: str = "", after: str = "") -> str:
    """One line of COPY text. Values hold no control characters: `names.clean` and JSON leave none."""
    line = "\t".join(("", *values))
    if "\\" in line:
        line = line.replace("\\", "\\\\")
    return f"{start}{before}{line}{after}\n"


@lru_cache(maxsize=4096)
def _array(values: tuple[str, ...]) -> str:
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"


def _takes(field: str, *, atualizar: bool, empty: str = "''") -> str:
    """SQL: does the person's `field` take the file's value?"""
    if atualizar:
        return f"(linha.{field} <> {empty} AND linha.{field} <> clientes.{field})"
    return f"(linha.{field} <> {empty} AND clientes.{field} = {empty})"


def _takes_name(*, atualizar: bool) -> str:
    if atualizar:
        ours, theirs = (", ".join(f"{table}.{field}" for field in _NAMES) for table in ("clientes", "linha"))
        return f"(linha.nome <> '' AND ({theirs}) <> ({ours}))"
    return "(linha.nome <> '' AND clientes.nome = '' AND clientes.primeiro_nome = '' AND clientes.sobrenome = '')"


def _known_sql(*, atualizar: bool) -> tuple[str, str]:
    """The assignments to people of the table, and the condition under which any of them changes something."""
    takes = {field: _takes(field, atualizar=atualizar) for field in _TEXTS}
    takes["tags"] = _takes("tags", atualizar=atualizar, empty="'{}'")
    takes |= dict.fromkeys(_NAMES, _takes_name(atualizar=atualizar))
    assignments = ", ".join(
        f"{field} = CASE WHEN {condition} THEN linha.{field} ELSE clientes.{field} END"
        for field, condition in takes.items()
    )
    changes = " OR ".join(dict.fromkeys(takes.values()))
    where = f"clientes.telefone = linha.telefone AND linha.situacao = 'C' AND deleted_at IS NULL AND ({changes})"
    return assignments, where


def _change(atualizar: bool) -> tuple[int, int]:
    """Insert the new people and change the known ones; returns how many of each."""
    assignments, where = _known_sql(atualizar=atualizar)
    novos = execute(_INSERT_NEW)
    if novos >= _MANY_ROWS:
        # Statistics of an emptier table (say, after a large import that failed) make each key check read an index
        # from end to end: observed on PostgreSQL 18, 200,000 rows took more than ten minutes.
        execute("ANALYZE clientes")
    update = f"UPDATE clientes SET {assignments} FROM importacao_linhas AS linha WHERE {where}"  # noqa: S608
    atualizados = execute(update)
    return novos, atualizados


def _count_changes(atualizar: bool) -> tuple[int, int]:
    """What `_change` would return."""
    _, where = _known_sql(atualizar=atualizar)
    (counts,) = rows(
        f"""SELECT (SELECT count(*) FROM importacao_linhas WHERE situacao = 'N') AS novos,
                   (SELECT count(*) FROM clientes, importacao_linhas AS linha WHERE {where}) AS atualizados"""  # noqa: S608
    )
    return counts["novos"], counts["atualizados"]


def _finish(
    record: Importacao, tally: _Tally, *, novos: int, atualizados: int, atualizar: bool, actor: str, now: datetime
) -> None:
    """Write what became of it, and let go of the uploaded file: its people are in the table now."""
    Importacao.objects.filter(pk=record.pk).update(
        status=Importacao.Status.CONCLUIDA,
        conteudo=None,
        linhas=tally.linhas,
        novos=novos,
        duplicados=tally.linhas - tally.rejeitados - novos,
        atualizados=atualizados,
        rejeitados=tally.rejeitados,
        atualizar=atualizar,
        criado_por=actor[:150],
        iniciado_em=Coalesce("iniciado_em", Value(now)),
        concluido_em=Agora(),
    )
    execute(_INSERT_REJECTED, [record.pk])


def rejeitadas(importacao: Importacao) -> Iterator[RejectedRow]:
    """All rejected rows of an import, in the order of the file, as `write_rejected` takes them."""
    stored = ImportacaoRejeitada.objects.filter(importacao=importacao).order_by("linha", "id")
    for row in stored.iterator(chunk_size=2000):
        yield RejectedRow(
            row.linha, tuple(row.celulas["colunas"]), tuple(row.celulas["celulas"]), row.codigo, row.motivo
        )
