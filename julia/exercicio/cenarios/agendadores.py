"""The task clusters of django-q2, in real time: two schedulers at once, and one that hangs."""

from datetime import timedelta

from julia.exercicio.bancada import Bancada
from julia.exercicio.cenario import Minimos, cenario
from julia.exercicio.cenarios.pessoas import OPEN_ALL_DAY
from julia.exercicio.processos import manage

DRAIN = "processar_mensagens_agendadas"
TICKS = 8


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
