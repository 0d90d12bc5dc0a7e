"""What the planner plans with, read from the fleet, the settings and the running campaigns."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from chips import fleet, selection
from chips.choices import TipoMensagem
from chips.selection import ChipFacts, Refusal
from core.clock import BRASILIA
from core.database import rows
from fila import policy
from fila.campanhas.planning import Capacity, ChipBudget
from guardrails import hours
from guardrails.choices import Kind
from guardrails.hours import Interval, NeverOpens

# A chip with one of these will not carry a campaign unless a person changes something; the others pass by themselves.
_LASTING = frozenset(
    {
        Refusal.STATUS,
        Refusal.TIPO,
        Refusal.BLOQUEIO_MANUAL,
        Refusal.PERMISSAO,
        Refusal.TRUST,
        Refusal.SEM_SEGREDO,
        Refusal.EXCLUIDO,
    }
)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Everything a plan depends on besides the audience. `desconectados`: chips of the plan without connection now."""

    capacity: Capacity
    rules: policy.Rules
    desconectados: int

    def windows(self, fusos: Collection[str], now: datetime) -> Iterator[Interval]:
        """Hours in which every zone of the audience is open; Brasília's where they never meet.

        The guardrails hold each row back to its own zone's hours anyway, so the fallback only dates the plan.
        """
        zones = [ZoneInfo(fuso) for fuso in fusos] or [BRASILIA]
        window, holidays = self.rules.policy.window, self.rules.policy.holidays
        try:
            next(hours.common_intervals(window, holidays, now, zones))
        except NeverOpens:
            zones = [BRASILIA]
        return hours.common_intervals(window, holidays, now, zones)


def read(*, campanha_id: int | None, chips_excluidos: Collection[UUID], now: datetime) -> Circumstances:
    """As things are at `now`. Usage of the current hour is left out: it is over before most of the plan."""
    rules = policy.read()
    chips = _eligible(fleet.load(), chips_excluidos, now)
    peso = rules.policy.weight_of(Kind.CAMPANHA)
    capacity = Capacity(
        chips=tuple(_budget(chip, rules, peso) for chip in chips),
        global_hora=_messages(rules.global_hour, peso),
        global_dia=_messages(rules.global_day, peso),
        global_hoje=_messages(rules.global_day, peso, used=_global_weight_today(now)),
        reservadas=_reserved_by_others(campanha_id, now),
    )
    return Circumstances(capacity, rules, sum(not chip.conectado for chip in chips))


def _eligible(chips: Collection[ChipFacts], excluded: Collection[UUID], now: datetime) -> list[ChipFacts]:
    """Reduced trust counts only where no chip has the normal one, as when a chip is chosen."""
    for trust in (selection.NORMAL_TRUST, selection.EMERGENCY_TRUST):
        least = trust[TipoMensagem.PROSPECCAO]
        found = [chip for chip in chips if not _LASTING & _refusals(chip, least, excluded, now)]
        if found:
            return found
    return []


def _refusals(chip: ChipFacts, trust_min: int, excluded: Collection[UUID], now: datetime) -> set[Refusal]:
    return set(
        selection.refusals(chip, TipoMensagem.PROSPECCAO, peso=0, now=now, trust_min=trust_min, excluded=excluded)
    )


def _budget(chip: ChipFacts, rules: policy.Rules, peso: int) -> ChipBudget:
    least = max(rules.pacing.min_s, float(chip.delay_minimo_segundos))
    return ChipBudget.of(
        limite_dia=chip.limite_dia,
        peso_dia=chip.peso_dia,
        limite_hora=chip.limite_hora,
        pausa_s=(least + max(least, rules.pacing.max_s)) / 2,
        peso=peso,
    )


def _messages(limit: int | None, peso: int, *, used: int = 0) -> int | None:
    return None if limit is None else max(0, limit - used) // peso


def _global_weight_today(now: datetime) -> int:
    found = rows(
        """SELECT coalesce(sum(peso), 0)::int AS peso FROM limites_minutos
           WHERE escopo = 'global' AND minuto >= date_trunc('day', %(now)s AT TIME ZONE 'America/Sao_Paulo')
               AT TIME ZONE 'America/Sao_Paulo'""",
        {"now": now},
    )
    return int(found[0]["peso"])


def _reserved_by_others(campanha_id: int | None, now: datetime) -> dict[date, int]:
    """Rows already planned by other running campaigns, by local day: one range of fila_due_of_campanha each."""
    found = rows(
        """SELECT (greatest(f.agendar_para, %(now)s) AT TIME ZONE 'America/Sao_Paulo')::date AS dia, count(*) AS n
           FROM campanhas k JOIN fila_mensagens f ON f.campanha_id = k.id
           WHERE k.status = 'ativa' AND k.id <> %(campanha)s AND f.status = 'pendente'
           GROUP BY 1""",
        {"now": now, "campanha": campanha_id or 0},
    )
    return {row["dia"]: row["n"] for row in found}
