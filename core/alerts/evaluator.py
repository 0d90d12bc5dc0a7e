"""One look at every fact that can be alarming, and its consequences: what opens, what resolves, what is said.

All of it is one transaction behind one lock, and everything remembered is in the database: evaluators may be many, may
run at once and may be killed at any instant. Whoever comes second finds nothing left to do.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from django.db import Error, connection, transaction

from core.alerts import notices
from core.alerts.declared import EVALUATION_FAILED
from core.alerts.models import Severidade
from core.alerts.rules import Finding, Rule, one_look, registered, rule_of
from core.alerts.transitions import GRAVITY, Memory, Move, step
from core.backoffice.timeouts import TooSlow, statement_timeout
from core.correlation import peek
from core.database import execute, rows, wait_briefly_for_locks
from core.flags.reading import SettingUnreadable
from core.integrations.redaction import scrub, scrub_payload
from core.logging import get_logger

RULE_TIMEOUT_MS = 2000
MOST_FINDINGS = 500
BROKEN_AFTER = 3
ABANDONED_AFTER_MS = 20_000
_LOOK = "avaliacao"  # the memory of the evaluator itself, beside those of the alerts
_LOCK = 0x616C6572_74617321  # "alertas!": one evaluation at a time

# What code over facts can raise, by family: each is recorded, and none of them stops the other rules.
RULE_ERRORS = (
    Error, SettingUnreadable, TooSlow, ArithmeticError, AssertionError, AttributeError, ImportError, LookupError,
    NameError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip

log = get_logger("alertas")


class TooManyFindings(RuntimeError):
    """A rule that finds more than `MOST_FINDINGS` scopes says nothing that a person could act on."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Counts of one look. `notified`: alerts announced, reminded of or escalated; `failures`: rules that broke."""

    opened: int = 0
    resolved: int = 0
    notified: int = 0
    findings: int = 0
    failures: tuple[str, ...] = ()


