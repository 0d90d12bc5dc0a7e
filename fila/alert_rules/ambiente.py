"""The lock on all sending, and the kinds of alert that the fila raises where they happen."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from core.alert_rules import DATABASE_AWAY, link, page
from core.alerts.models import Severidade
from core.alerts.rules import Finding, alert_rule, event_alert
from core.database import rows
from core.flags.declared import ENVIO_TRAVADO
from fila import policy
from fila.reconciliacao.evidencia import SENT_TWICE
from fila.rescue import QUARANTINED
from fila.stranded import FLEET_ILL
from guardrails.choices import SwitchState


@alert_rule(
    "ambiente_travado",
    significa="Nada é enviado, nem respostas: o banco parece ser de outro ambiente (uma cópia ou restauração), a trava "
    "não pode ser lida, ou uma pessoa travou os envios.",
    proximo="Se o banco é mesmo deste ambiente, confirme em Ajustes environment, supabase_project_ref e envio_travado, "
    "com motivo. Se é uma cópia, deixe travado.",
    link=lambda _chave: link("core_appsetting_changelist"),
    descanso=timedelta(hours=6),
    inibido_por=(DATABASE_AWAY,),
)
def ambiente_travado(now: datetime) -> Iterator[Finding]:
    state = policy.read().policy.switches.ambiente_travado
    if state is SwitchState.OFF:
        return
    stored = rows("SELECT value FROM app_settings WHERE key = %s", [ENVIO_TRAVADO.key])
    by_hand = bool(stored) and stored[0]["value"] is True
    if by_hand:
        why = "A chave envio_travado está ligada em Ajustes."
    elif state is SwitchState.UNREADABLE:
        why = "A chave envio_travado não pôde ser lida: na dúvida, nada sai."
    else:
        why = "O banco diz ser de outro ambiente que o deste servidor."
    yield Finding(
        severidade=Severidade.INFO if by_hand else Severidade.CRITICAL,
        titulo="O envio está travado",
        mensagem=f"{why} As mensagens esperam na fila; nenhuma sai até alguém confirmar o ambiente.",
        contexto={"trava": "pessoa" if by_hand else state.value},
    )


event_alert(
    FLEET_ILL,
    significa="A maior parte dos chips caiu em 24 h. O que a Julia inicia espera, para não sobrecarregar os que "
    "restam; respostas continuam.",
    proximo="Confira os chips no celular e devolva os bons à produção em Chips. A espera acaba sozinha.",
    link=lambda _chave: link("chips_chip_changelist", status__exact="degraded"),
    inibido_por=(DATABASE_AWAY,),
    escala_apos=timedelta(minutes=30),
)
event_alert(
    QUARANTINED,
    significa="Workers seguidos morreram com a mesma mensagem na mão, antes de enviar. Ela saiu da fila.",
    proximo="Veja o texto e o cadastro do médico em Falhas definitivas, corrija a causa e só então reprocesse.",
    link=lambda _chave: link("fila_mensagemdlq_changelist"),
)
event_alert(
    SENT_TWICE,
    significa="O provedor confirmou uma tentativa que constava como não entregue, e a mensagem já tinha ido de novo: o "
    "médico pode ter recebido duas vezes.",
    proximo="Abra a mensagem na fila e, se for o caso, avise o médico.",
    link=lambda chave: page("fila_mensagem", chave),
)
