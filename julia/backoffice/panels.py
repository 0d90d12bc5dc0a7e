"""What the home page shows: each panel reads by itself, with a deadline, and says so when it could not read.

Only live states are counted, and only through their partial indexes: the page costs the same with a thousand messages
sent as with a million.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from django.db import DatabaseError, InterfaceError

from chips import fleet
from chips.admin import why_not
from chips.choices import ChipStatus, TipoMensagem
from core.backoffice.timeouts import TooSlow, statement_timeout
from core.database import rows
from core.flags import registry
from core.flags.models import AppSetting
from core.flags.registry import InvalidValue, Setting
from fila.campanhas.models import Campanha
from fila.campanhas.shown import open_counts, progress_of
from fila.choices import CampanhaStatus, Status
from fila.mensagens import Mensagem
from fila.sentences import reason_sentence

T = TypeVar("T")
DEADLINE_MS = 1500
HURRIED_MS = 300
COUNT_CAP = 10_000
DEAD_AFTER = timedelta(seconds=120)  # S-36 T01.6
CAMPAIGNS_SHOWN = 8
FAILURES_SHOWN = 6
HIGHEST_PRIORITY = 10


@dataclass(frozen=True, slots=True)
class Panel(Generic[T]):
    """`data` None means that it could not be read and `error` says why: never shown as zero."""

    data: T | None
    error: str = ""


class Reader:
    """Reads the panels of one page. Once one was too slow the others get less: the page itself is never late."""

    def __init__(self) -> None:
        self.deadline_ms = DEADLINE_MS

    def read(self, load: Callable[[], T]) -> Panel[T]:
        panel = read(load, self.deadline_ms)
        if panel.error:
            self.deadline_ms = HURRIED_MS
        return panel


def read(load: Callable[[], T], deadline_ms: int = DEADLINE_MS) -> Panel[T]:
    try:
        with statement_timeout(deadline_ms):
            return Panel(load())
    except TooSlow:
        return Panel(None, f"A leitura passou de {deadline_ms / 1000:.1f} s e foi interrompida.".replace(".", ",", 1))
    except (DatabaseError, InterfaceError) as error:
        return Panel(None, f"Não foi possível ler do banco ({type(error).__name__}). Veja /health/ready.")


@dataclass(frozen=True, slots=True)
class Fila:
    """Counts stop at COUNT_CAP + 1. `vencidas` are those that may go: held campaigns are counted as `retidas`."""

    vencidas: int
    futuras: int
    retidas: int
    processando: int
    travadas: int
    incertas: int
    erros_hoje: int
    enviadas_hora: int
    mais_antiga: datetime | None


# One probe per (active campaign, priority) finds the oldest due row, and the rows of held campaigns are never walked.
_FILA = """
WITH ativas AS (SELECT id FROM campanhas WHERE status = 'ativa'),
retidas AS (SELECT id FROM campanhas WHERE status NOT IN ('ativa', 'concluida', 'cancelada'))
SELECT
  (SELECT count(*) FROM (SELECT 1 FROM ativas a, LATERAL (SELECT 1 FROM fila_mensagens m
      WHERE m.campanha_id = a.id AND m.status = 'pendente' AND m.agendar_para <= agora()) x LIMIT %(cap)s) y)
  + (SELECT count(*) FROM (SELECT 1 FROM fila_mensagens m WHERE m.campanha_id IS NULL AND m.status = 'pendente'
      AND m.agendar_para <= agora() LIMIT %(cap)s) y) AS vencidas,
  (SELECT count(*) FROM (SELECT 1 FROM fila_mensagens WHERE status = 'pendente' AND agendar_para > agora()
      LIMIT %(cap)s) y) AS futuras,
  (SELECT count(*) FROM (SELECT 1 FROM retidas r, LATERAL (SELECT 1 FROM fila_mensagens m
      WHERE m.campanha_id = r.id AND m.status = 'pendente') x LIMIT %(cap)s) y) AS retidas,
  (SELECT count(*) FROM (SELECT 1 FROM fila_mensagens WHERE status = 'processando' LIMIT %(cap)s) y) AS processando,
  (SELECT count(*) FROM (SELECT 1 FROM fila_mensagens WHERE status = 'processando' AND lease_ate < agora()
      LIMIT %(cap)s) y) AS travadas,
  (SELECT count(*) FROM (SELECT 1 FROM fila_mensagens WHERE status = 'incerta' LIMIT %(cap)s) y) AS incertas,
  (SELECT count(*) FROM (SELECT 1 FROM fila_mensagens WHERE status = 'erro' AND outcome_at >=
      date_trunc('day', agora() AT TIME ZONE 'America/Sao_Paulo') AT TIME ZONE 'America/Sao_Paulo'
      LIMIT %(cap)s) y) AS erros_hoje,
  (SELECT count(*) FROM (SELECT 1 FROM fila_mensagens WHERE status = 'enviada'
      AND outcome_at > agora() - interval '1 hour' LIMIT %(cap)s) y) AS enviadas_hora,
  least(
    (SELECT min(x.agendar_para) FROM ativas a, generate_series(0, %(top)s) p,
        LATERAL (SELECT m.agendar_para FROM fila_mensagens m WHERE m.campanha_id = a.id AND m.prioridade = p
                 AND m.status = 'pendente' AND m.agendar_para <= agora() ORDER BY m.agendar_para LIMIT 1) x),
    (SELECT min(x.agendar_para) FROM generate_series(0, %(top)s) p,
        LATERAL (SELECT m.agendar_para FROM fila_mensagens m WHERE m.campanha_id IS NULL AND m.prioridade = p
                 AND m.status = 'pendente' AND m.agendar_para <= agora() ORDER BY m.agendar_para LIMIT 1) x)
  ) AS mais_antiga
