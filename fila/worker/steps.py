"""One turn of a consumer against the database, synchronous and without a loop: look, claim, open."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)

from chips import addresses, fleet
from chips.providers.base import ChipAddress
from core.clientes.ddd import DDDS
from core.clock import database_now
from core.database import execute, rows
from core.logging import get_logger
from core.outcomes import SendOutcome
from fila import claim as claiming
from fila import policy
from fila.claim import Claimed, Room
from fila.dispatch import Batch, OpenAttempt, close_in_doubt, new_lote, open_attempts
from fila.kinds import REPLY_TIPOS
from fila.policy import Outside, Rules
from fila.returns import Verdict, write_verdicts
from fila.settle import to_dlq
from guardrails import hours

log = get_logger("fila.worker")

# What one broken row may raise while it is decided; the database being away is none of these.
UNREADABLE = (DataError, IntegrityError, ProgrammingError, ValueError, LookupError, TypeError, ArithmeticError)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one look brought. `committed`: monotonic instant before the attempts' commit. `taken`: messages claimed.

    `unproved`: providers that must first prove to be the simulator; until then nothing was claimed.
    """

    attempts: list[OpenAttempt] = field(default_factory=list)
    addresses: dict[UUID, ChipAddress] = field(default_factory=dict)
    committed: float = 0.0
    taken: int = 0
    ended: int = 0
    unproved: tuple[str, ...] = ()
    opted_out: int = 0


