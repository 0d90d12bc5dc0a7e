"""When a campaign's messages are due: spread over chip budgets, global limits and opening hours. Pure.

What is counted are messages, not weights. A plan is a promise to the operator ("termina na quinta, 16:40") and the due
times of the rows; what really limits a send is decided when it is sent.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Any

from core.clock import BRASILIA
from guardrails.hours import Interval, NeverOpens

MAX_SEGMENTS = 260  # a year of working days; what is left then is drawn out at the same pace
LONGEST = timedelta(days=3650)
WORKDAYS_TO_DAYS = 7 / 5
HOUR_S = 3600.0

WEEKDAYS = ("segunda", "terça", "quarta", "quinta", "sexta", "sábado", "domingo")


class PlanoMotivo(StrEnum):
    """Why a plan cannot say when it ends."""

    NENHUM = ""
    SEM_CHIP = "sem_chip"
    SEM_LIMITE = "sem_limite"
    SEM_JANELA = "sem_janela"


SENTENCES: Mapping[PlanoMotivo, str] = {
    PlanoMotivo.NENHUM: "",
    PlanoMotivo.SEM_CHIP: (
        "Nenhum chip pode enviar campanhas agora: as mensagens esperam na fila até haver um chip ativo com permissão "
        "de prospecção e confiança suficiente."
    ),
    PlanoMotivo.SEM_LIMITE: (
        "Os limites atuais não deixam sair nenhuma mensagem de campanha: as mensagens esperam na fila até os limites "
        "dos chips ou os limites globais aumentarem."
    ),
    PlanoMotivo.SEM_JANELA: (
        "O horário de contato nunca abre: as mensagens esperam na fila. Revise a janela de envio e os feriados."
    ),
}


@dataclass(frozen=True, slots=True)
class ChipBudget:
    """Messages of a campaign that one chip carries: in a full day, today still, and in an hour."""

    por_dia: int
    hoje: int
    por_hora: int

    @classmethod
    def of(cls, *, limite_dia: int, peso_dia: int, limite_hora: int, pausa_s: float, peso: int) -> "ChipBudget":
        """`pausa_s` is the mean pause between two sends; `peso` what one message weighs in the limits."""
        by_pace = int(HOUR_S // pausa_s) if pausa_s > 0 else limite_hora
        return cls(
            por_dia=limite_dia // peso,
            hoje=max(0, limite_dia - peso_dia) // peso,
            por_hora=min(limite_hora // peso, by_pace),
        )


@dataclass(frozen=True, slots=True)
class Capacity:
    """All that carries a campaign. Global limits in messages, None where there is none.

    `reservadas`: messages of other running campaigns by local day (what is overdue stands under today). They go first:
    a new campaign gets what they leave, and what they cannot finish on a day moves to the next.
    """

    chips: tuple[ChipBudget, ...] = ()
    global_hora: int | None = None
    global_dia: int | None = None
    global_hoje: int | None = None
    reservadas: Mapping[date, int] = field(default_factory=dict)

    @property
    def por_hora(self) -> int:
        return _at_most(sum(chip.por_hora for chip in self.chips), self.global_hora)

    @property
    def por_dia(self) -> int:
        return _at_most(sum(chip.por_dia for chip in self.chips), self.global_dia)

    @property
    def hoje(self) -> int:
        return _at_most(sum(chip.hoje for chip in self.chips), self.global_hoje)


def _at_most(value: int, limit: int | None) -> int:
    return value if limit is None else min(value, limit)


@dataclass(frozen=True, slots=True)
class Segment:
    """Recipients `primeira` .. `primeira + quantidade - 1` (places in the audience, from 1), evenly in [inicio, fim).

    Each is due somewhere in its own slot, so that the order stays and no two are due at once; the very first is due
    when the campaign's first hour opens. `enqueue` computes the same in SQL.
    """

    inicio: datetime
    fim: datetime
    primeira: int
    quantidade: int

    def due(self, ordem: int, jitter: float) -> datetime:
        """`jitter` in [0, 1)."""
        share = (ordem - self.primeira + jitter) / self.quantidade
        return self.inicio + (self.fim - self.inicio) * share


@dataclass(frozen=True, slots=True)
class Plan:
    """`termina_em` None: nobody can say. `por_dia` and `por_hora` are the capacity of a full day and hour."""

    segments: tuple[Segment, ...] = ()
    motivo: PlanoMotivo = PlanoMotivo.NENHUM
    chips: int = 0
    por_dia: int = 0
    por_hora: int = 0

    @property
    def sem_capacidade(self) -> bool:
        return self.motivo is not PlanoMotivo.NENHUM

    @property
    def termina_em(self) -> datetime | None:
        return self.segments[-1].fim if self.segments and not self.sem_capacidade else None

    @property
    def dias(self) -> list[tuple[date, int]]:
        """How many on each local day of Brasília, days without any left out."""
        by_day = groupby(self.segments, key=lambda segment: _local_day(segment.inicio))
        return [(day, sum(segment.quantidade for segment in segments)) for day, segments in by_day]

    def as_json(self) -> dict[str, Any]:
        return {
            "segmentos": [
                {
                    "inicio": segment.inicio.isoformat(),
                    "fim": segment.fim.isoformat(),
                    "primeira": segment.primeira,
                    "quantidade": segment.quantidade,
                }
                for segment in self.segments
            ],
            "dias": [{"dia": day.isoformat(), "quantidade": count} for day, count in self.dias],
            "sem_capacidade": self.sem_capacidade,
            "motivo": self.motivo.value,
            "termina_em": self.termina_em.isoformat() if self.termina_em else None,
            "chips": self.chips,
            "por_dia": self.por_dia,
            "por_hora": self.por_hora,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """The plan that `as_json` wrote into `campanhas.plano`."""
        return cls(
            segments=tuple(
                Segment(
                    inicio=datetime.fromisoformat(segment["inicio"]),
                    fim=datetime.fromisoformat(segment["fim"]),
                    primeira=segment["primeira"],
                    quantidade=segment["quantidade"],
                )
                for segment in data["segmentos"]
            ),
            motivo=PlanoMotivo(data["motivo"]),
            chips=data["chips"],
            por_dia=data["por_dia"],
            por_hora=data["por_hora"],
        )


def plan(count: int, capacity: Capacity, windows: Iterable[Interval], *, now: datetime, first: int = 1) -> Plan:
    """Due times for recipients `first` .. `first + count - 1`.

    `windows` are the hours in which everybody of the audience may be written to, from `now` on, in order, endless or
    raising NeverOpens. Without capacity, or without hours, the messages are due at the first chance and wait there.
    """
    pace = Plan(chips=len(capacity.chips), por_dia=capacity.por_dia, por_hora=capacity.por_hora)
    openings = iter(windows)
    try:
        opening = next(openings)
    except (NeverOpens, StopIteration):
        wait = Segment(now, now + timedelta(hours=1), first, count)
        return replace(pace, segments=(wait,) if count else (), motivo=PlanoMotivo.SEM_JANELA)
    if not count:
        return pace
    if not capacity.por_hora or not capacity.por_dia:
        motivo = PlanoMotivo.SEM_LIMITE if capacity.chips else PlanoMotivo.SEM_CHIP
        return replace(pace, segments=(Segment(*opening, first, count),), motivo=motivo)
    segments = _spread(count, capacity, _chain(opening, openings), now=now, first=first)
    return replace(pace, segments=tuple(segments))


def _chain(head: Interval, rest: Iterator[Interval]) -> Iterator[Interval]:
    yield head
    try:
        yield from rest
    except NeverOpens:
        return


def _spread(
    count: int, capacity: Capacity, openings: Iterator[Interval], *, now: datetime, first: int
) -> Iterator[Segment]:
    days = _Days(capacity, _local_day(now))
    left, place, end, segments = count, first, now, 0
    for begin, close in openings:
        if segments == MAX_SEGMENTS:
            end = begin
            break
        seconds = (close - begin).total_seconds()
        taken = days.take(_local_day(begin), int(capacity.por_hora * seconds / HOUR_S), left)
        if not taken:
            continue
        end = begin + timedelta(seconds=taken * HOUR_S / capacity.por_hora)
        yield Segment(begin, end, place, taken)
        segments += 1
        place += taken
        left -= taken
        if not left:
            return
    if left:
        days_needed = left / capacity.por_dia * WORKDAYS_TO_DAYS
        yield Segment(end, end + min(timedelta(days=min(days_needed, LONGEST.days)), LONGEST), place, left)


class _Days:
    """What is left of each local day, walked in order: other campaigns' messages first, their remainder carried on."""

    def __init__(self, capacity: Capacity, today: date) -> None:
        self._capacity = capacity
        self._today = today
        self._day: date | None = None
        self._left = 0
        self._owed = 0
        self._reserved = sorted(capacity.reservadas.items(), reverse=True)

    def take(self, day: date, fits: int, wanted: int) -> int:
        """How many of the `wanted` go into an opening whose hourly rate lets `fits` through."""
        if day != self._day:
            self._day = day
            self._left = self._capacity.hoje if day == self._today else self._capacity.por_dia
            while self._reserved and self._reserved[-1][0] <= day:
                self._owed += self._reserved.pop()[1]
        whole = min(fits, self._left)
        others = min(self._owed, whole)
        self._owed -= others
        taken = min(whole - others, wanted)
        self._left -= others + taken
        return taken