@dataclass(slots=True)
class _Looked:
    """`found` holds an entry for every rule that answered, also with nothing."""

    found: dict[str, dict[str, Finding]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Change:
    tipo: str
    chave: str
    memory: Memory
    move: Move
    finding: Finding | None


def evaluate(now: datetime, only: Collection[str] | None = None) -> Evaluation:
    """Ask the rules (those of `only`, or all), open and resolve, and put what is to be said into the outbox.

    `now` is database time. Raises django.db.Error when the database does not let it finish; nothing has happened then.
    """
    rules = [rule for rule in registered() if only is None or rule.tipo in only]
    with transaction.atomic():
        _begin_alone()
        looked = _look(rules, now)
        _count_failures(rules, looked)
        wait_briefly_for_locks()  # and where a wait remains, the send path is never the one that loses
        changes = _changes(looked, now, asked=None if only is None else {rule.tipo for rule in rules})
        opened, resolved = _write(changes, now)
        present = {tipo for tipo, found in looked.found.items() if found}
        tipos = None if only is None else sorted({*only, EVALUATION_FAILED})
        notified = notices.write(now, present=present, only=tipos, broken=frozenset(looked.failed))
        if only is None:
            _note_look(now)
    findings = sum(len(found) for found in looked.found.values())
    return Evaluation(opened, resolved, notified, findings, tuple(sorted(looked.failed)))


def last_look_at() -> datetime | None:
    """When every rule was last asked, by whomever; None before the first time. Older than 2 minutes is blind."""
    found = rows("SELECT visto_em FROM alerta_estados WHERE tipo = %s AND chave = ''", [_LOOK])
    return found[0]["visto_em"] if found else None


def _begin_alone() -> None:
    """An evaluator that was stopped in mid-turn (SIGSTOP, a machine that vanished) is ended by the server: its lock
    must not keep everybody else blind.
    """
    execute(
        "SELECT set_config('idle_in_transaction_session_timeout', %s, true), set_config('lock_timeout', %s, true)",
        [str(ABANDONED_AFTER_MS), str(2 * ABANDONED_AFTER_MS)],
    )
    execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _note_look(now: datetime) -> None:
    execute(
        """INSERT INTO alerta_estados (tipo, chave, visto_em) VALUES (%s, '', %s)
           ON CONFLICT (tipo, chave) DO UPDATE SET visto_em = excluded.visto_em""",
        [_LOOK, now],
    )


# Looking ---------------------------------------------------------------------------------------------------------


def _look(rules: Iterable[Rule], now: datetime) -> _Looked:
    looked = _Looked()
    with one_look():
        for rule in rules:
            try:
                looked.found[rule.tipo] = _ask(rule, now)
            except RULE_ERRORS as error:
                if connection.connection is None or connection.connection.closed:
                    raise
                log.exception("regra de alerta quebrou", tipo=rule.tipo)
                looked.failed[rule.tipo] = type(error).__name__
    return looked


def _ask(rule: Rule, now: datetime) -> dict[str, Finding]:
    """What the rule finds, the gravest per key. Its savepoint cannot write, and each statement has a deadline."""
    if rule.evaluate is None:
        return {}
    with statement_timeout(RULE_TIMEOUT_MS):
        execute("SET TRANSACTION READ ONLY")  # ends with the savepoint
        found = list(islice(rule.evaluate(now), MOST_FINDINGS + 1))
    if len(found) > MOST_FINDINGS:
        raise TooManyFindings(rule.tipo)
    worst_last = sorted(found, key=lambda each: GRAVITY[each.severidade])
    return {finding.chave[:80]: finding for finding in worst_last}


def _count_failures(rules: Sequence[Rule], looked: _Looked) -> None:
    """Failures in a row, in the database; from the third on they are findings of a kind of their own."""
    if looked.failed:
        counted = rows(
            """INSERT INTO alerta_estados (tipo, chave, falhas) SELECT %(tipo)s, unnest(%(falhos)s::text[]), 1
               ON CONFLICT (tipo, chave) DO UPDATE SET falhas = alerta_estados.falhas + 1 RETURNING chave, falhas""",
            {"tipo": EVALUATION_FAILED, "falhos": sorted(looked.failed)},
        )
    else:
        counted = []
    sound = sorted(looked.found)
    execute(
        "UPDATE alerta_estados SET falhas = 0 WHERE tipo = %s AND chave = ANY(%s) AND falhas > 0",
        [EVALUATION_FAILED, sound],
    )
    looked.found[EVALUATION_FAILED] = {
        row["chave"]: Finding(
            chave=row["chave"],
            severidade=Severidade.ERROR,
            titulo=f"A regra {row['chave']} não consegue avaliar",
            mensagem=f"Falhou {row['falhas']} vezes seguidas ({looked.failed[row['chave']]}). Enquanto isso o que ela "
            "vigia está sem vigia.",
            valor=row["falhas"],
            limite=BROKEN_AFTER,
            contexto={"erro": looked.failed[row["chave"]]},
        )
        for row in counted
        if row["falhas"] >= BROKEN_AFTER
    }


# Deciding and writing --------------------------------------------------------------------------------------------


def _changes(looked: _Looked, now: datetime, *, asked: Collection[str] | None) -> list[_Change]:
    """Every key that is present, remembered or open, with what this look makes of it. `asked`: None is every rule."""
    free = _lock_open(list(looked.found))
    known = _known(list(looked.found))
    held = {key for key, memory in known.items() if memory.is_open and key not in free}
    changes = []
    for tipo, found in sorted(looked.found.items()):
        rule = rule_of(tipo)
        keys = set(found) | {chave for of, chave in known if of == tipo}
        if tipo == EVALUATION_FAILED:  # a first failure is no proof of recovery, nor is not having been asked
            keys -= {
                key for key in keys - set(found) if key in looked.failed or (asked is not None and key not in asked)
            }
        for chave in sorted(keys - {key for of, key in held if of == tipo}):
            memory = known.get((tipo, chave), Memory())
            after, move = step(memory, present=chave in found, rule=rule, now=now)
            if after != memory or move is not Move.NONE:
                changes.append(_Change(tipo, chave, after, move, found.get(chave)))
    return changes


def _lock_open(tipos: list[str]) -> set[tuple[str, str]]:
    """The open alerts that nobody else holds at this moment; the others are left for the next look."""
    found = rows(
        """SELECT tipo, chave FROM alertas WHERE tipo = ANY(%s) AND resolvido_em IS NULL
           ORDER BY id FOR NO KEY UPDATE SKIP LOCKED""",
        [tipos],
    )
    return {(row["tipo"], row["chave"]) for row in found}


def _known(tipos: list[str]) -> dict[tuple[str, str], Memory]:
    """Served by the primary key of `alerta_estados` and by alertas_one_open_per_key."""
    found = rows(
        """SELECT coalesce(e.tipo, a.tipo) AS tipo, coalesce(e.chave, a.chave) AS chave, a.id IS NOT NULL AS is_open,
               e.presente_desde, e.visto_em, e.ausente_desde
           FROM (SELECT * FROM alerta_estados WHERE tipo = ANY(%(tipos)s)
                 AND (presente_desde IS NOT NULL OR ausente_desde IS NOT NULL)) e
           FULL JOIN (SELECT id, tipo, chave FROM alertas WHERE tipo = ANY(%(tipos)s) AND resolvido_em IS NULL) a
               ON a.tipo = e.tipo AND a.chave = e.chave""",
        {"tipos": tipos},
    )
    return {
        (row["tipo"], row["chave"]): Memory(
            is_open=row["is_open"],
            presente_desde=row["presente_desde"],
            visto_em=row["visto_em"],
            ausente_desde=row["ausente_desde"],
        )
        for row in found
    }


def _write(changes: Sequence[_Change], now: datetime) -> tuple[int, int]:
    """(opened, resolved)"""
    _remember(changes)
    seen = [change for change in changes if change.move in (Move.OPEN, Move.SEEN)]
    over = [change for change in changes if change.move is Move.RESOLVE]
    opened = _open(seen, now) if seen else 0
    return opened, _resolve(over, now) if over else 0


def _remember(changes: Sequence[_Change]) -> None:
    if not changes:
        return
    execute(
        """INSERT INTO alerta_estados (tipo, chave, presente_desde, visto_em, ausente_desde)
           SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[])
           ON CONFLICT (tipo, chave) DO UPDATE SET presente_desde = excluded.presente_desde,
               visto_em = excluded.visto_em, ausente_desde = excluded.ausente_desde""",
        [
            [change.tipo for change in changes],
            [change.chave for change in changes],
            [change.memory.presente_desde for change in changes],
            [change.memory.visto_em for change in changes],
            [change.memory.ausente_desde for change in changes],
        ],
    )


def _open(seen: Sequence[_Change], now: datetime) -> int:
    """New rows, and one more occurrence of the open ones, with the evidence of now; how many are new."""
    found = rows(
        """INSERT INTO alertas (tipo, chave, severidade, titulo, mensagem, contexto, valor, limite, desde,
               correlation_id, primeira_ocorrencia_em, ultima_ocorrencia_em, created_at)
           SELECT f.tipo, f.chave, f.severidade, f.titulo, f.mensagem, f.contexto, f.valor, f.limite, f.desde,
               f.correlation_id, %(now)s, %(now)s, %(now)s
           FROM jsonb_to_recordset(%(findings)s::jsonb) AS f(tipo text, chave text, severidade text, titulo text,
               mensagem text, contexto jsonb, valor numeric, limite numeric, desde timestamptz, correlation_id text)
           ON CONFLICT (tipo, chave) WHERE resolvido_em IS NULL DO UPDATE SET
               ocorrencias = alertas.ocorrencias + 1, ultima_ocorrencia_em = excluded.ultima_ocorrencia_em,
               severidade = excluded.severidade, titulo = excluded.titulo, mensagem = excluded.mensagem,
               contexto = excluded.contexto, valor = excluded.valor, limite = excluded.limite,
               desde = coalesce(excluded.desde, alertas.desde)
           RETURNING ocorrencias = 1 AS nova""",
        {
            "now": now,
            "findings": json.dumps(
                [_row(change, change.finding) for change in seen if change.finding is not None], default=str
            ),
        },
    )
    return sum(row["nova"] for row in found)


def _row(change: _Change, finding: Finding) -> Mapping[str, Any]:
    """Without phones and credentials, whatever the rule put in."""
    return {
        "tipo": change.tipo,
        "chave": change.chave,
        "severidade": finding.severidade.value,
        "titulo": scrub(finding.titulo)[:160],
        "mensagem": scrub(finding.mensagem)[:500],
        "contexto": scrub_payload(json.loads(json.dumps(dict(finding.contexto), default=str))),
        "valor": finding.valor,
        "limite": finding.limite,
        "desde": finding.desde.isoformat() if finding.desde else None,
        "correlation_id": (finding.correlation_id or peek())[:64],
    }


def _resolve(over: Sequence[_Change], now: datetime) -> int:
    return execute(
        """UPDATE alertas a SET resolvido_em = greatest(%s, a.primeira_ocorrencia_em)
           FROM unnest(%s::text[], %s::text[]) AS f(tipo, chave)
           WHERE a.tipo = f.tipo AND a.chave = f.chave AND a.resolvido_em IS NULL""",
        [now, [change.tipo for change in over], [change.chave for change in over]],
    )
