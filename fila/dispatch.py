"""The only code that moves a message toward a chip: decide, choose, reserve and record, in one short transaction.

Lock order everywhere, each by id: campanha, pessoa, chip, mensagem, budget, circuit.
"""

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from chips import fleet
from chips.choices import PROACTIVE, TipoMensagem
from chips.selection import ChipFacts, Wanted, assign, shortlist
from core.circuits import services as circuits
from core.clock import database_now
from core.database import rows, wait_briefly_for_locks
from core.outcomes import SendOutcome
from fila import bulkhead, ledger
from fila import facts as fila_facts
from fila.choices import CampanhaStatus, Evento
from fila.claim import Claimed, Room
from fila.facts import Known
from fila.kinds import CANARIO, chip_type_of, kind_of
from fila.policy import Outside, Rules
from fila.returns import Verdict, record_guarded, write_verdicts
from fila.waiting import no_chip, spread
from guardrails.choices import ReasonCode
from guardrails.decisions import Allow, Block, Decision, Defer, Nature, as_record, decide, nature_of

BUDGET_RETRY = timedelta(seconds=300)
HOLD_RETRY = timedelta(seconds=60)
INBOUND_RETRY = timedelta(seconds=5)
HELD_RETRY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt that is committed and may be written to the wire.

    `sondas`: the circuits that it probes, each with the token of its permit.
    """

    id: int
    mensagem: Claimed
    chip_id: UUID
    provider: str
    proativa: bool
    peso: int
    iniciado_em: datetime
    sondas: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Batch:
    """What became of one claimed batch inside the attempt transaction."""

    lotes: list[UUID]
    attempts: list[OpenAttempt] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    closed_hours: bool = False
    selecao: int | None = None
    permits: dict[str, int] = field(default_factory=dict)


def open_attempts(
    claimed: Sequence[Claimed],
    room: Room,
    rules: Rules,
    outside: Outside,
    *,
    owner: str,
    rng: random.Random,
    lote: UUID,
) -> Batch:
    """Decide over `claimed` and open an attempt for each message that may go and finds a chip.

    Everything is read again under locks. Messages whose claim no longer stands (lease over, token changed, reset by
    hand) are left alone. What may not go ends or goes back with its reason in this same transaction. Nothing is on the
    wire before this returns; when the COMMIT is in doubt, the caller closes `lote` as not sent. One message per person
    and batch: the next one is decided when the first one counts.
    """
    with transaction.atomic():
        campaigns = _lock_campaigns(claimed)
        reachable = _lock_people(claimed)
        chips = fleet.lock(sorted(room.free), ill_limit_pct=rules.ill_limit_pct)
        held = _lock_messages(claimed)
        now = database_now()
        standing = [message for message in claimed if message.id in held]
        known = fila_facts.load(standing, outside)
        batch = Batch(lotes=[lote])
        readable = [message for message in standing if message.id in known]
        willing = _sort_out(readable, known, campaigns, reachable, rules, batch, now, rng)
        entries = _choose_chips(willing, known, chips, rules, batch, now, rng)
        entries = _within_shares(entries, bulkhead.places(room.slow, chips, now), batch, now)
        batch.attempts = _open(_with_permits(entries, batch, owner=owner, now=now), batch, owner=owner, now=now)
        write_verdicts(batch.verdicts)
    return batch


def _sort_out(
    messages: Sequence[Claimed],
    known: Mapping[UUID, Known],
    campaigns: Mapping[int, str],
    reachable: set[UUID],
    rules: Rules,
    batch: Batch,
    now: datetime,
    rng: random.Random,
) -> list[Claimed]:
    """Those that may go; the others' verdicts are in the batch."""
    willing: list[Claimed] = []
    people: set[UUID] = set()
    for message in messages:
        campaign_held = message.campanha_id is not None and message.campanha_id not in campaigns
        if campaign_held or message.cliente_id not in reachable:
            batch.verdicts.append(_somebody_holds(message, now))
        elif message.cliente_id in people:
            batch.verdicts.append(Verdict.back(message, None, None, "", until=None))
        elif (verdict := _refusal(message, known[message.id], campaigns, rules, now, rng)) is not None:
            people.add(message.cliente_id)
            batch.verdicts.append(verdict)
            batch.closed_hours |= verdict.motivo == ReasonCode.QUIET_HOURS
        else:
            people.add(message.cliente_id)
            willing.append(message)
    return willing


