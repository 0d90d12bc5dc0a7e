"""Judges the month: which fault was told of and when, which alert belongs to nothing, what was said twice. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from core.alerts.models import Severidade
from core.alerts.transitions import GRAVITY
from julia.exercicio.alertas.roteiro import Sinal

#: What follows a fault may be told of for so long after its end: hysteresis, retries, the next check of a */5 job.
AFTERMATH = timedelta(minutes=45)
MEDIAN_S, WORST_S = 180.0, 900.0
FALSE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Notificacao:
    """One announcement of one alert in the outbox. `em`: when it was put there."""

    alerta: str
    tipo: str
    chave: str
    severidade: str
    em: datetime


@dataclass(frozen=True, slots=True)
class Ocorrido:
    """A fault or a near-miss as it happened. `sinais` detect it, `consequencias` are kinds it may cause besides.

    `desde`: when something was done to bring it about, which may be before it is a fault (`inicio`).
    """

    nome: str
    titulo: str
    desde: datetime
    inicio: datetime
    fim: datetime
    limite: timedelta
    sinais: tuple[Sinal, ...] = ()
    consequencias: tuple[str, ...] = ()

    def causes(self, told: Notificacao) -> bool:
        """Whether the alert is this one's: detection or consequence, within its time."""
        if not self.desde <= told.em <= self.fim + AFTERMATH:
            return False
        return self.detects(told) or told.tipo in self.consequencias

    def detects(self, told: Notificacao) -> bool:
        return any(sinal.names(told.tipo, told.chave) for sinal in self.sinais)


@dataclass(frozen=True, slots=True)
class Julgada:
    """One fault and what told of it. `detectado_s` None: nobody was told."""

    falha: Ocorrido
    detectado_s: float | None
    alerta: str

    @property
    def in_time(self) -> bool:
        return self.detectado_s is not None and self.detectado_s < self.falha.limite.total_seconds()


@dataclass(frozen=True, slots=True)
class Veredito:
    falhas: tuple[Julgada, ...]
    quase: tuple[tuple[Ocorrido, tuple[Notificacao, ...]], ...]
    alertas: int
    falsos: tuple[Notificacao, ...]
    duplicados: int

    @property
    def detectadas(self) -> int:
        return sum(one.in_time for one in self.falhas)

    @property
    def seconds(self) -> list[float]:
        return sorted(one.detectado_s for one in self.falhas if one.detectado_s is not None)

    @property
    def mediana_s(self) -> float | None:
        return median(self.seconds) if self.seconds else None

    @property
    def pior_s(self) -> float | None:
        return max(self.seconds, default=None)

    @property
    def metas(self) -> Mapping[str, bool]:
        """The goals, by name."""
        return {
            "todas_detectadas": bool(self.falhas) and self.detectadas == len(self.falhas),
            "mediana_abaixo_de_3_min": self.mediana_s is not None and self.mediana_s < MEDIAN_S,
            "pior_abaixo_de_15_min": self.pior_s is not None and self.pior_s < WORST_S,
            "falsos_abaixo_de_5_por_cento": len(self.falsos) < FALSE_SHARE * max(self.alertas, 1),
            "nada_dito_duas_vezes": self.duplicados == 0,
        }


def judge(
    faults: Sequence[Ocorrido],
    near_misses: Sequence[Ocorrido],
    told: Sequence[Notificacao],
    *,
    rests: Mapping[str, timedelta],
) -> Veredito:
    """`told`: announcements in their order. `rests`: by kind, how soon nothing may be announced again of one key."""
    strangers = [one for one in told if not any(fault.causes(one) for fault in faults)]
    return Veredito(
        falhas=tuple(_judged(fault, told) for fault in faults),
        quase=tuple(
            (each, tuple(one for one in strangers if each.inicio <= one.em <= each.fim + AFTERMATH))
            for each in near_misses
        ),
        alertas=len(told),
        falsos=tuple(strangers),
        duplicados=_repeated(told, rests),
    )


def _judged(fault: Ocorrido, told: Sequence[Notificacao]) -> Julgada:
    until = fault.fim + AFTERMATH
    first = next((one for one in told if fault.inicio <= one.em <= until and fault.detects(one)), None)
    if first is None:
        return Julgada(fault, None, "")
    seconds = (first.em - fault.inicio).total_seconds()
    return Julgada(fault, seconds, f"{first.tipo} {first.chave}".strip())


def _repeated(told: Sequence[Notificacao], rests: Mapping[str, timedelta]) -> int:
    """Announcements of an alert that was announced before, or of the same thing, no graver, within its rest."""
    alerts: set[str] = set()
    newest: dict[tuple[str, str], Notificacao] = {}
    repeated = 0
    for one in sorted(told, key=lambda each: each.em):
        before = newest.get((one.tipo, one.chave))
        again = (
            before is not None
            and one.em - before.em < rests.get(one.tipo, timedelta())
            and GRAVITY[Severidade(one.severidade)] <= GRAVITY[Severidade(before.severidade)]
        )
        repeated += one.alerta in alerts or again
        alerts.add(one.alerta)
        newest[one.tipo, one.chave] = one
    return repeated
