"""Julia's own gauges, out of the very readings that the health pages show: one number everywhere."""

import time
from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from core.alerts.models import Severidade
from core.circuits import names
from core.circuits.models import CircuitState
from core.health.reading import Answer, Reading
from core.metrics.gauges import Readings, Sample, gauges
from fila.reprocessar.metrics import obter_metricas_dlq
from julia.health import chips as chip_page
from julia.health import score as score_page
from julia.health.alerts import ALERTS
from julia.health.chips import CHIPS
from julia.health.circuits import CIRCUITS
from julia.health.fila import FILA
from julia.health.jobs import JOBS
from julia.health.score import READINESS
from julia.health.worker import WORKERS, lives

T = TypeVar("T")

SCORED: dict[str, Reading[Any]] = {
    "prontidao": READINESS,
    "chips": CHIPS,
    "circuits": CIRCUITS,
    "fila": FILA,
    "worker": WORKERS,
}
_ALL: tuple[Reading[Any], ...] = (*SCORED.values(), JOBS, ALERTS)
WAIT_S = 1.0  # together with the counters it must stay below what `/metrics` itself waits


class Unread(ValueError):
    """A health reading that has no answer now; its class is in the text."""


def _answer(reading: Reading[T]) -> Answer[T]:
    """As the health pages have it, at most 5 s old; all are asked at once. Raises Unread."""
    for each in _ALL:
        each.ask()
    asked = reading.ask()
    answer = replace(asked, ends=min(asked.ends, time.monotonic() + WAIT_S)).wait()
    if answer.failure is not None:
        raise Unread(answer.failure.classe)
    return answer


def _known(reading: Reading[T]) -> T:
    value = _answer(reading).value
    if value is None:
        raise Unread("Vazio")
    return value


@gauges(
    "fila",
    {
        "fila_pendentes": "Mensagens pendentes na fila.",
        "fila_processando": "Mensagens em envio.",
        "fila_incertas": "Mensagens que podem ter saído e esperam evidência.",
        "fila_travadas": "Mensagens em envio há mais de 60 minutos.",
        "fila_enviadas_ultima_hora": "Mensagens enviadas na última hora.",
        "fila_erros_ultima_hora": "Mensagens que terminaram em erro na última hora.",
        "fila_erros_24h": "Mensagens que terminaram em erro nas últimas 24 horas.",
        "fila_tempo_medio_processamento_ms": "Tempo médio da retirada ao resultado na última hora; ausente sem envios.",
        "fila_idade_mais_antiga_min": "Minutos de atraso da mensagem mais antiga que já podia sair; 0 sem nenhuma.",
        "fila_mais_antiga_segundos": "O mesmo atraso em segundos, com precisão de um minuto.",
    },
)
def fila(now: datetime) -> Readings:
    found = _known(FILA)
    age = found["mensagem_mais_antiga_minutos"] or 0
    return {
        "fila_pendentes": found["pendentes"],
        "fila_processando": found["processando"],
        "fila_incertas": found["incertas"],
        "fila_travadas": found["travadas"],
        "fila_enviadas_ultima_hora": found["enviadas_ultima_hora"],
        "fila_erros_ultima_hora": found["erros_ultima_hora"],
        "fila_erros_24h": found["erros_ultimas_24h"],
        "fila_tempo_medio_processamento_ms": found["tempo_medio_processamento_ms"],
        "fila_idade_mais_antiga_min": age,
        "fila_mais_antiga_segundos": age * 60,
    }


@gauges("dlq", {"fila_dlq_abertas": "Falhas definitivas que ninguém reprocessou."})
def dlq(now: datetime) -> Readings:
    return {"fila_dlq_abertas": obter_metricas_dlq()["nao_reprocessadas"]}


@gauges(
    "chips",
    {
        "chips_total": "Chips em produção.",
        "chips_disponiveis": "Chips que podem enviar agora.",
        "chips_desconectados": "Chips em produção desconectados do WhatsApp.",
        "chips_circuito_aberto": "Chips em produção com o próprio circuito aberto.",
        "chips_capacidade": "Chips que podem levar cada tipo de mensagem agora.",
        "chips_trust_medio": "Confiança média dos chips em produção; ausente sem chips.",
    },
)
def chips(now: datetime) -> Readings:
    seen = _known(CHIPS)
    found = chip_page.summary(seen)
    return {
        "chips_total": found["total"],
        "chips_disponiveis": found["disponiveis"],
        "chips_desconectados": found["desconectados"],
        "chips_circuito_aberto": found["circuit_aberto"],
        "chips_capacidade": [
            Sample(sum(kind in each.carries for each in seen), {"tipo": kind}) for kind in chip_page.KINDS
        ],
        "chips_trust_medio": found["trust_medio"],
    }


