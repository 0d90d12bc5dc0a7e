"""Messages that may go but find no chip: until when they wait, and why."""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from chips.selection import ChipFacts, Choice, Refusal, Shortlist, waits_for
from core.outcomes import SendOutcome
from fila import ledger
from fila.choices import Evento
from fila.claim import Claimed
from fila.facts import Known
from fila.returns import Verdict

NO_CHIP_RETRY = timedelta(seconds=60)
A_MOMENT = timedelta(seconds=1)
SHORTEST_WAIT, OWN_CHIP_RETRY = timedelta(seconds=2), timedelta(seconds=300)
MOST_SPREAD = timedelta(minutes=30)


def spread(until: datetime, now: datetime, rng: random.Random) -> datetime:
    """`until` plus up to 20 % of the wait, half an hour at most: what is deferred together comes back apart (T04.3)."""
    return until + min((until - now) * 0.2, MOST_SPREAD) * rng.random()


def no_chip(
    message: Claimed,
    known: Known,
    short: Shortlist,
    chips: Mapping[UUID, ChipFacts],
    choices: Mapping[UUID, Choice],
    now: datetime,
    rng: random.Random,
) -> Verdict:
    """Back at once when other consumers took the chips; with a date when the free ones are not for this message."""
    own = chips.get(known.conversa_chip) if known.conversa_chip is not None else None
    if own is not None and own.id not in known.excluidos and waits_for(short, own.id):
        return _waits_for_its_own(message, own, short.refused[own.id], now, rng)
    taken = {choice.chip for choice in choices.values()}
    free = {chip.id for chip in short.eligible} - taken
    if not free & (known.excluidos | known.tentados):
        return Verdict.back(message, None, None, "", until=None)
    again = known.repetir_apos if known.repetir_apos and known.repetir_apos > now else now + NO_CHIP_RETRY
    return Verdict.back(
        message,
        Evento.SEM_CHIP,
        SendOutcome.FAILED_NO_CAPACITY,
        "no_capacity:chips_no_limite",
        until=spread(again, now, rng),
        detalhes={"recusas": ledger.refusal_counts(short)},
        waits=True,
    )


def _waits_for_its_own(
    message: Claimed, own: ChipFacts, reasons: Sequence[Refusal], now: datetime, rng: random.Random
) -> Verdict:
    """A conversation keeps its number: the message comes back when its chip does, and is not taken before."""
    if set(reasons) <= {Refusal.EM_VOO, Refusal.OCUPADO}:
        return Verdict.back(message, None, None, "", until=now + A_MOMENT)
    barred = Refusal.CIRCUITO in reasons
    ends = [now + SHORTEST_WAIT]
    if Refusal.COOLDOWN in reasons:
        ends += [at for at in (own.cooldown_until, own.connection_cooldown_until) if at is not None]
    if Refusal.RITMO in reasons:
        ends.append(own.proximo_envio_em)
    if barred:
        ends.append(now + OWN_CHIP_RETRY)
    return Verdict.back(
        message,
        Evento.SEM_CHIP,
        SendOutcome.FAILED_CIRCUIT_OPEN if barred else SendOutcome.FAILED_NO_CAPACITY,
        "circuit_open:chip" if barred else "no_capacity:chip_da_conversa",
        until=spread(min(max(ends), now + OWN_CHIP_RETRY), now, rng),
        detalhes={"recusas": {str(reason): 1 for reason in reasons}},
        waits=True,
    )