def _choose_chips(
    willing: Sequence[Claimed],
    known: Mapping[UUID, Known],
    chips: Sequence[ChipFacts],
    rules: Rules,
    batch: Batch,
    now: datetime,
    rng: random.Random,
) -> list[tuple[Claimed, ledger.Entry]]:
    """A chip and a share of the budget for each, as ledger entries; who finds none has its verdict in the batch."""
    lists = {
        tipo: shortlist(chips, tipo, peso=rules.policy.campaign_weight if tipo == "prospeccao" else 1, now=now)
        for tipo in TipoMensagem.values
    }
    tipos = {message.id: _carried_as(message, known[message.id], rules, now) for message in willing}
    choices = assign(
        [_wanted(message, known[message.id], tipos[message.id], chips, rules, now) for message in willing], lists
    )
    by_id = {chip.id: chip for chip in chips}
    for message in willing:
        if message.id not in choices:
            batch.verdicts.append(
                no_chip(message, known[message.id], lists[tipos[message.id]], by_id, choices, now, rng)
            )
    chosen = [message for message in willing if message.id in choices]
    if chosen:
        batch.selecao = ledger.record_selection(lists, tipos.values())
    return [
        (
            message,
            ledger.Entry.of(message, choices[message.id], known[message.id], tipos[message.id], chips, rules, rng),
        )
        for message in _within_budget(chosen, tipos, rules, batch, now, rng)
    ]


