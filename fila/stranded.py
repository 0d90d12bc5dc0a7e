"""Due messages that no chip can carry for a while: they wait without penalty, with the reason on each row."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chips.choices import CARRIED, TipoMensagem
from chips.selection import MOMENTARY, ChipFacts, Refusal, Shortlist
from core.alerts.models import Severidade
from core.alerts.services import raise_alert, resolve
from core.circuits.names import of_provider
from core.database import execute
from core.outcomes import SendOutcome
from fila.kinds import CANARIO, PROSPECTING_TIPOS, REPLY_TIPOS, tipos_of
from guardrails.choices import Kind

LONGEST, SHORTEST = timedelta(seconds=300), timedelta(seconds=15)  # 300 s: fila reference §1.5
AT_ONCE = 5000
FLEET_ILL = "frota_doente"

# Reasons that pass by themselves or by healing; a chip with any other could not carry the message anyway.
_PASSING = MOMENTARY | {
    Refusal.CIRCUITO, Refusal.FROTA_DOENTE, Refusal.COOLDOWN, Refusal.DESCONECTADO,
    Refusal.LIMITE_HORA, Refusal.LIMITE_DIA,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a type waits, and until when at the latest it should look again."""

    outcome: SendOutcome
    motivo: str
    until: datetime


def reason_of(short: Shortlist, fleet: Mapping[Any, ChipFacts], now: datetime) -> Reason | None:
    """None while somebody can carry the type, now or in a moment.

    A provider's open circuit is named first, then a chip's, then a fleet that is mostly ill, then limits and rests.
    """
    if short.eligible or short.only_busy:
        return None
    hopeful = {chip: set(why) for chip, why in short.refused.items() if set(why) <= _PASSING}
    until = min([_free_at(fleet[chip], why, now) for chip, why in hopeful.items()], default=now + LONGEST)
    barred = [name for chip, why in hopeful.items() if Refusal.CIRCUITO in why for name in fleet[chip].barreiras]
    providers = sorted({of_provider(fleet[chip].provider) for chip in hopeful} & set(barred))
    if providers:
        return Reason(SendOutcome.FAILED_CIRCUIT_OPEN, f"{providers[0]}_circuit_open:queued_for_retry", until)
    if barred:
        return Reason(SendOutcome.FAILED_CIRCUIT_OPEN, "circuit_open:chip", until)
    reasons = {reason for why in hopeful.values() for reason in why}
    for reason, motivo in _NO_CAPACITY.items():
        if reason in reasons:
            return Reason(SendOutcome.FAILED_NO_CAPACITY, f"no_capacity:{motivo}", until)
    return Reason(SendOutcome.FAILED_NO_CAPACITY, "no_capacity:sem_chip", until)


_NO_CAPACITY = {
    Refusal.FROTA_DOENTE: FLEET_ILL,
    Refusal.LIMITE_HORA: "chips_no_limite",
    Refusal.LIMITE_DIA: "chips_no_limite",
    Refusal.COOLDOWN: "chips_em_descanso",
    Refusal.DESCONECTADO: "chips_desconectados",
}


def _free_at(chip: ChipFacts, why: set[Refusal], now: datetime) -> datetime:
    """When a chip that only rests is back; everything else is asked again within `LONGEST`."""
    if not why <= MOMENTARY | {Refusal.COOLDOWN}:
        return now + LONGEST
    ends = [at for at in (chip.cooldown_until, chip.connection_cooldown_until) if at is not None]
    return min(max([now + SHORTEST, *ends]), now + LONGEST)


_TIPOS = {
    TipoMensagem.PROSPECCAO: [Kind.CAMPANHA.value, *PROSPECTING_TIPOS],
    TipoMensagem.RESPOSTA: REPLY_TIPOS,
}
_FOLLOWING_IS_NOT = sorted({CANARIO, *REPLY_TIPOS, *_TIPOS[TipoMensagem.PROSPECCAO]})
# A range of fila_oldest_due; only rows that this reason keeps: those of campaigns that run, of kinds no switch holds.
_POSTPONE = """
UPDATE fila_mensagens m SET agendar_para = e.ate, expira_em = greatest(m.expira_em, e.ate + interval '24 hours'),
    reagendamentos = m.reagendamentos + 1, outcome = %(outcome)s, outcome_reason_code = %(motivo)s,
    outcome_at = agora()
FROM (SELECT p.id, %(ate)s + (row_number() OVER (ORDER BY p.prioridade DESC, p.agendar_para, p.id)) * %(passo)s AS ate
      FROM (SELECT f.id, f.prioridade, f.agendar_para FROM fila_mensagens f
            LEFT JOIN campanhas k ON k.id = f.campanha_id
            WHERE f.status = 'pendente' AND f.agendar_para <= agora() AND f.tentativa_aberta_id IS NULL
                AND (f.campanha_id IS NULL OR k.status = 'ativa')
                AND (f.tipo = ANY(%(tipos)s)) = %(listados)s AND NOT f.tipo = ANY(%(retidos)s)
            ORDER BY f.id LIMIT %(limit)s FOR UPDATE OF f SKIP LOCKED) p) e
WHERE m.id = e.id AND m.status = 'pendente'
"""


def postpone(
    shortlists: Mapping[str, Shortlist],
    fleet: Sequence[ChipFacts],
    held: frozenset[Kind],
    now: datetime,
    rng: random.Random,
) -> int:
    """Move the due rows of every type that nobody can carry, set-based; returns how many rows moved.

    Their order is kept, they come back spread over a few seconds, and their expiry moves with them: waiting for
    capacity is not the message's fault. Locks messages only.
    """
    by_id = {chip.id: chip for chip in fleet}
    moved = 0
    for tipo in CARRIED:
        short = shortlists[tipo]
        reason = reason_of(short, by_id, now)
        if reason is None:
            continue
        listed = _TIPOS.get(tipo)
        moved += execute(
            _POSTPONE,
            {
                "outcome": reason.outcome.value,
                "motivo": reason.motivo,
                "ate": reason.until + timedelta(seconds=rng.uniform(0, 5)),
                "passo": timedelta(milliseconds=1),
                "tipos": listed if listed is not None else _FOLLOWING_IS_NOT,
                "listados": listed is not None,
                "retidos": tipos_of(held),
                "limit": AT_ONCE,
            },
        )
    return moved


def tell_of_illness(*, ill_pct: int, limit_pct: int) -> None:
    """Open the alert that stops what Julia begins while most of the fleet is ill; resolve it when it healed."""
    if ill_pct <= limit_pct:
        resolve(FLEET_ILL)
        return
    raise_alert(
        FLEET_ILL,
        severidade=Severidade.CRITICAL,
        titulo="Quase toda a frota está fora",
        mensagem=f"{ill_pct}% dos chips caíram nas últimas 24 h (limite {limit_pct}%). Campanhas e acompanhamentos "
        "esperam para não sobrecarregar os que restam; respostas continuam. Confira os chips e devolva os bons à "
        "produção.",
        valor=ill_pct,
        limite=limit_pct,
    )
