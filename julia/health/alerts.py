"""`/health/alerts`: what a person should look at now: the open alerts, and what the health pages see by themselves."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypedDict

from core.alert_rules import WORKER_SILENT
from core.alerts.services import OpenAlert, open_alerts
from core.circuits import names
from core.circuits.models import CircuitState
from core.health.pages import Answers, Body, stamp
from core.health.reading import Reading
from core.integrations.redaction import scrub
from julia.health import worker
from julia.health.chips import LOW_TRUST, ChipSeen
from julia.health.circuits import Found
from julia.health.score import unread
from julia.health.shapes import Erro

MOST_SHOWN = 100
CONNECTED_MIN_PCT, LOW_TRUST_MAX_PCT = 50, 30
RANK = ("ok", "warning", "error", "critical")

ALERTS: Reading[list[OpenAlert]] = Reading("alertas", lambda now: open_alerts(MOST_SHOWN))


@dataclass(frozen=True, slots=True)
class Derived:
    """A condition that holds by the numbers, whether or not an alert is open. `tipo` and `chave` as an alert's."""

    tipo: str
    severity: str
    source: str
    message: str
    value: int | None = None
    chave: str = ""


class AlertBody(TypedDict):
    id: str | None
    tipo: str
    chave: str
    severity: Literal["info", "warning", "error", "critical"]
    source: str
    message: str
    value: float | None
    reconhecido: bool
    desde: str | None
    proximo: str | None


class AlertsBody(TypedDict):
    status: Literal["ok", "warning", "error", "critical"]
    total_alerts: int
    alerts: list[AlertBody]
    nao_lidos: dict[str, Erro]
    timestamp: str


def compose(answers: Answers, params: Mapping[str, Any]) -> Body:
    """The status is the worst of all; what could not be read makes it at least `error`."""
    opened: list[OpenAlert] = answers["alertas"].value or []
    derived = [each for each in derive(answers) if not _is_told(each, opened)]
    missing = unread(answers)
    severities = [_status(each.severidade.value) for each in opened] + [each.severity for each in derived]
    severities += ["error"] if missing else []
    return {
        "status": max(severities, key=RANK.index, default="ok"),
        "total_alerts": len(opened) + len(derived),
        "alerts": [_opened(each) for each in opened] + [_derived(each) for each in derived],
        "nao_lidos": missing,
        "timestamp": stamp(*answers.values()),
    }


def derive(answers: Answers) -> list[Derived]:
    """By the numbers of the other pages, as far as they could be read (health reference §3.8)."""
    return [
        found for name, rule in _RULES.items() if answers[name].value is not None for found in rule(answers[name].value)
    ]


def _fila(metrics: Mapping[str, int | None]) -> Iterator[Derived]:
    travadas, pendentes = metrics["travadas"] or 0, metrics["pendentes"] or 0
    if travadas > 0:
        severity = "critical" if travadas >= 10 else "warning"
        text = f"{travadas} mensagens em envio há mais de 60 minutos"
        yield Derived("fila_travada", severity, "fila", text, travadas)
    if pendentes > 100:
        severity = "critical" if pendentes >= 500 else "warning"
        yield Derived("fila_acumulada", severity, "fila", f"{pendentes} mensagens pendentes", pendentes)


def _worker(beats: list[worker.Beat]) -> Iterator[Derived]:
    if not worker.is_alive(beats):
        found = worker.body(beats, beats[0]["beat_at"]) if beats else worker.never()
        yield Derived(WORKER_SILENT, "critical", "worker", found["mensagem"], found["idade_segundos"])


def _circuits(found: Found) -> Iterator[Derived]:
    """A chip's open circuit takes one number out; a service's takes all of them."""
    for name, (facts, _) in found.items():
        chip = names.is_chip(name)
        if facts.effective is CircuitState.OPEN:
            text = f"O circuito {names.spoken(name)} está aberto: nada sai por ele"
            tipo, severity = ("circuito_de_chip_aberto", "warning") if chip else ("circuito_aberto", "critical")
            yield Derived(tipo, severity, "circuit_breaker", text, facts.failures, chave=name)
        elif facts.effective is CircuitState.HALF_OPEN:
            text = f"O circuito {names.spoken(name)} está em teste, com uma chamada"
            yield Derived("circuito_em_teste", "warning", "circuit_breaker", text, facts.failures, chave=name)


def _chips(seen: list[ChipSeen]) -> Iterator[Derived]:
    total, connected = len(seen), sum(each.facts.conectado for each in seen)
    low = sum(each.facts.trust_score < LOW_TRUST for each in seen)
    if not total:
        yield Derived("pool_vazio", "critical", "chips", "Nenhum chip em produção", 0)
        return
    if not connected:
        yield Derived("whatsapp_fora", "critical", "chips", f"Nenhum dos {total} chips está conectado", 0)
    elif 100 * connected < CONNECTED_MIN_PCT * total:
        text = f"Só {connected} de {total} chips estão conectados"
        yield Derived("chips_desconectados", "warning", "chips", text, connected)
    if 100 * low > LOW_TRUST_MAX_PCT * total:
        text = f"{low} de {total} chips têm confiança abaixo de {LOW_TRUST}"
        yield Derived("chips_sem_confianca", "warning", "chips", text, low)


def _jobs(body: Body) -> Iterator[Derived]:
    for name in body["alerts"]["critical_stale"]:
        seconds = body["jobs"][name]["seconds_since_last_run"]
        text = f"O job crítico {name} está atrasado"
        yield Derived("job_atrasado", "critical", "jobs", text, seconds, chave=name)


_RULES: dict[str, Callable[[Any], Iterator[Derived]]] = {
    "fila": _fila,
    "worker": _worker,
    "circuits": _circuits,
    "chips": _chips,
    "jobs": _jobs,
}


def _is_told(each: Derived, opened: list[OpenAlert]) -> bool:
    """An open alert says it already, with its owner and its next step."""
    return any(alert.tipo == each.tipo and alert.chave in ("", each.chave) for alert in opened)


def _opened(alert: OpenAlert) -> Body:
    return {
        "id": str(alert.id),
        "tipo": alert.tipo,
        "chave": scrub(alert.chave),
        "severity": alert.severidade.value,
        "source": "alertas",
        "message": scrub(f"{alert.titulo}: {alert.mensagem}"),
        "value": float(alert.valor) if isinstance(alert.valor, Decimal) else alert.valor,
        "reconhecido": alert.reconhecido,
        "desde": alert.desde.isoformat(),
        "proximo": alert.proximo or None,
    }


def _derived(each: Derived) -> Body:
    return {
        "id": None,
        "tipo": each.tipo,
        "chave": each.chave,
        "severity": each.severity,
        "source": each.source,
        "message": each.message,
        "value": each.value,
        "reconhecido": False,
        "desde": None,
        "proximo": None,
    }


def _status(severity: str) -> str:
    return "ok" if severity == "info" else severity


EXAMPLE: Body = {
    "status": "critical",
    "total_alerts": 1,
    "alerts": [
        {
            "id": "5b0c0c0e-3d0a-4f5e-9f3a-6a1d2c3b4e5f",
            "tipo": WORKER_SILENT,
            "chave": "",
            "severity": "critical",
            "source": "alertas",
            "message": "Worker sem sinal de vida: o último foi às 09:55:12",
            "value": 288.0,
            "reconhecido": False,
            "desde": "2026-03-03T12:55:12+00:00",
            "proximo": "Inicie-o: python manage.py servir --papel worker",
        }
    ],
    "nao_lidos": {},
    "timestamp": "2026-03-03T13:00:00+00:00",
}