def close_in_doubt(lote: UUID, messages: Sequence[UUID]) -> int:
    """After an in-doubt COMMIT nothing of `lote` was written to the wire: what did commit is closed as not sent.

    The messages go back to `pendente` without penalty. Returns how many attempts were open. A backend that is still
    committing holds the `messages`: their locks wait for it.
    """
    with transaction.atomic():
        wait_briefly_for_locks()
        _lock_campaigns_of_messages(messages)
        rows("SELECT id FROM fila_mensagens WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [list(messages)])
        ids = [
            row["origem_id"]
            for row in rows(
                "SELECT origem_id FROM envios_tentativas WHERE lote = %s AND resultado = 'iniciado'", [lote]
            )
        ]
        ledger.release(
            rows(
                """UPDATE envios_tentativas SET resultado = 'rejeitado', encerrado_em = agora(),
                   error_kind = 'interno', codigo = 'commit_em_duvida', regra = 'nos.commit_em_duvida'
                   WHERE lote = %s AND resultado = 'iniciado' RETURNING chip_id, peso, balde_em, proativa""",
                [lote],
            )
        )
        record_guarded(
            rows(
                """UPDATE fila_mensagens SET tentativa_aberta_id = NULL, status = 'pendente', chip_id = NULL
                   WHERE id = ANY(%s) AND status IN ('processando', 'incerta')
                   RETURNING id, status, outcome, outcome_reason_code""",
                [ids],
            )
        )
    return len(ids)


def _lock_campaigns(claimed: Sequence[Claimed]) -> dict[int, str]:
    """Status by id; a campaign that somebody holds (an open psql session) is absent: the others need not wait."""
    ids = sorted({message.campanha_id for message in claimed if message.campanha_id is not None})
    found = rows("SELECT id, status FROM campanhas WHERE id = ANY(%s) ORDER BY id FOR SHARE SKIP LOCKED", [ids])
    return {row["id"]: row["status"] for row in found}


def _lock_campaigns_of_messages(ids: Sequence[UUID]) -> None:
    rows(
        """SELECT id FROM campanhas WHERE id IN (SELECT campanha_id FROM fila_mensagens WHERE id = ANY(%s))
           ORDER BY id FOR SHARE""",
        [list(ids)],
    )


def _lock_people(claimed: Sequence[Claimed]) -> set[UUID]:
    """Those locked; stronger than FOR SHARE: two batches must not both count one person's messages of the day.

    People without a state (raw SQL deleted it) are reachable too: the guardrails postpone what they cannot read.
    """
    ids = sorted({message.cliente_id for message in claimed})
    held = rows(
        """SELECT cliente_id FROM doctor_state WHERE cliente_id = ANY(%s) ORDER BY cliente_id
           FOR NO KEY UPDATE SKIP LOCKED""",
        [ids],
    )
    stateless = rows(
        """SELECT p.id FROM unnest(%s::uuid[]) AS p(id)
           WHERE NOT EXISTS (SELECT 1 FROM doctor_state d WHERE d.cliente_id = p.id)""",
        [ids],
    )
    return {row["cliente_id"] for row in held} | {row["id"] for row in stateless}


def _somebody_holds(message: Claimed, now: datetime) -> Verdict:
    """Campaign or person is being changed at this moment: look again in a few seconds, without a line about it."""
    return Verdict.back(message, None, None, "", until=now + HELD_RETRY)


def _lock_messages(claimed: Sequence[Claimed]) -> set[UUID]:
    found = rows(
        """SELECT m.id FROM fila_mensagens m
           JOIN unnest(%s::uuid[], %s::bigint[]) AS c(id, token) ON c.id = m.id AND c.token = m.token
           WHERE m.status = 'processando' AND m.lease_ate > agora() AND m.tentativa_aberta_id IS NULL
           ORDER BY m.id FOR UPDATE OF m""",
        [[message.id for message in claimed], [message.token for message in claimed]],
    )
    return {row["id"] for row in found}


def _refusal(
    message: Claimed, known: Known, campaigns: Mapping[int, str], rules: Rules, now: datetime, rng: random.Random
) -> Verdict | None:
    """Why this message does not go now, or None. Campaign status first: its commit order decides against pauses."""
    if message.tipo == CANARIO:
        return None
    if message.campanha_id is not None:
        status = campaigns[message.campanha_id]
        if status == CampanhaStatus.CANCELADA:
            return Verdict.ended(message, "cancelada", None, "campanha_cancelada")
        if status != CampanhaStatus.ATIVA:
            return Verdict.back(message, Evento.RETOMADA, None, f"campanha_{status}", until=None)
    decision = decide(known.facts, rules.policy, now=now)
    if not isinstance(decision, Allow):
        return _verdict(message, decision, now, rng)
    if known.repetida:
        return Verdict.ended(message, "bloqueada", SendOutcome.DEDUPED, "content_hash_window:duplicata")
    return None


def _verdict(message: Claimed, decision: Decision, now: datetime, rng: random.Random) -> Verdict:
    record = as_record(decision)
    if isinstance(decision, Block):
        status = "bloqueada" if decision.outcome.is_blocked else "erro"
        return Verdict.ended(message, status, decision.outcome, decision.reason.value, detalhes=record)
    until = decision.until if isinstance(decision, Defer) else now + _pause_of_hold(decision.reason)
    if decision.reason != ReasonCode.QUIET_HOURS:
        until = spread(until, now, rng)
    return Verdict.back(
        message, Evento.ADIADA, decision.outcome, decision.reason.value, until=until, detalhes=record, waits=True
    )


def _pause_of_hold(reason: ReasonCode) -> timedelta:
    """An inbound is understood within a second or two; what a switch holds is not claimed until it is lifted."""
    return INBOUND_RETRY if reason == ReasonCode.INBOUND_PENDENTE else HOLD_RETRY


def _carried_as(message: Claimed, known: Known, rules: Rules, now: datetime) -> TipoMensagem:
    """What a chip must be allowed to carry. A reply without a valid proof is proactive: paced, counted and budgeted."""
    if message.tipo == CANARIO:
        return TipoMensagem.CANARIO
    tipo = chip_type_of(known.facts.kind)
    if tipo == TipoMensagem.RESPOSTA and nature_of(known.facts, rules.policy, now=now) is Nature.PROACTIVE:
        return TipoMensagem.FOLLOWUP
    return tipo


def _wanted(
    message: Claimed, known: Known, tipo: TipoMensagem, chips: Sequence[ChipFacts], rules: Rules, now: datetime
) -> Wanted:
    kind = kind_of(message.tipo)
    avoided = known.excluidos
    if known.repetir_apos is not None and known.repetir_apos > now:
        avoided |= known.tentados | {chip.id for chip in chips if chip.provider in known.provedores}
    return Wanted(
        id=message.id,
        tipo=tipo,
        peso=rules.policy.weight_of(kind),
        conversa_chip=known.conversa_chip,
        afinidade=known.afinidade,
        excluidos=avoided,
        tentados=known.tentados,
    )


def _within_budget(
    messages: list[Claimed],
    tipos: Mapping[UUID, TipoMensagem],
    rules: Rules,
    batch: Batch,
    now: datetime,
    rng: random.Random,
) -> list[Claimed]:
    """Those that the global budget still carries, reserved; the others wait. Replies spend nothing of it."""
    weights = {
        message.id: rules.policy.weight_of(kind_of(message.tipo))
        for message in messages
        if tipos[message.id] in PROACTIVE
    }
    room = ledger.lock_global_budget(rules.global_hour, rules.global_day) if weights else None
    carried: list[Claimed] = []
    for message in messages:
        weight = weights.get(message.id, 0)
        if room is None or weight <= room:
            room = room if room is None else room - weight
            carried.append(message)
            continue
        batch.verdicts.append(
            Verdict.back(
                message,
                Evento.ADIADA,
                SendOutcome.FAILED_RATE_LIMIT,
                "rate_limit:limite_global",
                until=spread(now + BUDGET_RETRY, now, rng),
                waits=True,
            )
        )
    return carried


def _within_shares(
    entries: Sequence[tuple[Claimed, ledger.Entry]], places: Mapping[str, int], batch: Batch, now: datetime
) -> list[tuple[Claimed, ledger.Entry]]:
    """A slow provider begins no more calls than its share has places; the other messages come back in a moment."""
    left, kept = dict(places), []
    for message, entry in entries:
        if entry.provider not in left or left[entry.provider] > 0:
            kept.append((message, entry))
            if entry.provider in left:
                left[entry.provider] -= 1
        else:
            batch.verdicts.append(Verdict.back(message, None, None, "", until=now + HELD_RETRY))
    return kept


def _with_permits(
    entries: Sequence[tuple[Claimed, ledger.Entry]], batch: Batch, *, owner: str, now: datetime
) -> list[tuple[Claimed, ledger.Entry]]:
    """Reserve, then ask every circuit concerned: those that were closed must still be, and hold still until the COMMIT;
    of those that want a probe the permit is taken. Another process may have been quicker with either.

    Whoever is refused goes back at once, unharmed, and what it had reserved is returned.
    """
    if not entries:
        return []
    ledger.reserve([entry for _, entry in entries], now=now)
    wanted = {
        name: (entry.correlation_id, f"mensagem:{message.id}") for message, entry in entries for name in entry.sondas
    }
    won = batch.permits = circuits.acquire(list(wanted), owner=owner, causes=wanted)
    asked = {name for _, entry in entries for name in entry.circuitos}
    passing = circuits.confirm(asked - wanted.keys()) | won.keys()
    kept = [(message, entry) for message, entry in entries if passing >= set(entry.circuitos)]
    used = {name for _, entry in kept for name in entry.sondas}
    circuits.give_back({name: token for name, token in won.items() if name not in used})
    lost = [(message, entry) for message, entry in entries if not passing >= set(entry.circuitos)]
    if not lost:
        return kept
    ledger.give_back([entry for _, entry in lost], now=now)
    batch.verdicts += [Verdict.back(message, None, None, "", until=now + HELD_RETRY) for message, _ in lost]
    return kept


def _open(
    entries: Sequence[tuple[Claimed, ledger.Entry]], batch: Batch, *, owner: str, now: datetime
) -> list[OpenAttempt]:
    if not entries:
        return []
    lote, selecao = batch.lotes[0], batch.selecao
    ids = ledger.insert([entry for _, entry in entries], lote=lote, owner=owner, selecao=selecao, now=now)
    return [
        OpenAttempt(
            id=ids[message.id],
            mensagem=message,
            chip_id=entry.chip_id,
            provider=entry.provider,
            proativa=entry.proativa,
            peso=entry.peso,
            iniciado_em=now,
            sondas={name: batch.permits[name] for name in entry.sondas},
        )
        for message, entry in entries
    ]


def new_lote() -> UUID:
    return uuid.uuid4()
