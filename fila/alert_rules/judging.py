"""Does the fila stand still? Pure: facts and the instant come in. Quiet when there is nothing to do.

A message that is due and may go is carried within minutes, or somebody says why not: the consumer postpones what no
chip can carry and what its recipient's hours keep. What is left are the limits that a person set, and chips that
work as fast as they may.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from chips.choices import TipoMensagem
from chips.selection import MOMENTARY, ChipFacts, Refusal
from fila.alert_rules.facts import FLOW, Late, Operation, Queue, Sent, Unsent
from fila.stranded import reason_of

STILL = timedelta(minutes=12)
"""Nothing left for so long. The queue is said to stand still within 15 minutes (decisions §9), the look included."""
UNSENT = timedelta(minutes=13)
"""A started campaign is told of within 15 minutes of contact time (jobs reference §4.2), two looks included."""
QUIET_START = timedelta(minutes=5)  # of each day
OVERTAKEN_BY = timedelta(minutes=1)
HOUR = timedelta(hours=1)
OLD_AT_FULL_RATE = 2 * HOUR
HALF = 0.5

NEVER = Sent()
_AT_ITS_LIMIT = MOMENTARY | {Refusal.LIMITE_HORA, Refusal.LIMITE_DIA}


class Room(StrEnum):
    """Whether chips can carry a class now."""

    LIVRE = "livre"
    EM_USO = "em_uso"  # all are busy or pacing, or have used up their limits: they work as fast as they may
    CIRCUITO = "circuito"  # an open circuit, which is an alert of its own
    NENHUMA = "nenhuma"


def room(operation: Operation, classe: TipoMensagem) -> Room:
    short = operation.shortlists[classe]
    if short.eligible:
        return Room.LIVRE
    if any(set(why) <= _AT_ITS_LIMIT for why in short.refused.values()):
        return Room.EM_USO
    reason = reason_of(short, {chip.id: chip for chip in operation.chips}, operation.now)
    return Room.CIRCUITO if reason is not None and "circuit_open" in reason.motivo else Room.NENHUMA


def is_at_full_rate(operation: Operation, classe: TipoMensagem, sent: Sent) -> bool:
    """Whether the class was sent at half the pace of its chips or more, over the last `STILL`.

    A chip's pace is that of its pauses or that of its limit per hour, whichever is slower.
    """
    short = operation.shortlists[classe]
    able = [chip for chip in operation.chips if set(short.refused.get(chip.id, ())) <= _AT_ITS_LIMIT]
    expected = sum(_pace(chip, classe, operation) for chip in able)
    return bool(able) and sent.since(operation.now - STILL) >= max(1.0, expected * HALF)


def _pace(chip: ChipFacts, classe: TipoMensagem, operation: Operation) -> float:
    """How many of the class the chip sends in `STILL` as fast as it may; replies have no limit per hour."""
    pause = max(operation.rules.pacing.max_s, float(chip.delay_minimo_segundos), 1.0)
    by_pauses = STILL.total_seconds() / pause
    if classe == TipoMensagem.RESPOSTA:
        return by_pauses
    per_hour, _ = chip.limits_at(operation.now)
    return min(by_pauses, per_hour / operation.weight(classe) * (STILL / HOUR))


def piled_up(
    found: Sequence[Late], operation: Operation, sent: Mapping[str, Sent], *, age: timedelta
) -> list[tuple[Late, int]]:
    """Late groups with the number of their messages that are due for longer than `age` and could have gone.

    Hours are not asked: at closing time due messages are moved to the next opening. Where a class goes out as fast
    as its chips may, only what is hours old counts.
    """
    counted = []
    full = {
        classe: is_at_full_rate(operation, classe, sent.get(classe, NEVER))
        for classe in {group.classe for group in found}
    }
    for group in found:
        if not operation.has_budget(group.classe):
            continue
        least = operation.now - (max(age, OLD_AT_FULL_RATE) if full[group.classe] else age)
        is_old = operation.releases.later(group.desde, group.campanha_id) <= least
        count = group.due_before(least) if is_old else 0
        if count:
            counted.append((group, count))
    return counted


def standing_still(
    found: Sequence[Late], operation: Operation, sent: Mapping[str, Sent]
) -> dict[TipoMensagem, datetime]:
    """Classes of which nothing left for `STILL` although something could have gone: since when the oldest is due."""
    still: dict[TipoMensagem, datetime] = {}
    for group in found:
        if not _could_have_gone(group, operation) or sent.get(group.classe, NEVER).since(operation.now - STILL):
            continue
        still[group.classe] = min(still.get(group.classe, group.desde), group.desde)
    return {classe: since for classe, since in still.items() if not is_explained(operation, classe, sent)}


def overtaken(
    found: Sequence[Late], operation: Operation, newest: Mapping[Queue, Sequence[tuple[int, datetime]]]
) -> dict[TipoMensagem, tuple[datetime, int]]:
    """Messages that stay while later ones of their queue leave: since when the oldest is due, and how many.

    A slow queue is in order, one that is only behind overtakes nobody: these are held by something of their own.
    """
    passed: dict[TipoMensagem, tuple[datetime, int]] = {}
    for group in found:
        if not _could_have_gone(group, operation):
            continue
        of_its_queue = newest.get((group.campanha_id, group.classe), ())
        latest = max((due for prioridade, due in of_its_queue if prioridade <= group.prioridade), default=group.desde)
        count = group.due_before(min(latest - OVERTAKEN_BY, operation.now - STILL))
        if count:
            since, known = passed.get(group.classe, (group.desde, 0))
            passed[group.classe] = (min(since, group.desde), known + count)
    return passed


def _could_have_gone(group: Late, operation: Operation) -> bool:
    """For `STILL`: due, released, in contact time, and within the limits."""
    since = operation.releases.later(group.desde, group.campanha_id)
    if operation.now - since < STILL or not operation.has_budget(group.classe):
        return False
    return group.classe == TipoMensagem.RESPOSTA or _was_open(operation, group.fuso, STILL)


def _was_open(operation: Operation, fuso: str, span: timedelta) -> bool:
    """Contact time without a break until now: silence over night, or in the first minutes of a day, says nothing."""
    return operation.open_for(fuso, operation.now - span) >= span


def is_explained(operation: Operation, classe: TipoMensagem, sent: Mapping[str, Sent]) -> bool:
    """Whether waiting chips are the reason: behind an open circuit, or at work for other messages."""
    match room(operation, classe):
        case Room.CIRCUITO:
            return True
        case Room.EM_USO:
            return any(each.since(operation.now - FLOW) for each in sent.values())
    return False


def waits_since(campaign: Unsent, operation: Operation, sent: Mapping[str, Sent]) -> datetime | None:
    """When the campaign could first have sent, once that is `UNSENT` of contact time ago; None while it need not have.

    One whose messages never reached the fila counts from its start, in Brasília's hours.
    """
    if not campaign.pode_desde:
        started = None if campaign.enfileirada else campaign.iniciada_em
        long_enough = started is not None and operation.open_for("America/Sao_Paulo", started) >= UNSENT
        return started if long_enough else None
    could = {fuso: operation.releases.later(since, campaign.id) for fuso, since in campaign.pode_desde.items()}
    ready = [
        since
        for fuso, since in could.items()
        if operation.open_for(fuso, since) >= UNSENT and _was_open(operation, fuso, QUIET_START)
    ]
    if not ready or not operation.has_budget(TipoMensagem.PROSPECCAO):
        return None
    return None if is_explained(operation, TipoMensagem.PROSPECCAO, sent) else min(ready)