"""


def fila() -> Fila:
    return Fila(**rows(_FILA, {"cap": COUNT_CAP + 1, "top": HIGHEST_PRIORITY})[0])


def campanhas() -> list[dict[str, Any]]:
    """Active and paused ones with their bars, then what starts next."""
    wanted = (CampanhaStatus.ATIVA, CampanhaStatus.PAUSADA, CampanhaStatus.AGENDADA)
    found: list[Campanha] = []
    for status in wanted:
        order = "agendar_para" if status == CampanhaStatus.AGENDADA else "-iniciada_em"
        found += (
            Campanha.objects.filter(status=status)
            .defer("corpo", "corpo_congelado")
            .order_by(order, "-id")[:CAMPAIGNS_SHOWN]
        )
    counts = open_counts([each.pk for each in found if each.status != CampanhaStatus.AGENDADA]) if found else {}
    return [{"campanha": each, "progress": progress_of(each, counts.get(each.pk, 0))} for each in found]


@dataclass(frozen=True, slots=True)
class Chips:
    total: int
    em_producao: int
    levam_campanhas: int
    desconectados: int
    bloqueados: int
    em_descanso: int
    aquecendo: int
    fora: int
    motivos: tuple[tuple[str, int], ...]


_CHIPS = """
SELECT count(*) FILTER (WHERE status = 'active') AS em_producao,
       count(*) FILTER (WHERE status = 'active' AND NOT evolution_connected) AS desconectados,
       count(*) FILTER (WHERE bloqueio_manual AND status NOT IN ('banned', 'cancelled')) AS bloqueados,
       count(*) FILTER (WHERE status = 'active'
           AND greatest(cooldown_until, connection_cooldown_until) > agora()) AS em_descanso,
       count(*) FILTER (WHERE status IN ('warming', 'ready')) AS aquecendo,
       count(*) FILTER (WHERE status IN ('banned', 'paused', 'degraded')) AS fora,
       count(*) AS total
FROM chips WHERE status <> 'cancelled'
"""


def chips(now: datetime) -> Chips:
    active = [each for each in fleet.load() if each.status == ChipStatus.ACTIVE]
    reasons = [why_not(each, TipoMensagem.PROSPECCAO, now) for each in active]
    tally: dict[str, int] = {}
    for found in reasons:
        for sentence in found:
            tally[sentence] = tally.get(sentence, 0) + 1
    return Chips(
        **rows(_CHIPS)[0],
        levam_campanhas=sum(not found for found in reasons),
        motivos=tuple(sorted(tally.items(), key=lambda item: -item[1])),
    )


@dataclass(frozen=True, slots=True)
class RoleState:
    papel: str
    alive: bool
    beat_at: datetime | None
    processes: int
    text: str


_START = "Inicie com: python manage.py servir --papel"
_ROLES = {
    "worker": (
        "Worker da fila",
        "O worker não está rodando: as mensagens só saem pelo job de cada minuto, do agendador.",
    ),
    "scheduler": ("Agendador", "O agendador não está rodando: jobs, importações e campanhas agendadas esperam."),
    "api": ("Api", "Nenhum processo da api deu sinal: webhooks podem não estar sendo recebidos."),
}
_BEATS = """
SELECT papel, max(beat_at) AS beat_at,
       count(*) FILTER (WHERE encerrado_em IS NULL AND beat_at > agora() - %(dead)s) AS processes
FROM role_beats WHERE beat_at > agora() - interval '7 days' GROUP BY papel
"""


def roles() -> list[RoleState]:
    found = {row["papel"]: row for row in rows(_BEATS, {"dead": DEAD_AFTER})}
    states = []
    for papel, (label, missing) in _ROLES.items():
        row = found.get(papel, {"beat_at": None, "processes": 0})
        text = "" if row["processes"] else f"{missing} {_START} {papel}"
        states.append(RoleState(label, bool(row["processes"]), row["beat_at"], row["processes"], text))
    return states


@dataclass(frozen=True, slots=True)
class Held:
    """A switch that keeps messages from leaving, or that nobody can read."""

    key: str
    text: str


def held_switches() -> list[Held]:
    stored = dict(AppSetting.objects.values_list("key", "value"))
    return [
        Held(setting.key, text)
        for setting in registry.switches()
        if (text := held_text(setting, stored.get(setting.key)))
    ]


def held_text(setting: Setting[Any], value: object) -> str:
    """What the switch holds back in this position; empty when nothing."""
    try:
        on = setting.validate(value)
    except InvalidValue:
        return "Não dá para ler esta chave, então o que depende dela fica retido. Corrija o valor em Ajustes."
    return "" if on is setting.default else setting.description


def failures() -> list[tuple[Mensagem, str]]:
    """The newest of the last day."""
    found = rows(
        """SELECT id FROM fila_mensagens WHERE status = 'erro' AND outcome_at > agora() - interval '24 hours'
           ORDER BY outcome_at DESC LIMIT %s""",
        [FAILURES_SHOWN],
    )
    messages = Mensagem.objects.filter(id__in=[row["id"] for row in found], status=Status.ERRO)
    shown = messages.select_related("cliente").only(
        "id", "outcome", "outcome_reason_code", "outcome_at", "cliente__nome"
    )
    return [(each, reason_sentence(each.outcome_reason_code, each.outcome)) for each in shown.order_by("-outcome_at")]
