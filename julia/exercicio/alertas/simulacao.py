"""The month itself. Alerts are looked for every 30 s around whatever happens, and less often where nothing does.

Between two looks nothing is lost: messages that fall due leave every two minutes, all else happens at its instant.
"""

import bisect
import heapq
import itertools
import random
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from core.alerts.rules import rule_of
from core.alerts.watch import LEASE_FOR
from core.clock import BRASILIA
from julia.exercicio.alertas import juiz, roteiro, trafego, vigia
from julia.exercicio.alertas.juiz import Ocorrido, Veredito
from julia.exercicio.alertas.mundo import Mundo
from julia.exercicio.alertas.roteiro import Cena, Especie, Quando
from julia.exercicio.alertas.vigia import Vigia
from julia.exercicio.bancada import Bancada

#: The Wednesday before Easter, seven in the morning: weekends, Good Friday, Tiradentes and a working week follow.
START = datetime(2026, 4, 1, 7, 0, tzinfo=BRASILIA)
#: As in operation: around acts, in a fault's first minutes, and while an alert is about to open or to end.
FINE = timedelta(seconds=30)
#: While a fault goes on that nobody was told of.
UNSEEN = timedelta(minutes=1)
#: While something goes on that has been told of, or an alert has opened lately.
WATCHFUL = timedelta(minutes=3)
LATELY = timedelta(minutes=30)
#: Otherwise, while Julia may send, and while she may not. No fact changes between two looks: see `_drift`.
BY_DAY, BY_NIGHT = timedelta(minutes=30), timedelta(minutes=60)
#: The fine steps begin so long before an act, and last so long after it.
BEFORE, AFTER = timedelta(minutes=1), timedelta(minutes=2)
#: A fault that nobody was told of is looked for so long: finely at first.
FIRST_MINUTES, LONGEST_WATCH = timedelta(minutes=5), timedelta(minutes=20)
#: Who evaluates comes so long after the world's own step: what goes to another chip at once has gone there by then.
A_MOMENT = timedelta(seconds=4)
#: How often the worker's looks are played between two evaluations, while there is something to send.
SENDING = timedelta(minutes=2)

