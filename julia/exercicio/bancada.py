"""The workbench of one drill: scratch database, simulator, api, workers, scheduler and clock, all of them real."""

import contextlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import environ
from django.conf import settings
from django.db import connections

from chips.simulator.client import SimulatorProcess
from julia.exercicio import processos
from julia.exercicio.agendador import Agendador
from julia.exercicio.banco import Banco, Scratch
from julia.exercicio.condutor import Condutor
from julia.exercicio.errors import DrillStuck
from julia.exercicio.frota import Frota
from julia.exercicio.processos import Processo, Processos, manage
from julia.exercicio.relogio import START, Relogio
from julia.exercicio.servidor import DrillServer, wait_until_back
from julia.supervisor.roles import Papel, programs

KILL_POLL_S = 0.005
WAIT_POLL_S = 0.1
COMMAND_WITHIN_S = 60.0
WORKER_READY = "Worker de fila iniciado"


@dataclass(slots=True)
class Medidas:
    """What a scenario measured beside the evidence. Seconds are simulated.

    `metas` are the scenario's own invariants; `restritos` names simulator instances and the instant since which they
    are restricted, `opt_outs` canonical telephones and the instant at which their wish was stored.
    """

    metas: dict[str, bool] = field(default_factory=dict)
    observacoes: list[str] = field(default_factory=list)
    deteccao_s: float | None = None
    recuperacao_s: float | None = None
    mortes: int = 0
    mortes_com_chamada: int = 0
    restritos: dict[str, datetime] = field(default_factory=dict)
    opt_outs: dict[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tamanhos:
    """What was asked for on the command line; None leaves a scenario its own size."""

    semente: int = 1
    mensagens: int | None = None
    mortes: int | None = None


class Bancada:
    """Handed to a scenario. What it starts here is gone when the drill is over."""

    def __init__(
        self, *, server: DrillServer, scratch: Scratch, simulador: SimulatorProcess, logs: Path, tamanhos: Tamanhos
    ) -> None:
        self.semente = tamanhos.semente
        self.rng = random.Random(tamanhos.semente)
        self.tamanhos = tamanhos
        self.server = server
        self.scratch = scratch
        self.banco = banco = Banco(scratch.url)
        self.simulador = simulador
        self.relogio = Relogio(banco, simulador)
        self.condutor = Condutor(self)
        self.medidas = Medidas()
        self.processos = Processos(
            processos.environment(
                scratch.url,
                SIMULADOR_NONCE=simulador.nonce,
                EVOLUTION_API_URL=simulador.evolution_url,
                EVOLUTION_API_KEY=simulador.apikey,
                ZAPI_BASE_URL=simulador.zapi_url,
            ),
            logs,
        )
        self.frota = Frota(self)
        self.workers: list[Processo] = []
        self.outages = 0
        self.agenda: Agendador | None = None
        self.api_url = ""
        self.real_time = False
        self._kept_alive = False
        self._starting: list[Callable[[], None]] = []
        self._worker_words: tuple[str, ...] = ()

    # -- processes ------------------------------------------------------------------------------------------------

    def start_api(self) -> None:
        """For webhooks: before chips are made, so that they know where to post. Ready before the first worker is."""
        port = processos.free_port()
        program = next(each for each in programs(Papel.TUDO, host="127.0.0.1", port=port) if each.name == "api")
        api = self.processos.start("api", program.argv, LOG_LEVEL="WARNING")
        self.api_url = f"http://127.0.0.1:{port}"
        self._starting.append(lambda: processos.wait_for_http(api, f"{self.api_url}/health"))

    def start_workers(self, count: int = 1, *, senders: int = 16, keep_alive: bool = False) -> list[Processo]:
        """`manage.py fila_worker`, `count` times, ready to send. `keep_alive`: a dead one is replaced at once."""
        self._worker_words = ("--remetentes", str(senders))
        self._kept_alive = keep_alive
        while self._starting:
            self._starting.pop()()
        new = [self.spawn_worker() for _ in range(count)]
        for worker in new:
            processos.wait_for_text(worker, WORKER_READY)
        return new

    def spawn_worker(self) -> Processo:
        """One more, without waiting until it is ready."""
        words = (*self._worker_words, "--semente", str(self.rng.randrange(1_000_000)))
        worker = self.processos.start("worker", manage("fila_worker", *words))
        self.workers.append(worker)
        return worker

    def start_agenda(self) -> None:
        """From here on the jobs of each simulated minute run."""
        self.agenda = Agendador(self.processos.environment, self.processos.logs / "agenda.log")

    def call(self, argv: Sequence[str]) -> None:
        """One command in the drill's environment, to its end. Raises DrillStuck when it fails."""
        done = self.processos.start("comando", argv)
        code = done.process.wait(COMMAND_WITHIN_S)
        done.morto = True
        if code != 0:
            raise DrillStuck(f"{' '.join(argv[1:])} terminou com {code}: {done.disse[-2000:]}")

    def ticks(self, job: str, instant: datetime, count: int) -> None:
        """Offer one planned instant of a job `count` times to the task clusters."""
        self.call([sys.executable, "-m", "julia.exercicio.tiques", job, instant.isoformat(), str(count)])

    def kill_worker(self, worker: Processo | None = None) -> bool:
        """SIGKILL; whether it had a call open on the wire (its attempt begun and not settled)."""
        victim = worker or self.rng.choice([each for each in self.workers if each.vivo])
        victim.kill()
        open_calls = victim.pid in self.calling()
        self.medidas.mortes += 1
        self.medidas.mortes_com_chamada += open_calls
        return open_calls

    def kill_when_calling(self, *, within_s: float = 30.0) -> Processo:
        """SIGKILL to a worker whose call is on the wire at this moment."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            calling = self.calling()
            victims = [worker for worker in self.workers if worker.vivo and worker.pid in calling]
            if victims:
                self.kill_worker(victims[0])
                return victims[0]
            time.sleep(KILL_POLL_S)
        raise DrillStuck(f"nenhum worker chamou o provedor em {within_s:.0f} s")

    def calling(self) -> set[int]:
        """Pids that hold an open attempt, dead ones included."""
        found = self.banco.rows(
            "SELECT DISTINCT split_part(consumidor, ':', 2) AS pid FROM envios_tentativas WHERE resultado = 'iniciado'"
        )
        return {int(row["pid"]) for row in found if row["pid"].isdigit()}

    def outage(self, seconds: float) -> None:
        """The database is away for real `seconds`, as after a crash; said in the report."""
        self.outages += 1
        self.banco.close()
        connections["default"].close()
        self.note(self.server.outage(self.scratch, seconds))
        wait_until_back(self.banco)

    def keep_alive(self) -> None:
        """Replace workers that the drill killed, where the scenario asked for it."""
        if not self._kept_alive:
            return
        for worker in [each for each in self.workers if not each.vivo and each.morto]:
            self.workers.remove(worker)
            self.spawn_worker()

    @property
    def pids(self) -> set[int]:
        """Of our living processes."""
        living = {each.pid for each in self.processos.vivos}
        return living | ({self.agenda.pid} if self.agenda is not None else set())

    # -- time -----------------------------------------------------------------------------------------------------

    def run(self, until: Callable[[], bool] | None = None, **values: Any) -> bool:
        """Let time pass: see `Condutor.run`."""
        return self.condutor.run(until, **values)

    def wait(self, until: Callable[[], bool], *, real_s: float, what: str) -> None:
        """In real time, without jumps: for parts that keep a clock of their own. Raises DrillStuck."""
        deadline = time.monotonic() + real_s
        while not until():
            if time.monotonic() > deadline:
                raise DrillStuck(f"não aconteceu em {real_s:.0f} s: {what}")
            self.keep_alive()
            time.sleep(WAIT_POLL_S)

    def run_until_settled(self, *, with_uncertain: bool = False, **values: Any) -> bool:
        """Until no message is `pendente` or `processando` (and, asked for, none `incerta`)."""
        open_ones = ["pendente", "processando", *(["incerta"] if with_uncertain else [])]
        values.setdefault("what", f"mensagens fora de {', '.join(open_ones)}")
        return self.run(lambda: self.count(*open_ones) == 0, **values)

    def run_until_quiet(self, *, real_s: float = 60.0) -> None:
        """Until nothing is on the wire, in the inbox or on its way to it."""

        def quiet() -> bool:
            pulse = self.condutor.pulse()
            return not (pulse.on_the_wire or pulse.underway or pulse.inbox or pulse.callers)

        if self.real_time:
            self.wait(quiet, real_s=real_s, what="silêncio no fio e na caixa de entrada")
        else:
            self.run(quiet, real_s=real_s, what="silêncio no fio e na caixa de entrada")

    def count(self, *statuses: str) -> int:
        found: int = self.banco.value("SELECT count(*) FROM fila_mensagens WHERE status = ANY(%s)", [list(statuses)])
        return found

    def more(self, *statuses: str, by: int = 1) -> Callable[[], bool]:
        """A condition for `run`: so many more messages of these statuses than at this moment, or none left to send."""
        wanted = self.count(*statuses) + by
        return lambda: self.count(*statuses) >= wanted or not self.count("pendente")

    # -- what a scenario says -------------------------------------------------------------------------------------

    def goal(self, nome: str, holds: bool, otherwise: str = "") -> None:
        """An invariant of this scenario alone. Said twice, both must hold."""
        self.medidas.metas[nome] = self.medidas.metas.get(nome, True) and bool(holds)
        if not holds:
            self.note(f"{nome}: {otherwise}" if otherwise else nome)

    def settle_uncertain(self, *, for_s: float = 1800.0, **values: Any) -> None:
        """Give the reconciler its time, and hold it to what it promises where the provider keeps evidence.

        What never left has no evidence: a sender that died before it wrote leaves its message uncertain, rightly.
        """
        left = {(record.recipient, record.text) for record in self.simulador.truth().records}
        self.run(lambda: self.uncertain(left) == 0, for_s=for_s, **values)
        still = self.uncertain(left)
        self.goal("sem_incerta_entregue", still == 0, f"{still} entregues e ainda incertas")

    def uncertain(self, left: Collection[tuple[str, str]]) -> int:
        """How many uncertain messages are among those that left."""
        found = self.banco.rows("SELECT telefone_destino, conteudo FROM fila_mensagens WHERE status = 'incerta'")
        return sum((row["telefone_destino"], row["conteudo"]) in left for row in found)

    def note(self, text: str) -> None:
        self.medidas.observacoes.append(text)

    def close(self) -> None:
        if self.agenda is not None:
            self.agenda.close()
        self.processos.close()
        self.banco.close()


@contextlib.contextmanager
def montada(
    server: DrillServer,
    tamanhos: Tamanhos,
    *,
    start: datetime | None = START,
    pace: float = 1.0,
    simulator: Mapping[str, Any] | None = None,
    keep: bool = False,
) -> Iterator[Bancada]:
    """A workbench with an empty migrated database, a simulator and the clock at `start`. `keep` leaves the logs.

    `pace`: see `Relogio.install`.
    """
    with ExitStack() as stack:
        scratch = stack.enter_context(server.scratch())
        logs = Path(tempfile.mkdtemp(prefix="julia_exercicio_"))
        if not keep:
            stack.callback(shutil.rmtree, logs, ignore_errors=True)
        paces: dict[str, Any] = {"seed": tamanhos.semente, "latency_ms": "20-120", "pace": 0.05} | dict(simulator or {})
        simulador = stack.enter_context(SimulatorProcess(**paces))
        stack.enter_context(django_on(scratch.url, simulador))
        bancada = Bancada(server=server, scratch=scratch, simulador=simulador, logs=logs, tamanhos=tamanhos)
        stack.callback(bancada.close)
        bancada.real_time = start is None
        bancada.relogio.install(start, pace=pace)
        yield bancada


@contextlib.contextmanager
def django_on(url: str, simulador: SimulatorProcess) -> Iterator[None]:
    """This process's Django on the scratch database while the block lasts: services make the fleet and the people."""
    default = connections["default"]
    before = dict(default.settings_dict)
    default.close()
    found = environ.Env.db_url_config(url)
    options = {**before.get("OPTIONS", {}), **found.pop("OPTIONS", {})}
    default.settings_dict.update(found | {"OPTIONS": options, "CONN_MAX_AGE": 0})
    known = {name: getattr(settings, name) for name in ("EVOLUTION_API_URL", "EVOLUTION_API_KEY", "ZAPI_BASE_URL")}
    settings.EVOLUTION_API_URL = simulador.evolution_url
    settings.EVOLUTION_API_KEY = simulador.apikey
    settings.ZAPI_BASE_URL = simulador.zapi_url
    try:
        yield
    finally:
        default.close()
        default.settings_dict.update(before)
        for name, value in known.items():
            setattr(settings, name, value)