class Consumer:
    """One consumer's look at the fila. Holds the batches whose COMMIT is in doubt until it has closed them."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self.name = name
        self.rng = rng
        self.in_doubt: set[UUID] = set()

    def look(self, *, senders: int, proved: Mapping[str, bool]) -> Turn:
        """Claim what can be carried and open its attempts. Raises DatabaseError; the next look repairs what that left.

        Nothing of a batch in doubt was written to the wire: `look` returns only batches that are known committed.
        `proved` tells of provider addresses whether they are the simulator. Where a nonce was given out and an address
        has not answered yet, nothing is claimed: silence must not end rows as "outside the allowlist".
        """
        self._repair()
        urls = [] if settings.PRODUCTION else addresses.base_urls()
        if settings.SIMULADOR_NONCE and (unknown := tuple(url for url in urls if url not in proved)):
            return Turn(unproved=unknown)
        rules = policy.read()
        outside = policy.outside(simulated=bool(urls) and all(proved.get(url, False) for url in urls))
        room = Room.of(fleet.load(), rules.policy, senders=senders, now=database_now())
        if not room.free or senders <= 0:
            return Turn()
        claimed = claiming.claim(room, rules.policy, owner=self.name, lease_s=settings.FILA_LEASE_S)
        if not claimed:
            return Turn()
        committed = time.monotonic()
        try:
            batch = self._open(claimed, room, rules, outside)
        except (OperationalError, InterfaceError):
            self._give_back(claimed)
            raise
        except UNREADABLE:
            batch = self._open_singly(claimed, room, rules, outside)
        if batch.closed_hours:
            postpone_closed_zones(rules)
        found = addresses.load([attempt.chip_id for attempt in batch.attempts])
        ended = sum(verdict.evento is not None for verdict in batch.verdicts)
        left = sum(verdict.outcome is SendOutcome.BLOCKED_OPTED_OUT for verdict in batch.verdicts)
        return Turn(batch.attempts, found, committed, len(claimed), ended, opted_out=left)

    def _open(self, claimed: Sequence[Claimed], room: Room, rules: Rules, outside: Outside) -> Batch:
        lote = new_lote()
        self.in_doubt.add(lote)
        try:
            batch = open_attempts(claimed, room, rules, outside, owner=self.name, rng=self.rng, lote=lote)
        except UNREADABLE:
            self.in_doubt.discard(lote)  # refused before its COMMIT: there is no doubt
            raise
        self.in_doubt.discard(lote)
        return batch

    def _open_singly(self, claimed: Sequence[Claimed], room: Room, rules: Rules, outside: Outside) -> Batch:
        """One message that cannot be decided at all (a row that raw SQL broke) must not hold up the others."""
        whole = Batch(lote=new_lote())
        for message in claimed:
            try:
                batch = self._open([message], room, rules, outside)
            except UNREADABLE as error:
                log.error("mensagem ilegível", mensagem_id=str(message.id), erro=type(error).__name__)
                end_unreadable(message, type(error).__name__)
                continue
            whole.attempts += batch.attempts
            whole.verdicts += batch.verdicts
            whole.closed_hours |= batch.closed_hours
        return whole

    def _repair(self) -> None:
        for lote in list(self.in_doubt):
            closed = close_in_doubt(lote)
            self.in_doubt.discard(lote)
            if closed:
                log.warning("commit em dúvida: tentativas fechadas como não enviadas", tentativas=closed)

    def _give_back(self, claimed: Sequence[Claimed]) -> None:
        """After a failed attempt transaction (a deadlock, a constraint): free what it held, if the database answers."""
        connection.close_if_unusable_or_obsolete()
        try:
            with transaction.atomic():
                give_back(claimed)
        except DatabaseError:
            log.warning("mensagens presas até o fim do lease", mensagens=len(claimed))


def end_unreadable(message: Claimed, what: str) -> None:
    """`erro` with a row in the DLQ: a person must look at it."""
    with transaction.atomic():
        rows("SELECT id FROM campanhas WHERE id = %s FOR SHARE", [message.campanha_id])
        motivo = f"worker_exception:{what}"
        write_verdicts([Verdict.ended(message, "erro", SendOutcome.FAILED_VALIDATION, motivo)])
        to_dlq([message.id])


def give_back(claimed: Sequence[Claimed]) -> int:
    """Claims without an attempt return to `pendente` untouched. Fenced by token."""
    ids = [message.id for message in claimed]
    rows(
        """SELECT id FROM campanhas WHERE id IN (SELECT campanha_id FROM fila_mensagens WHERE id = ANY(%s))
           ORDER BY id FOR SHARE""",
        [ids],
    )
    return execute(
        """UPDATE fila_mensagens m SET status = 'pendente', processando_desde = NULL
           FROM unnest(%s::uuid[], %s::bigint[]) AS c(id, token)
           WHERE m.id = c.id AND m.token = c.token AND m.status = 'processando' AND m.tentativa_aberta_id IS NULL""",
        [ids, [message.token for message in claimed]],
    )


def renew_leases(held: Sequence[tuple[UUID, int]]) -> None:
    execute(
        """UPDATE fila_mensagens m SET lease_ate = agora() + %s * interval '1 second'
           FROM unnest(%s::uuid[], %s::bigint[]) AS c(id, token)
           WHERE m.id = c.id AND m.token = c.token AND m.status = 'processando'""",
        [settings.FILA_LEASE_S, [message for message, _ in held], [token for _, token in held]],
    )


def postpone_closed_zones(rules: Rules) -> int:
    """Closing time, set-based: due proactive rows of every zone that is closed now move to its next opening.

    Their order is kept, and their expiry moves with them. Returns how many rows moved.
    """
    now = database_now()
    moved = 0
    for zone in (ZoneInfo(name) for name in sorted({name for _, name in DDDS.values()})):
        if hours.is_open(rules.policy.window, rules.policy.holidays, now, zone):
            continue
        opening = hours.next_opening(rules.policy.window, rules.policy.holidays, now, zone)
        moved += execute(
            """UPDATE fila_mensagens m SET agendar_para = e.ate, expira_em = e.ate + interval '24 hours',
                   reagendamentos = m.reagendamentos + 1, outcome = 'BLOCKED_QUIET_HOURS',
                   outcome_reason_code = 'quiet_hours', outcome_at = agora()
               FROM (SELECT f.id, %(ate)s + row_number() OVER (ORDER BY f.prioridade DESC, f.agendar_para, f.id)
                         * interval '1 millisecond' AS ate
                     FROM fila_mensagens f JOIN clientes c ON c.id = f.cliente_id
                     WHERE f.status = 'pendente' AND f.agendar_para <= agora() AND c.fuso = %(fuso)s
                         AND NOT f.tipo = ANY(%(respostas)s)) e
               WHERE m.id = e.id AND m.status = 'pendente'""",
            {"ate": opening, "fuso": zone.key, "respostas": REPLY_TIPOS},
        )
    return moved
