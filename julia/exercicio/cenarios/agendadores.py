"""The task clusters of django-q2, in real time: two schedulers at once, and one that hangs."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from django_q.brokers import get_broker
from django_q.status import Stat
from django_q.tasks import async_task

from core.jobs.registry import Cluster
from julia.exercicio.bancada import Bancada
from julia.exercicio.cenario import Minimos, cenario
from julia.exercicio.cenarios.pessoas import OPEN_ALL_DAY
from julia.exercicio.errors import DrillStuck
from julia.exercicio.processos import manage

DRAIN = "processar_mensagens_agendadas"
TICKS = 8
ECHO = "core.jobs.canary.echo"
OFFER_EVERY_S = 2.0
SURVIVED_S = 8.0  # a cluster that completes tasks this long after a kill was not hit
KILLS_AT_MOST = 12
DETECTED_S, FLOWING_S = 90.0, 150.0


@cenario(
    "dois_schedulers",
    "Dois agendadores e tiques repetidos, sem nenhum worker: cada instante roda uma vez, cada mensagem sai uma vez.",
    minimos=Minimos(mensagens=60),
    simulator={"latency_ms": "40-150", "pace": 0.05},
    start=None,
)
def dois_schedulers(b: Bancada) -> None:
    b.frota.settings(janela_envio=OPEN_ALL_DAY)
    b.frota.roomy()
    b.frota.add_chips([85] * 4)
    b.frota.due_campaign(b.tamanhos.mensagens or 60)
    b.call(manage("sincronizar_agenda"))
    clusters = [
        b.processos.start("cluster", manage("qcluster"), Q_CLUSTER_NAME=name, Q_WORKERS="2")
        for name in ("critico", "critico", "trabalhos")
    ]
    minute = b.relogio.now().replace(second=0, microsecond=0)
    for offset in (1, 0):
        b.ticks(DRAIN, minute - timedelta(minutes=offset), TICKS)
    b.wait(lambda: b.count("pendente", "processando") == 0, real_s=120, what="o job crítico drenar a fila sem worker")
    ran = "SELECT count(DISTINCT slot) FROM job_executions WHERE job_name = %s AND status = 'success'"
    b.wait(lambda: b.banco.value(ran, [DRAIN]) >= 2, real_s=150, what="mais um instante planejado")
    twice = """SELECT job_name || ' ' || slot AS qual FROM job_executions
        WHERE slot IS NOT NULL AND status <> 'skipped' GROUP BY job_name, slot HAVING count(*) > 1"""
    doubled = [row["qual"] for row in b.banco.rows(twice)]
    b.goal("cada_instante_uma_vez", not doubled, f"rodou duas vezes: {', '.join(doubled)}")
    ticked = b.banco.value("SELECT count(*) FROM django_q_task WHERE func = 'core.jobs.tasks.run_scheduled'")
    b.goal("tiques_repetidos", ticked >= TICKS, f"só {ticked} tiques chegaram aos agendadores")
    b.goal("agendadores_de_pe", all(cluster.vivo for cluster in clusters), "um agendador caiu")
    b.goal("todas_enviadas", b.count("enviada") == len(b.frota.mensagens), f"{b.count('enviada')} enviadas")


@cenario(
    "cluster_travado",
    "Um worker ocioso do django-q2 morre e trava o cluster, que segue dizendo que trabalha: o supervisor o reinicia.",
    minimos=Minimos(mensagens=20, mortes=1),
    simulator={"latency_ms": "40-150", "pace": 0.05},
    start=None,
)
def cluster_travado(b: Bancada) -> None:
    """Judged by tasks that we offer ourselves, one every two seconds: what the cluster says of itself is no proof."""
    b.frota.settings(janela_envio=OPEN_ALL_DAY, limite_global_hora=None, limite_global_dia=None,
                     pacing_s={"min": 4, "max": 6})  # fmt: skip
    b.frota.add_chips([85] * 2)
    b.frota.due_campaign(b.tamanhos.mensagens or 20)
    servir = b.processos.start("servir", manage_servir("scheduler"))
    b.start_workers(1)
    cluster = b.rng.choice(list(Cluster))
    echoes = Echoes(b, cluster)
    b.wait(lambda: echoes.offer() and echoes.newest() is not None, real_s=120, what="o cluster concluir uma tarefa")
    stuck = _get_stuck(b, cluster, echoes)
    alert = (
        "SELECT min(created_at) AS em FROM alertas WHERE tipo = 'papel_travado' AND chave LIKE %s AND created_at > %s"
    )

    def detected() -> datetime | None:
        found: datetime | None = b.banco.one(alert, [f"%:{cluster}", stuck])["em"]
        return found

    b.wait(lambda: echoes.offer() and detected() is not None, real_s=DETECTED_S + 60, what="o alerta papel_travado")
    told = detected() or stuck
    b.medidas.deteccao_s = (told - stuck).total_seconds()
    b.wait(lambda: echoes.offer() and (echoes.newest() or stuck) > told, real_s=FLOWING_S, what="o cluster voltar")
    b.medidas.recuperacao_s = ((echoes.newest() or told) - stuck).total_seconds()
    b.goal("detectado_em_90_s", b.medidas.deteccao_s < DETECTED_S, f"em {b.medidas.deteccao_s:.0f} s")
    b.goal("andando_em_150_s", b.medidas.recuperacao_s < FLOWING_S, f"em {b.medidas.recuperacao_s:.0f} s")
    b.wait(lambda: b.count("pendente", "processando") == 0, real_s=120, what="a campanha, que não depende do cluster")
    b.goal("supervisor_de_pe", servir.vivo, "o servir caiu")
    servir.terminate()


def manage_servir(papel: str) -> list[str]:
    return [word for word in manage("servir", "--papel", papel) if word != "--skip-checks"]


class Echoes:
    """Tasks of our own through one cluster, and when the newest came back."""

    def __init__(self, b: Bancada, cluster: Cluster) -> None:
        self._b = b
        self._cluster = cluster
        self._offered_at = float("-inf")

    def offer(self) -> bool:
        """At most one every two seconds; always true, to stand in a condition."""
        if time.monotonic() - self._offered_at >= OFFER_EVERY_S:
            self._offered_at = time.monotonic()
            async_task(ECHO, "exercicio", cluster=self._cluster.value, group="exercicio")
        return True

    def newest(self) -> datetime | None:
        found: datetime | None = self._b.banco.value(
            "SELECT max(stopped) FROM django_q_task WHERE \"group\" = 'exercicio' AND success"
        )
        return found


def _get_stuck(b: Bancada, cluster: Cluster, echoes: Echoes) -> datetime:
    """SIGKILL to idle workers, one after another, until the cluster completes nothing any more; when that began.

    The worker that waits for the next task holds the queue's lock and takes it along. Another one dies without harm.
    """
    for _ in range(KILLS_AT_MOST):
        began = b.relogio.now()
        os.kill(b.rng.choice(list(_workers(cluster))), signal.SIGKILL)
        b.medidas.mortes += 1
        patience = time.monotonic() + SURVIVED_S
        while time.monotonic() < patience:
            echoes.offer()
            time.sleep(0.2)
        newest = echoes.newest()
        if newest is None or newest < began + timedelta(seconds=SURVIVED_S / 2):
            return began
    raise DrillStuck(f"o cluster sobreviveu a {KILLS_AT_MOST} mortes: não houve o que detectar")


def _workers(cluster: Cluster) -> Iterator[int]:
    """Living workers of that cluster: what django-q2 publishes, told apart by the environment of the processes."""
    wanted = f"Q_CLUSTER_NAME={cluster}".encode()
    for pid in {pid for stat in Stat.get_all(get_broker()) for pid in stat.workers}:
        try:
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                yield pid
        except (FileNotFoundError, ProcessLookupError):
            continue