@gauges(
    "circuits",
    {
        "circuit_open": "1: o circuito do serviço está aberto, nada passa por ele.",
        "circuit_half_open": "1: o circuito do serviço está em teste, com uma chamada.",
    },
)
def circuits(now: datetime) -> Readings:
    """Of the services; chips' circuits are counted in `chips_circuito_aberto`: a chip's id is no label."""
    found = {name: facts.effective for name, (facts, _wait) in _known(CIRCUITS).items() if not names.is_chip(name)}
    return {
        "circuit_open": [Sample(int(state is CircuitState.OPEN), {"circuit": name}) for name, state in found.items()],
        "circuit_half_open": [
            Sample(int(state is CircuitState.HALF_OPEN), {"circuit": name}) for name, state in found.items()
        ],
    }


@gauges(
    "jobs",
    {
        "jobs_total": "Jobs registrados.",
        "jobs_stale": "Jobs sem execução dentro do SLA.",
        "jobs_stale_criticos": "Jobs críticos sem execução dentro do SLA.",
        "jobs_atrasados": "Jobs atrasados além do limite de alerta.",
        "jobs_demorando": "Jobs em execução há mais tempo do que o declarado.",
        "jobs_errors_24h": "Execuções de jobs com erro nas últimas 24 horas.",
        "jobs_timeouts_24h": "Execuções de jobs que esgotaram o tempo nas últimas 24 horas.",
        "job_stale": "1: o job está sem execução dentro do SLA.",
        "job_seconds_since_last_run": "Segundos desde a última execução do job; ausente se nunca rodou.",
    },
)
def jobs(now: datetime) -> Readings:
    found = _known(JOBS)
    each, lists = found["jobs"], found["alerts"]
    return {
        "jobs_total": len(each),
        "jobs_stale": len(lists["stale_jobs"]),
        "jobs_stale_criticos": len(lists["critical_stale"]),
        "jobs_atrasados": len(lists["late_jobs"]),
        "jobs_demorando": len(lists["too_long_jobs"]),
        "jobs_errors_24h": sum(body["errors_24h"] for body in each.values()),
        "jobs_timeouts_24h": sum(body["timeouts_24h"] for body in each.values()),
        "job_stale": [Sample(int(body["is_stale"]), {"job_name": name}) for name, body in each.items()],
        "job_seconds_since_last_run": [
            Sample(body["seconds_since_last_run"], {"job_name": name})
            for name, body in each.items()
            if body["seconds_since_last_run"] is not None
        ],
    }


@gauges("alertas", {"alertas_abertos": "Alertas abertos, por severidade (até 100 ao todo)."})
def alertas(now: datetime) -> Readings:
    counted = Counter(alert.severidade for alert in _known(ALERTS))
    return {"alertas_abertos": [Sample(counted[each], {"severidade": each.value}) for each in Severidade]}


@gauges(
    "worker",
    {
        "worker_heartbeat_age_seconds": "Segundos desde o último sinal de vida de um worker; ausente se nunca houve.",
        "workers_vivos": "Workers que dão sinal de vida.",
    },
)
def worker(now: datetime) -> Readings:
    beats = _known(WORKERS)
    return {
        "worker_heartbeat_age_seconds": float(beats[0]["idade"]) if beats else None,
        "workers_vivos": sum(lives(beat) for beat in beats),
    }


@gauges(
    "saude",
    {
        "health_score": "Nota de saúde de 0 a 100, a mesma de /health/score.",
        "health_component": "Nota de cada componente de /health/score.",
    },
)
def saude(now: datetime) -> Readings:
    answers: dict[str, Answer[Any]] = {name: _answer(reading) for name, reading in SCORED.items()}
    body = score_page.compose(answers, {})
    return {
        "health_score": body["overall_score"],
        "health_component": [Sample(value, {"componente": name}) for name, value in body["components"].items()],
    }
