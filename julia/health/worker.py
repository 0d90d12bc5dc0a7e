"""`/health/worker`: does the fila's consumer live, and since when (S-36 T01.6)?"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

from core import clock
from core.clock import BRASILIA
from core.database import rows
from core.health.pages import Answers, Body, from_one, iso
from core.health.reading import Reading
from core.integrations.redaction import scrub
from julia.diagnostico import WORKER_SILENT
from julia.health.shapes import Erro

LIMIT_S = int(WORKER_SILENT.total_seconds())
MOST_SHOWN = 20
_START = "Inicie-o: python manage.py servir --papel worker"

# role_beats_by_papel
_WORKERS = """
SELECT instancia, started_at, beat_at, encerrado_em, greatest(0, extract(epoch FROM agora() - beat_at)) AS idade
FROM role_beats WHERE papel = 'worker' ORDER BY encerrado_em IS NOT NULL, beat_at DESC LIMIT %s
"""

Beat = dict[str, Any]
WORKERS: Reading[list[Beat]] = Reading("worker", lambda now: rows(_WORKERS, [MOST_SHOWN]))


class Consumidor(TypedDict):
    instancia: str
    vivo: bool
    iniciado_em: str
    ultimo_heartbeat: str
    idade_segundos: int
    encerrado_em: str | None


class WorkerBody(TypedDict):
    status: Literal["healthy", "unhealthy", "error"]
    estado: Literal["ok", "stale", "stopped", "missing", "unknown"]
    mensagem: str
    desde: str | None
    last_heartbeat: str | None
    ultimo_heartbeat: str | None
    idade_segundos: int | None
    limite_segundos: int
    workers: list[Consumidor]
    timestamp: str
    erro: NotRequired[Erro]
    desatualizado_desde: NotRequired[str | None]


def compose(answers: Answers, params: Mapping[str, Any]) -> Body:
    return from_one(answers["worker"], body, _nothing_read)


def code(body: Body) -> int:
    return 200 if body["status"] == "healthy" else 503


def is_alive(beats: list[Beat]) -> bool:
    return any(lives(beat) for beat in beats)


def lives(beat: Beat) -> bool:
    return beat["encerrado_em"] is None and beat["idade"] <= LIMIT_S


def body(beats: list[Beat], at: datetime) -> Body:
    """`beats` as the statement orders them: the first tells of the role."""
    newest = beats[0] if beats else None
    estado, desde, mensagem = _state(newest)
    heartbeat = iso(newest["beat_at"]) if newest else None
    return {
        "status": "healthy" if estado == "ok" else "unhealthy",
        "estado": estado,
        "mensagem": mensagem,
        "desde": iso(desde),
        "last_heartbeat": heartbeat,
        "ultimo_heartbeat": heartbeat,
        "idade_segundos": int(newest["idade"]) if newest else None,
        "limite_segundos": LIMIT_S,
        "workers": [_shown(beat) for beat in beats],
        "timestamp": at.isoformat(),
    }


def _state(newest: Beat | None) -> tuple[str, datetime | None, str]:
    """The state, since when, and what it means."""
    if newest is None:
        return "missing", None, f"Nenhum worker deu sinal de vida até hoje. {_START}"
    if newest["encerrado_em"] is not None:
        return (
            "stopped",
            newest["encerrado_em"],
            f"O worker foi encerrado às {_clock(newest['encerrado_em'])}. {_START}",
        )
    if not lives(newest):
        return "stale", newest["beat_at"], f"O worker não dá sinal desde {_clock(newest['beat_at'])}. {_START}"
    return "ok", newest["started_at"], f"O worker consome a fila desde {_clock(newest['started_at'])}"


def _shown(beat: Beat) -> Body:
    return {
        "instancia": scrub(beat["instancia"]),
        "vivo": lives(beat),
        "iniciado_em": iso(beat["started_at"]),
        "ultimo_heartbeat": iso(beat["beat_at"]),
        "idade_segundos": int(beat["idade"]),
        "encerrado_em": iso(beat["encerrado_em"]),
    }


def never() -> Body:
    """Of a role that nobody ever saw."""
    return body([], clock.now())


def _nothing_read() -> Body:
    return {
        **never(),
        "estado": "unknown",
        "mensagem": "Não foi possível ler os sinais de vida do worker. Veja /health/ready.",
    }


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(BRASILIA):%d/%m %H:%M:%S}"


EXAMPLE: Body = {
    "status": "unhealthy",
    "estado": "stale",
    "mensagem": f"O worker não dá sinal desde 03/03 09:55:12. {_START}",
    "desde": "2026-03-03T12:55:12+00:00",
    "last_heartbeat": "2026-03-03T12:55:12+00:00",
    "ultimo_heartbeat": "2026-03-03T12:55:12+00:00",
    "idade_segundos": 288,
    "limite_segundos": LIMIT_S,
    "workers": [
        {
            "instancia": "worker@julia-1:41",
            "vivo": False,
            "iniciado_em": "2026-03-02T11:00:00+00:00",
            "ultimo_heartbeat": "2026-03-03T12:55:12+00:00",
            "idade_segundos": 288,
            "encerrado_em": None,
        }
    ],
    "timestamp": "2026-03-03T13:00:00+00:00",
}
