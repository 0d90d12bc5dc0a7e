"""A task through the real broker and one cluster, to its result."""

import secrets
from dataclasses import dataclass
from typing import Any

from django_q.brokers import Broker, get_broker
from django_q.models import Task

from core.health import beats
from core.jobs import canary
from core.jobs.registry import Cluster
from julia.smoke.report import Parte

ECHO = "core.jobs.canary.echo"


@dataclass(frozen=True, slots=True)
class Offer:
    """`ticket` is how the broker calls it until somebody takes it."""

    cluster: Cluster
    task_id: str
    word: str
    broker: Broker
    ticket: Any

    @property
    def name(self) -> str:
        return f"cluster {self.cluster}"


def offer(cluster: Cluster) -> Offer:
    """Raises django.db.Error, or redis.RedisError where Redis is the broker."""
    word, broker = secrets.token_hex(8), get_broker(cluster.value)
    task_id, package = canary.package(ECHO, word)
    return Offer(cluster, task_id, word, broker, broker.enqueue(package))


def look(offered: Offer) -> Parte:
    """It has arrived when the cluster's monitor has written its result down."""
    found = Task.objects.filter(id=offered.task_id).values("success", "result", "cluster", "started", "stopped").first()
    if found is None:
        return Parte(offered.name, False, detalhe=_why_not(), proximo=_TODO)
    result = found["result"]
    if not (found["success"] and isinstance(result, dict) and result.get("palavra") == offered.word):
        return Parte(offered.name, False, detalhe="a tarefa voltou com erro", proximo=f"Veja-a em Tarefas: {result!r}")
    seconds = (found["stopped"] - found["started"]).total_seconds()
    return Parte(offered.name, True, segundos=round(seconds, 2), por=str(result.get("maquina", "")))


_TODO = (
    "Se o cluster só está ocupado com tarefas longas, espere e repita (--timeout). Se está travado, seu supervisor o "
    "reinicia em até 2 minutos; veja também python manage.py diagnostico."
)


def _why_not() -> str:
    newest = beats.newest("scheduler")
    if newest is None or newest.encerrado_em is not None:
        return "a tarefa não voltou, e não há scheduler no ar (python manage.py servir --papel scheduler)"
    return "a tarefa não voltou, embora haja um scheduler"


def remove(offered: Offer) -> None:
    """Its result, and the offer itself when nobody has taken it (Redis gives an offer away for good)."""
    offered.broker.delete(offered.ticket)
    remove_results()


def remove_results() -> None:
    """Of every smoke there was: a task that came back after its deadline has left a result, too."""
    Task.objects.filter(func=ECHO).delete()
