"""Alerts about this installation as a whole: its log file, its processes."""

from collections.abc import Iterator
from datetime import datetime

from core.alert_rules import DATABASE_AWAY, DIAGNOSIS
from core.alerts.models import Severidade
from core.alerts.rules import Finding, alert_rule, event_alert
from core.backoffice.moments import day_and_time
from core.backoffice.ui import number
from core.health import beats
from core.logfile import file_state
from julia.supervisor.recorder import STUCK


@alert_rule(
    "disco_do_log",
    significa="O arquivo de log não recebe mais linhas. Nada mais para: a Julia segue enviando, mas o que acontece "
    "agora não fica escrito.",
    proximo="Na máquina indicada, libere espaço no disco do log ou corrija a permissão do diretório. As linhas voltam "
    "sozinhas; as perdidas não.",
    link="/admin/",
    inibido_por=(DATABASE_AWAY,),
)
def disco_do_log(now: datetime) -> Iterator[Finding]:
    """Of the machine that evaluates: another one tells of itself when it holds the lease."""
    state = file_state()
    if state.ok:
        return
    since = f" desde {day_and_time(state.since, now)}" if state.since else ""
    machine = beats.machine()
    yield Finding(
        chave=machine,
        severidade=Severidade.ERROR,
        titulo=f"O log de {machine} não é gravado",
        mensagem=f"{state.error[:1].upper()}{state.error[1:]}{since}; {number(state.lost)} linhas perdidas.",
        valor=state.lost,
        contexto={"maquina": machine, "livre_bytes": state.free_bytes},
        desde=state.since,
    )


event_alert(
    STUCK,
    significa="Um processo vivia sem avançar. O supervisor o encerrou e o inicia de novo, sem ação de ninguém.",
    proximo="Nada, se ele voltar. Se travar de novo, veja as últimas linhas dele no log e rode python manage.py "
    "diagnostico.",
    link=DIAGNOSIS,
    inibido_por=(DATABASE_AWAY,),
)