#: Faults whose kind comes more than once, in this order, until the number asked for is reached.
AGAIN = (
    "worker_morto", "scheduler_morto", "rajada_de_erros", "chip_desconectado", "provedor_fora", "credenciais_recusadas",
    "job_critico_parado", "api_morta", "cluster_travado", "chip_restrito", "worker_morto", "taxa_de_erro",
    "fila_parada", "processo_cai_sempre", "campanha_sem_envio", "job_de_15_min_parado",
)  # fmt: skip
AGAIN_QUASE = (
    "worker_reinicia", "uma_verificacao_falha", "nove_por_cento", "job_atrasa_pouco", "scheduler_reinicia",
    "chips_reconectam", "vencidas_por_9_min", "worker_some_e_volta", "api_reinicia", "poucas_falhas_definitivas",
    "quatro_recusas", "dois_erros_de_tres", "job_falha_uma_vez", "incertas_recentes", "job_de_15_min_atrasa",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tamanho:
    """What is simulated. Fewer `dias` than a week leave the large campaign and everything that lasts for days out."""

    semente: int = 1
    dias: int = 30
    falhas: int = 40
    reinicios: int = 50

    @property
    def is_small(self) -> bool:
        return self.dias < 7

    @property
    def mensagens(self) -> int:
        return 0 if self.is_small else trafego.LARGE


@dataclass(slots=True)
class Medida:
    """What came of it."""

    veredito: Veredito
    enviadas: int = 0
    execucoes: int = 0
    turnos: int = 0
    reinicios: int = 0
    ao_mesmo_tempo: int = 0
    regras_quebradas: tuple[str, ...] = ()
    observacoes: list[str] = field(default_factory=list)


class Simulacao:
    def __init__(self, bancada: Bancada, tamanho: Tamanho) -> None:
        self.tamanho = tamanho
        self.rng = random.Random(f"alertas:{tamanho.semente}")
        self.end = START + timedelta(days=tamanho.dias)
        self.mundo = Mundo(bancada, random.Random(self.rng.random()), START)
        self.vigia = Vigia(random.Random(self.rng.random()))
        self.observacoes: list[str] = []
        self.cenas: list[Cena] = []
        self._order = itertools.count()
        self._scripts: list[Generator[timedelta, None, None]] = []
        self._acts: list[tuple[datetime, int, Callable[[], None]]] = []
        self._fine_until = START + timedelta(minutes=30)
        self._watchful_until = START
        self._fine_from: list[tuple[datetime, datetime]] = []
        self._watchful_from: list[tuple[datetime, datetime]] = []
        self._running: dict[int, Cena] = {}
        self._told_at = START
        self._mood = vigia.Mood()

    def run(self) -> Medida:
        self._prepare()
        with ExitStack() as stack:
            stack.enter_context(self.mundo.agenda.installed())
            stack.enter_context(self.mundo.sessoes.asked())
            now = START
            while now < self.end:
                now = self._step(now)
            for script in self._scripts:
                script.close()
            for cena in self.cenas:
                cena.fim = cena.fim or now
        return self._measured()

    # -- before ---------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self.mundo.at(START)
        self.mundo.furnish(200 if self.tamanho.is_small else trafego.LARGE + 4000)
        first = self.rng.choice(("api", "scheduler", "worker"))
        self.mundo.papeis[first].start()
        wanted = chosen(self.tamanho, first=first, rng=self.rng)
        self.cenas = roteiro.places(wanted, start=START, end=self.end, rng=self.rng)
        for cena in self.cenas:
            cena.mundo = self.mundo
            self._push(cena.marcada, self._player(cena), fine=True)
            bisect.insort(self._watchful_from, (cena.marcada - cena.especie.antes, cena.marcada))
        for act in trafego.month(START, self.end, self.rng, large=self.tamanho.mensagens):
            self._push(act.em, lambda faz=act.faz: faz(self.mundo), fine=act.fino)  # type: ignore[misc]
        for instant in self._restarts():
            self._push(instant, self.vigia.restart_soon)

    def _restarts(self) -> Iterator[datetime]:
        """Half of them while a fault is being noticed, the others anywhere."""
        faults = [cena for cena in self.cenas if cena.especie.falha]
        for number in range(self.tamanho.reinicios):
            if number % 2 and faults:
                yield self.rng.choice(faults).marcada + timedelta(seconds=self.rng.uniform(0, 900))
            else:
                yield START + (self.end - START) * self.rng.random()

    # -- time -----------------------------------------------------------------------------------------------------

    def _step(self, now: datetime) -> datetime:
        """To the next look, or to the next act before it."""
        look = self._next_look(now)
        act = max(self._acts[0][0], now) if self._acts else self.end
        instant = min(look, act, self.end)
        self._drift(now, instant)
        self.mundo.at(instant)
        while self._acts and self._acts[0][0] <= instant:
            heapq.heappop(self._acts)[2]()
        if instant < look:
            return instant
        self.mundo.live()
        instant += A_MOMENT
        self.mundo.at(instant)
        self.mundo.look_again()
        self._evaluate(instant)
        return instant

    def _next_look(self, now: datetime) -> datetime:
        """By the step of now, and not later than a time of closer looks begins."""
        look = _next(now, self._span(now))
        begins = [closer[0][0] for closer in (self._fine_from, self._watchful_from) if closer]
        return min([look, *(_next(at, FINE) for at in begins if at > now)])

    def _drift(self, now: datetime, until: datetime) -> None:
        """What falls due on the way leaves on the way, every two minutes."""
        while (due := self.mundo.next_due()) is not None:
            now = max(due, now + SENDING)
            if now + SENDING > until:
                return
            self.mundo.at(now)
            self.mundo.send()

    def _evaluate(self, instant: datetime) -> None:
        if self.vigia.turn():
            if self.vigia.newest.notified:
                self._told_at = instant
            self._mood = vigia.mood()

    def _span(self, now: datetime) -> timedelta:
        while self._fine_from and self._fine_from[0][0] <= now:
            self._fine_until = max(self._fine_until, self._fine_from.pop(0)[1])
        while self._watchful_from and self._watchful_from[0][0] <= now:
            self._watchful_until = max(self._watchful_until, self._watchful_from.pop(0)[1])
        if now < self._fine_until or self._mood.restless or self._is_unseen(now, FIRST_MINUTES):
            return FINE
        if self._is_unseen(now, LONGEST_WATCH):
            return UNSEEN
        lately = self._mood.open and now < self._told_at + LATELY
        if self._running or lately or now < self._watchful_until:
            return WATCHFUL
        return BY_DAY if roteiro.is_open(now) else BY_NIGHT

    def _is_unseen(self, now: datetime, within: timedelta) -> bool:
        """Whether a fault began within so long, goes on, and nobody was told of it yet."""
        begun = [cena.inicio for cena in self._running.values() if cena.especie.falha and cena.fim is None]
        return any(inicio is not None and self._told_at < inicio and now < inicio + within for inicio in begun)

    def _push(self, instant: datetime, act: Callable[[], None], *, fine: bool = False) -> None:
        heapq.heappush(self._acts, (instant, next(self._order), act))
        if fine:
            bisect.insort(self._fine_from, (instant - BEFORE, instant + AFTER))

    def _player(self, cena: Cena) -> Callable[[], None]:
        """Plays the next act of the scene, and arranges for the one after."""
        script = cena.especie.roteiro(cena)
        self._scripts.append(script)

        def play() -> None:
            wait = next(script, None)
            self._fine_until = max(self._fine_until, self.mundo.agora + AFTER)
            if wait is None:
                self._running.pop(cena.numero, None)
                return
            if not cena.especie.solta or (cena.inicio is not None and cena.especie.falha):
                self._running[cena.numero] = cena
            self._push(self.mundo.agora + wait, play)

        return play

    # -- after ----------------------------------------------------------------------------------------------------

    def _measured(self) -> Medida:
        told = vigia.said()
        faults = [self._happened(cena) for cena in self.cenas if cena.especie.falha and cena.inicio]
        near = [self._happened(cena) for cena in self.cenas if not cena.especie.falha and cena.inicio]
        never = [cena.especie.nome for cena in self.cenas if cena.inicio is None]
        if never:
            self.observacoes.append(f"não chegaram a acontecer: {', '.join(sorted(never))}")
        rests = {one.tipo: rule_of(one.tipo).descanso for one in told}
        return Medida(
            juiz.judge(faults, near, told, rests=rests),
            enviadas=len(self.mundo.correio.enviadas),
            execucoes=self.mundo.agenda.runs,
            turnos=self.vigia.turnos,
            reinicios=self.vigia.reinicios,
            ao_mesmo_tempo=self.vigia.ao_mesmo_tempo,
            regras_quebradas=tuple(sorted(self.vigia.quebras)),
            observacoes=self.observacoes,
        )

    def _happened(self, cena: Cena) -> Ocorrido:
        if cena.inicio is None or cena.fim is None:
            raise ValueError(f"{cena.especie.nome} não aconteceu")
        return Ocorrido(
            nome=cena.especie.nome,
            titulo=cena.especie.titulo,
            desde=cena.marcada,
            inicio=cena.inicio,
            fim=cena.fim,
            limite=self._limit(cena, cena.inicio),
            sinais=cena.sinais,
            consequencias=cena.especie.consequencias,
        )

    def _limit(self, cena: Cena, inicio: datetime) -> timedelta:
        """Where who evaluates was killed meanwhile, its lease has to run out first: that is a second fault."""
        limite = cena.especie.limite
        killed = any(inicio - LEASE_FOR <= at <= inicio + limite for at in self.vigia.mortes)
        return limite + LEASE_FOR if killed else limite


def chosen(tamanho: Tamanho, *, first: str, rng: random.Random) -> list[Especie]:
    """As many faults as asked for, and as many near-misses: every kind once, then the common ones again."""
    known = roteiro.especies()
    fit = [each for each in known.values() if each.nome != f"{first}_nunca_subiu" and _has_room(each, tamanho)]
    return [
        *_filled([each for each in fit if each.falha], AGAIN, tamanho, rng),
        *_filled([each for each in fit if not each.falha], AGAIN_QUASE, tamanho, rng),
    ]


def _has_room(especie: Especie, tamanho: Tamanho) -> bool:
    longest = timedelta(hours=4) if tamanho.is_small else timedelta(days=tamanho.dias)
    return especie.dura <= longest and not (tamanho.is_small and especie.quando is Quando.FIM_DE_SEMANA)


def _filled(kinds: list[Especie], again: Collection[str], tamanho: Tamanho, rng: random.Random) -> list[Especie]:
    if len(kinds) > tamanho.falhas:
        begins = [each for each in kinds if each.quando is Quando.INICIO]
        others = [each for each in kinds if each.quando is not Quando.INICIO]
        return [*begins, *rng.sample(others, max(tamanho.falhas - len(begins), 0))][: tamanho.falhas]
    by_name = {each.nome: each for each in kinds}
    more = itertools.cycle([by_name[nome] for nome in again if nome in by_name])
    return [*kinds, *itertools.islice(more, tamanho.falhas - len(kinds))]


def _next(now: datetime, span: timedelta) -> datetime:
    """The next point of the grid of `span`: who evaluates does not know when a fault begins."""
    gone = (now - START) % span
    return now + (span - gone)
