"""Jobs that look at the alerts of the fila with the evaluator's own code; other limits hold for that one look."""

from datetime import datetime, timedelta

from core.alerts.evaluator import evaluate
from core.jobs.registry import job
from fila.alert_rules import falhas, movimento
from fila.metricas import obter_metricas_fila


@job("verificar_fila_acumulada", cron="*/10 * * * *", sla=timedelta(minutes=30))
def verificar_fila_acumulada(
    now: datetime, limite_pendentes: int = 50, limite_idade_minutos: int = 30
) -> dict[str, int]:
    """Asks whether more than `limite_pendentes` messages that may go are due for more than `limite_idade_minutos`.

    `processados` counts the pending messages, `acumuladas` those of them that are that late.
    """
    wanted = movimento.Limits(limite_pendentes, timedelta(minutes=limite_idade_minutos))
    with movimento.limits(wanted):
        looked = evaluate(now, only=(movimento.PILED_UP,))
    return {
        "processados": int(obter_metricas_fila()["pendentes"]),
        "acumuladas": movimento.backlog(now, wanted).count,
        "alertas": looked.notified,
    }


@job("verificar_erros_acumulados", cron="*/5 * * * *", sla=timedelta(minutes=15))
def verificar_erros_acumulados(now: datetime, limite: int = 10, janela_minutos: int = 5) -> dict[str, int]:
    """Asks whether more than `limite` messages, jobs and webhooks failed within `janela_minutos` (S-36 T03.3).

    `processados` counts the errors seen.
    """
    wanted = falhas.Limits(limite, timedelta(minutes=janela_minutos))
    with falhas.limits(wanted):
        looked = evaluate(now, only=(falhas.ERRORS,))
    return {"processados": falhas.errors(now, within=wanted.janela).count, "alertas": looked.notified}
