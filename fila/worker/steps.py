"""One turn of a consumer against the database, synchronous and without a loop: look, claim, open."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    OperationalError,
    connection,
    transaction,
)
from psycopg.errors import LockNotAvailable

from chips import addresses, fleet, slowness
from chips.choices import ChipStatus, ProviderName
from chips.providers.base import ChipAddress
from chips.selection import ChipFacts
from core import correlation
from core.circuits.names import of_provider
from core.clientes.ddd import DDDS
from core.clock import database_now
from core.database import execute, rows, wait_briefly_for_locks
from core.logging import get_logger
from core.outcomes import SendOutcome
from fila import claim as claiming
from fila import policy, stranded
from fila.bulkhead import holding
from fila.choices import Evento, Status
from fila.claim import Claimed, Room
from fila.dispatch import Batch, OpenAttempt, close_in_doubt, new_lote, open_attempts
from fila.kinds import REPLY_TIPOS
from fila.ledger import global_left
from fila.policy import Outside, Rules
from fila.returns import Event, record_events, record_guarded, to_dlq
from guardrails import hours
from guardrails.policy import held_kinds

log = get_logger("fila.worker")

# What one broken row may raise while it is decided. The database being away, or a table that is not as this program
# expects it (a deployment in progress), is none of these: that is no row's fault.
UNREADABLE = (
    DataError, IntegrityError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
)  # fmt: skip
SET_ASIDE = timedelta(minutes=5)
CARE_EVERY_S = 3.0
OBSERVE_EVERY_S = 1.0
NO_CALLS: Mapping[str, int] = MappingProxyType({})
BLAME_S = 3600.0


@dataclass(frozen=True, slots=True)
class Turn:
    """What one look brought. `committed`, `opened`: monotonic instants before and after the attempts' commit. `taken`:
    messages claimed.

    `unproved`: providers that must first prove to be the simulator; until then nothing was claimed. `slow`: providers
    whose calls give their sender back while they hang.
    """

    attempts: list[OpenAttempt] = field(default_factory=list)
    addresses: dict[UUID, ChipAddress] = field(default_factory=dict)
    committed: float = 0.0
    opened: float = 0.0
    taken: int = 0
    ended: int = 0
    unproved: tuple[str, ...] = ()
    opted_out: int = 0
    slow: frozenset[str] = frozenset()


class Consumer:
    """One consumer's look at the fila. Holds the batches whose COMMIT is in doubt until it has closed them.

    `senders`: how many calls it may have open at once.
    """

    def __init__(self, name: str, rng: random.Random, *, senders: int) -> None:
        self.name = name
        self.rng = rng
        self.senders = senders
        self.in_doubt: dict[UUID, list[UUID]] = {}
        self.closed_hours = False
        self._passed_at = self._cared_at = self._observed_at = float("-inf")
        self._shares: dict[str, int | None] = {}

    def look(self, *, senders: int, proved: Mapping[str, bool], open_calls: Mapping[str, int] = NO_CALLS) -> Turn:
        """Claim what can be carried and open its attempts. Raises DatabaseError; the next look repairs what that left.

        Nothing of a batch in doubt was written to the wire: `look` returns only batches that are known committed.
        `proved` tells of provider addresses whether they are the simulator. Where a nonce was given out and an address
        has not answered yet, nothing is claimed: silence must not end rows as "outside the allowlist". `senders`: how
        many are free; `open_calls`: how many each provider holds here.
        """
        self.repair()
        if self.closed_hours:
            self.closed_hours = False
            postpone_closed_zones(policy.read())
        urls = [] if settings.PRODUCTION else addresses.base_urls()
        if settings.SIMULADOR_NONCE and (unknown := tuple(url for url in urls if url not in proved)):
            return Turn(unproved=unknown)
        rules = policy.read()
        outside = policy.outside(simulated=bool(urls) and all(proved.get(url, False) for url in urls))
        left = global_left(rules.global_hour, rules.global_day)
        now, chips = database_now(), fleet.load(ill_limit_pct=rules.ill_limit_pct)
        room = Room.of(chips, rules.policy, senders=senders, now=now, budget=left)
        self._care_for_the_stranded(room, chips, rules, now)
        shares = self._observe_slowness()
        limited = {provider: share for provider, share in shares.items() if share is not None}
        slow, room = frozenset(limited), replace(room, slow=limited)
        room = room.within(allowed_calls(shares, chips, open_calls, senders=self.senders, now=now))
        found = addresses.load(room.free)
        room = room.only(found)
        if not room.free or senders <= 0:
            return Turn(slow=slow)
        claimed = claiming.claim(room, rules.policy, owner=self.name, lease_s=settings.FILA_LEASE_S)
        if not claimed:
            return Turn(slow=slow)
        committed = time.monotonic()
        batch = self._open_all(claimed, room, rules, outside)
        opened = time.monotonic()
        ended = sum(verdict.status != Status.PENDENTE for verdict in batch.verdicts)
        opted_out = sum(verdict.outcome is SendOutcome.BLOCKED_OPTED_OUT for verdict in batch.verdicts)
        self.closed_hours = batch.closed_hours
        for lote in batch.lotes:  # the last statement: whatever fails before it closes the batch as not sent
            self.in_doubt.pop(lote, None)
        return Turn(batch.attempts, found, committed, opened, len(claimed), ended, opted_out=opted_out, slow=slow)

    def _care_for_the_stranded(self, room: Room, chips: Sequence[ChipFacts], rules: Rules, now: datetime) -> None:
        """Every few seconds: what nobody can carry waits with its reason, and a fleet mostly ill is told of."""
        if time.monotonic() - self._cared_at < CARE_EVERY_S:
            return
        self._cared_at = time.monotonic()
        with transaction.atomic():
            stranded.postpone(room.shortlists, chips, held_kinds(rules.policy.switches), now, self.rng)
            stranded.tell_of_illness(ill_pct=fleet.ill_share_pct(chips), limit_pct=rules.ill_limit_pct)

    def _observe_slowness(self) -> dict[str, int | None]:
        """How many senders each provider may hold, system-wide; None is no limit. Looked at once a second."""
        if time.monotonic() - self._observed_at >= OBSERVE_EVERY_S:
            self._observed_at = time.monotonic()
            shares = slowness.observe(self.senders)
            self._shares = {provider.value: shares.get(of_provider(provider)) for provider in ProviderName}
        return self._shares

    def _open_all(self, claimed: Sequence[Claimed], room: Room, rules: Rules, outside: Outside) -> Batch:
        with correlation.bind():  # an error may quote a row
            correlation.hide(*(message.conteudo for message in claimed))
            return self._open_or_return(claimed, room, rules, outside)

    def _open_or_return(self, claimed: Sequence[Claimed], room: Room, rules: Rules, outside: Outside) -> Batch:
        try:
            batch = self._open(claimed, room, rules, outside)
            self._passed_at = time.monotonic()
            return batch
        except UNREADABLE:
            log.warning("lote com mensagem ilegível: uma de cada vez", mensagens=len(claimed), exc_info=True)
        except DatabaseError:
            self._give_back(claimed)
            raise
        try:
            return self._open_singly(claimed, room, rules, outside)
        except DatabaseError:
            self._give_back(claimed)
            raise

    def _open(self, claimed: Sequence[Claimed], room: Room, rules: Rules, outside: Outside) -> Batch:
        lote = new_lote()
        self.in_doubt[lote] = [message.id for message in claimed]
        try:
            return open_attempts(claimed, room, rules, outside, owner=self.name, rng=self.rng, lote=lote)
        except UNREADABLE:
            self.in_doubt.pop(lote)  # refused before its COMMIT: there is no doubt
            raise

    def _open_singly(self, claimed: Sequence[Claimed], room: Room, rules: Rules, outside: Outside) -> Batch:
        """A message that cannot be decided (a row that raw SQL broke) is set aside and does not hold up the others.

        It is blamed, and ends after its last try, only when others passed beside it or within the last hour: a fault
        that all share is ours.
        """
        whole = Batch(lotes=[])
        broken: list[tuple[Claimed, str]] = []
        for message in claimed:
            try:
                batch = self._open([message], room, rules, outside)
            except UNREADABLE as error:
                with correlation.use(message.correlation_id):
                    log.exception("mensagem ilegível", mensagem_id=str(message.id))
                broken.append((message, type(error).__name__))
                continue
            whole.attempts += batch.attempts
            whole.lotes += batch.lotes
            whole.verdicts += batch.verdicts
            whole.closed_hours |= batch.closed_hours
        for message, what in broken:
            set_aside(message, what, blamed=len(broken) < len(claimed) or time.monotonic() - self._passed_at < BLAME_S)
        return whole

    def repair(self) -> None:
        """Close what a failure left in doubt: none of it reached the wire. What somebody holds is closed later."""
        for lote, messages in list(self.in_doubt.items()):
            try:
                closed = close_in_doubt(lote, messages)
            except OperationalError as error:
                if not isinstance(error.__cause__, LockNotAvailable):
                    raise
                continue
            self.in_doubt.pop(lote)
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


def allowed_calls(
    shares: Mapping[str, int | None],
    chips: Sequence[ChipFacts],
    open_calls: Mapping[str, int],
    *,
    senders: int,
    now: datetime,
) -> dict[str, int]:
    """How many calls each provider may begin now; a provider not named may begin any number.

    A slow provider holds its share, counted over all processes; a call that hangs for `TRIAL` counts no longer, so that
    its recovery is seen within a minute. Beside another provider none may take all of a consumer's senders: a black
    hole that opens would hold them all until it is recognised.
    """
    of_providers = {chip.provider for chip in chips if chip.status == ChipStatus.ACTIVE}
    most = max(1, senders * 3 // 4)
    found = {name: max(0, most - open_calls.get(name, 0)) for name in of_providers if len(of_providers) > 1}
    for provider, share in shares.items():
        if share is not None:
            room = max(0, share - holding(chips, provider, now))
            found[provider] = min(found.get(provider, share), room)
    return found


def set_aside(message: Claimed, what: str, *, blamed: bool) -> None:
    """Back in five minutes; a message that is blamed counts a try and ends as `erro`, in the DLQ, after its last."""
    with transaction.atomic():
        rows("SELECT id FROM campanhas WHERE id = %s FOR SHARE", [message.campanha_id])
        changed = rows(
            """UPDATE fila_mensagens SET tentativas = tentativas + %(um)s, outcome = 'FAILED_PROVIDER',
                   status = CASE WHEN tentativas + %(um)s >= max_tentativas THEN 'erro' ELSE 'pendente' END,
                   outcome_reason_code = %(motivo)s, erro = %(motivo)s, outcome_at = agora(),
                   agendar_para = agora() + %(pausa)s, processando_desde = NULL, lease_ate = NULL, lease_owner = ''
               WHERE id = %(id)s AND token = %(token)s AND status = 'processando' RETURNING status""",
            {
                "um": int(blamed),
                "motivo": f"worker_exception:{what}",
                "pausa": SET_ASIDE,
                "id": message.id,
                "token": message.token,
            },
        )
        if changed:
            ended = changed[0]["status"] == "erro"
            tipo = Evento.FALHA if ended else Evento.ADIADA
            record_events([Event(message.id, tipo, SendOutcome.FAILED_PROVIDER, f"worker_exception:{what}")])
            to_dlq([message.id] if ended else [])


def give_back(claimed: Sequence[Claimed]) -> int:
    """Claims without an attempt return to `pendente` untouched. Fenced by token."""
    ids = [message.id for message in claimed]
    wait_briefly_for_locks()
    rows(
        """SELECT id FROM campanhas WHERE id IN (SELECT campanha_id FROM fila_mensagens WHERE id = ANY(%s))
           ORDER BY id FOR SHARE""",
        [ids],
    )
    returned = rows(
        """UPDATE fila_mensagens m SET status = 'pendente', processando_desde = NULL
           FROM unnest(%s::uuid[], %s::bigint[]) AS c(id, token)
           WHERE m.id = c.id AND m.token = c.token AND m.status = 'processando' AND m.tentativa_aberta_id IS NULL
           RETURNING m.id, m.status, m.outcome, m.outcome_reason_code""",
        [ids, [message.token for message in claimed]],
    )
    record_guarded(returned)
    return len(returned)


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
               FROM (SELECT p.id, %(ate)s + row_number() OVER (ORDER BY p.prioridade DESC, p.agendar_para, p.id)
                         * interval '1 millisecond' AS ate
                     FROM (SELECT f.id, f.prioridade, f.agendar_para
                           FROM fila_mensagens f JOIN clientes c ON c.id = f.cliente_id
                           WHERE f.status = 'pendente' AND f.agendar_para <= agora() AND c.fuso = %(fuso)s
                               AND NOT f.tipo = ANY(%(respostas)s)
                           ORDER BY f.id LIMIT 5000 FOR UPDATE OF f SKIP LOCKED) p) e
               WHERE m.id = e.id AND m.status = 'pendente'""",
            {"ate": opening, "fuso": zone.key, "respostas": REPLY_TIPOS},
        )
    return moved