def segments_for(segments: Sequence[Segment], first: int, last: int) -> list[Segment]:
    """Those that hold some of the places `first` .. `last`."""
    return [s for s in segments if s.primeira <= last and s.primeira + s.quantidade > first]


def before(segments: Sequence[Segment], place: int) -> tuple[Segment, ...]:
    """The segments of the places before `place`, the one that holds it cut there."""
    kept = []
    for segment in segments_for(segments, 1, place - 1):
        quantity = min(segment.quantidade, place - segment.primeira)
        kept.append(Segment(segment.inicio, segment.due(segment.primeira + quantity, 0.0), segment.primeira, quantity))
    return tuple(kept)


def spoken(instant: datetime | None, now: datetime) -> str:
    """As an operator says it, in Brasília time: "hoje, 16:40", "quinta, 16:40", "quinta, 10/12, 16:40"."""
    if instant is None:
        return "sem previsão"
    local, today = instant.astimezone(BRASILIA), _local_day(now)
    distance = (local.date() - today).days
    clock = f"{local:%H:%M}"
    if distance in (0, 1):
        return f"{('hoje', 'amanhã')[distance]}, {clock}"
    weekday = WEEKDAYS[local.weekday()]
    if 1 < distance < 7:
        return f"{weekday}, {clock}"
    day = f"{local:%d/%m}" if local.year == today.year else f"{local:%d/%m/%Y}"
    return f"{weekday}, {day}, {clock}"


def _local_day(instant: datetime) -> date:
    return instant.astimezone(BRASILIA).date()
