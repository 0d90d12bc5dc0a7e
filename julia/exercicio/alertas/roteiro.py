"""What goes wrong, or nearly wrong, and when: each occurrence is a small script over the world, at a seeded moment."""

import random
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from core.clock import BRASILIA
from julia.exercicio.alertas.mundo import HOLIDAYS

if TYPE_CHECKING:
    from julia.exercicio.alertas.mundo import Mundo

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
#: A kind comes again only after the longest rest between two notifications of the same thing.
APART = timedelta(hours=3)
#: Between two occurrences the world comes to rest.
CALM = 25 * MINUTE
MOST_TRIES = 4000
#: Goal of decisions §9: nothing stays unseen for longer.
WORST = 15 * MINUTE


class Quando(Enum):
    """When a kind of occurrence may begin, in Brasília."""

    INICIO = "no início de tudo"
    QUALQUER = "a qualquer hora"
    COMERCIAL = "em horário de envio"
    NOITE = "de madrugada"
    TARDE = "à tarde, do segundo dia em diante"
    FIM_DE_SEMANA = "na sexta à tarde"


@dataclass(frozen=True, slots=True, order=True)
class Sinal:
    """An alert by its kind and key; without a key, whatever it is about."""

    tipo: str
    chave: str | None = None

    def names(self, tipo: str, chave: str) -> bool:
        return self.tipo == tipo and self.chave in (None, chave)


Passos = Generator[timedelta, None, None]
Roteiro = Callable[["Cena"], Passos]


@dataclass(frozen=True, slots=True, kw_only=True)
class Especie:
    """`roteiro` acts, says when the fault begins and ends, and yields how long until its next act.

    `espera`: any of these alerts detects it, within `limite` of its beginning. `consequencias`: what else it may
    rightly cause. Near-misses expect nothing. `dura`: what is kept free for it; `solta`: whether others may overlap it.
    `antes`: how long before it the world is stepped through closely, for what depends on the runs of jobs.
    """

    nome: str
    titulo: str
    roteiro: Roteiro
    falha: bool
    quando: Quando = Quando.QUALQUER
    dura: timedelta = 30 * MINUTE
    espera: tuple[Sinal, ...] = ()
    consequencias: tuple[str, ...] = ()
    limite: timedelta = WORST
    solta: bool = False
    antes: timedelta = 3 * MINUTE


@dataclass(slots=True)
class Cena:
    """One occurrence. `comecou` and `acabou` are instants of the world; `espera` grows with what its script broke."""

    especie: Especie
    numero: int
    marcada: datetime
    rng: random.Random
    mundo: "Mundo" = field(repr=False, default=None)  # type: ignore[assignment]
    inicio: datetime | None = None
    fim: datetime | None = None
    espera: list[Sinal] = field(default_factory=list)

    def comecou(self) -> None:
        self.inicio = self.mundo.agora

    def acabou(self) -> None:
        self.fim = self.mundo.agora

    def expect(self, tipo: str, chave: str | None = None) -> None:
        self.espera.append(Sinal(tipo, chave))

    @property
    def sinais(self) -> tuple[Sinal, ...]:
        return (*self.especie.espera, *self.espera)


_especies: dict[str, Especie] = {}


def falha(nome: str, titulo: str, **values: object) -> Callable[[Roteiro], Roteiro]:
    return _register(nome, titulo, is_fault=True, values=values)


def quase(nome: str, titulo: str, **values: object) -> Callable[[Roteiro], Roteiro]:
    return _register(nome, titulo, is_fault=False, values=values)


def _register(nome: str, titulo: str, *, is_fault: bool, values: dict[str, object]) -> Callable[[Roteiro], Roteiro]:
    def register(roteiro: Roteiro) -> Roteiro:
        if nome in _especies:
            raise ValueError(f"{nome} registrado duas vezes")
        _especies[nome] = Especie(nome=nome, titulo=titulo, roteiro=roteiro, falha=is_fault, **values)  # type: ignore[arg-type]
        return roteiro

    return register


def especies() -> dict[str, Especie]:
    """By name, in the order in which they were written."""
    import julia.exercicio.alertas.falhas
    import julia.exercicio.alertas.falhas_de_envio
    import julia.exercicio.alertas.quase  # noqa: F401 (importing them registers them)

    return _especies


def is_open(instant: datetime) -> bool:
    """Whether it is a working day's sending hour, with room at both ends."""
    local = instant.astimezone(BRASILIA)
    working = local.isoweekday() <= 5 and local.date().isoformat() not in HOLIDAYS
    return working and time(8, 45) <= local.time() <= time(17, 30)


def fits(quando: Quando, instant: datetime) -> bool:
    local = instant.astimezone(BRASILIA)
    match quando:
        case Quando.COMERCIAL:
            return is_open(instant)
        case Quando.NOITE:
            return time(0, 30) <= local.time() <= time(5, 30)
        case Quando.TARDE:
            return time(14, 0) <= local.time() <= time(20, 0)
        case Quando.FIM_DE_SEMANA:
            return local.isoweekday() == 5 and time(16, 0) <= local.time() <= time(17, 30) and is_open(instant)
    return True


def places(wanted: Collection[Especie], *, start: datetime, end: datetime, rng: random.Random) -> list[Cena]:
    """A moment for each, drawn until it disturbs no other. Raises RuntimeError when the days are too few."""
    found: list[Cena] = []
    taken: list[tuple[datetime, datetime]] = []
    of_kind: dict[str, list[datetime]] = {}
    order = sorted(wanted, key=lambda each: (each.quando is not Quando.INICIO, -each.dura, each.nome))
    for numero, especie in enumerate(order):
        seed = rng.random()
        instant = _draw(especie, start, end, taken, of_kind.setdefault(especie.nome, []), rng)
        of_kind[especie.nome].append(instant)
        if not especie.solta and especie.quando is not Quando.INICIO:
            taken.append((instant, instant + especie.dura))
        found.append(Cena(especie, numero, instant, random.Random(seed)))
    return sorted(found, key=lambda cena: (cena.marcada, cena.numero))


def _draw(
    especie: Especie,
    start: datetime,
    end: datetime,
    taken: list[tuple[datetime, datetime]],
    same: list[datetime],
    rng: random.Random,
) -> datetime:
    if especie.quando is Quando.INICIO:
        return start
    first = start + (24 * HOUR if especie.quando is Quando.TARDE else 2 * HOUR)
    last = end - especie.dura - HOUR
    for _ in range(MOST_TRIES):
        instant = first + timedelta(seconds=rng.uniform(0, (last - first).total_seconds()))
        if not fits(especie.quando, instant) or any(abs(instant - other) < APART for other in same):
            continue
        until = instant + especie.dura
        if especie.solta or all(until + CALM <= begin or instant >= stop + CALM for begin, stop in taken):
            return instant
    raise RuntimeError(f"não há lugar para {especie.nome} em {(end - start).days} dias")


def day_of(instant: datetime) -> date:
    return instant.astimezone(BRASILIA).date()
