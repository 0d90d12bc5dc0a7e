"""One clock for everybody: `agora()` of the scratch database reads a row, and the simulator follows it.

It exists in scratch databases only and is made here, never by a migration. Simulated time runs at the pace of real
time, so that no lease and no patience runs out under a live call, and is moved forward while nothing is going on.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from chips.simulator.client import SimulatorClient
from julia.exercicio.banco import PREFIX, Banco
from julia.exercicio.errors import DrillRefused

BRASILIA = ZoneInfo("America/Sao_Paulo")
#: A Tuesday, ten in the morning: two hours after opening, ten before closing.
START = datetime(2026, 3, 3, 10, 0, tzinfo=BRASILIA)

_INSTALL = (
    """CREATE TABLE relogio (um boolean PRIMARY KEY DEFAULT true CHECK (um), base_real timestamptz NOT NULL,
           base_sim timestamptz NOT NULL, ritmo double precision NOT NULL DEFAULT 1)""",
    # STABLE as the one of the migrations; a plan of its own is kept per session, so a call costs microseconds.
    """CREATE OR REPLACE FUNCTION agora() RETURNS timestamptz LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
       BEGIN
           RETURN (SELECT base_sim + (clock_timestamp() - base_real) * ritmo FROM public.relogio);
       END $$""",
)


class Relogio:
    """The drill's hold on simulated time. All instants are aware."""

    def __init__(self, banco: Banco, simulador: SimulatorClient) -> None:
        self._banco = banco
        self._simulador = simulador

    def install(self, start: datetime | None = START, *, pace: float = 1.0) -> None:
        """`start` None is the machine's own time (for parts that keep a clock of their own, such as django-q2).

        `pace`: simulated seconds per real one; at 0 time stands still until it is set.
        """
        if not str(self._banco.value("SELECT current_database()")).startswith(PREFIX):
            raise DrillRefused("O relógio simulado só existe em bancos de exercício.")
        for statement in _INSTALL:
            self._banco.run(statement)
        self._banco.run(
            """INSERT INTO relogio (base_real, base_sim, ritmo)
               SELECT t, coalesce(%s, t), %s FROM clock_timestamp() AS t""",
            [start, pace],
        )
        self._tell_simulator()

    def now(self) -> datetime:
        found: datetime = self._banco.value("SELECT agora()")
        return found.astimezone(UTC)

    def advance(self, seconds: float, *, alive: Collection[int] = ()) -> None:
        """Let time pass for everybody, the provider too. The signs of life of the pids `alive` come along: they beat
        in real seconds."""
        self.leap(seconds)
        self._tell_simulator()
        self._banco.run(
            """UPDATE role_beats SET beat_at = beat_at + %s WHERE encerrado_em IS NULL
               AND split_part(instancia, ':', 2) = ANY(%s)""",
            [timedelta(seconds=seconds), [str(pid) for pid in alive]],
        )

    def leap(self, seconds: float) -> None:
        """Only Julia's clock moves, forward or back, as when a machine's time is set."""
        self._banco.run("UPDATE relogio SET base_sim = base_sim + %s", [timedelta(seconds=seconds)])

    def set(self, instant: datetime) -> None:
        """It is `instant` now, for Julia alone: for a clock that stands still between two settings."""
        self._banco.run("UPDATE relogio SET base_sim = %s, base_real = clock_timestamp()", [instant])

    def simulated(self, unix: float) -> datetime:
        """An instant of the simulator's truth."""
        return datetime.fromtimestamp(unix, UTC)

    def _tell_simulator(self) -> None:
        self._simulador.clock(float(self._banco.value("SELECT extract(epoch FROM agora() - clock_timestamp())")))
