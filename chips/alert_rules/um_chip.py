"""Alerts about one chip that fails or loses trust, and the kinds that are raised where they happen."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from chips import ejection, slowness
from chips.alert_rules.comuns import DAY, HALF_AN_HOUR, HOUR, WHATSAPP_AWAY, chip_page
from chips.choices import NULL_PROVIDER
from chips.providers.base import ErrorKind
from chips.vocabulario.alertas import AUTHENTICATION, REFUSED
from core.alert_rules import DATABASE_AWAY, circuit_page
from core.alerts.models import Severidade
from core.alerts.rules import Finding, alert_rule, event_alert
from core.backoffice.ui import short_digits
from core.circuits.names import of_chip
from core.database import rows

LOW_TRUST = 40
ERRORS_PER_HOUR, GRAVE_ERRORS_PER_HOUR = 2, 5  # chips reference §4.1
LEAST_CALLS = 5
_ITS_OWN = [ErrorKind.RESTRICAO.value, ErrorKind.SESSAO.value, ErrorKind.DESCONHECIDO.value]

# tentativas_newest_of_provider, one range per provider.
_CHIP_ERRORS = """
SELECT t.chip_id, c.instance_name AS nome, count(*)::int AS chamadas,
       count(*) FILTER (WHERE t.resultado = 'rejeitado' AND t.error_kind = ANY(%(seus)s))::int AS erros
FROM envios_tentativas t JOIN chips c ON c.id = t.chip_id
WHERE t.provider IN ('evolution', 'z-api') AND t.iniciado_em > %(desde)s AND t.iniciado_em <= %(now)s
    AND t.resultado IN ('enviado', 'rejeitado') AND c.status = 'active'
GROUP BY t.chip_id, c.instance_name ORDER BY erros DESC, t.chip_id
"""


@alert_rule(
    "muitos_erros",
    significa="Um chip em produção falha mais que os outros: mais de 2 erros em 1 hora, e boa parte das chamadas dele.",
    proximo="Abra o chip e veja o último erro. Se o WhatsApp o restringe, bloqueie-o antes que ele caia de vez.",
    link=chip_page,
    inibido_por=(DATABASE_AWAY, "circuito_aberto", WHATSAPP_AWAY),
)
def muitos_erros(now: datetime) -> Iterator[Finding]:
    for row in rows(_CHIP_ERRORS, {"desde": now - HOUR, "now": now, "seus": _ITS_OWN}):
        errors, calls = row["erros"], row["chamadas"]
        if errors <= ERRORS_PER_HOUR or calls < LEAST_CALLS or errors * 4 < calls:
            continue
        yield Finding(
            chave=of_chip(row["chip_id"]),
            severidade=Severidade.ERROR if errors > GRAVE_ERRORS_PER_HOUR else Severidade.WARNING,
            titulo=f"Chip {short_digits(row['nome'])}: {errors} erros em 1 h",
            mensagem=f"{errors} de {calls} chamadas dele falharam na última hora (limite {ERRORS_PER_HOUR}).",
            valor=errors,
            limite=ERRORS_PER_HOUR,
            contexto={"chamadas": calls},
            desde=now - HOUR,
        )


@alert_rule(
    "trust_critico",
    significa="Um chip em produção tem confiança abaixo de 40: só responde a quem escreveu, e perto de ser banido.",
    proximo="Deixe-o descansar: bloqueie-o em Chips até a confiança voltar.",
    link=chip_page,
    descanso=timedelta(hours=6),
    inibido_por=(DATABASE_AWAY,),
)
def trust_critico(now: datetime) -> Iterator[Finding]:
    found = rows(
        """SELECT id, instance_name AS nome, trust_score AS trust FROM chips
           WHERE status = 'active' AND tipo = 'julia' AND provider <> %s AND trust_score < %s AND NOT bloqueio_manual
           ORDER BY trust_score, id""",
        [NULL_PROVIDER, LOW_TRUST],
    )
    for row in found:
        yield Finding(
            chave=of_chip(row["id"]),
            severidade=Severidade.CRITICAL,
            titulo=f"Chip {short_digits(row['nome'])} com confiança {row['trust']}",
            mensagem=f"Abaixo de {LOW_TRUST} ele não leva campanhas nem acompanhamentos.",
            valor=row["trust"],
            limite=LOW_TRUST,
        )


# Kinds that are raised where they happen ---------------------------------------------------------------------------

event_alert(
    AUTHENTICATION,
    significa="O provedor recusou as credenciais de um chip, ou elas faltam. Ele não envia até alguém as corrigir.",
    proximo="Confira a chave da instância na página do chip e no provedor. Resolve-se no próximo envio aceito.",
    link=chip_page,
    descanso=timedelta(minutes=15),
    inibido_por=(DATABASE_AWAY,),
    escala_apos=HALF_AN_HOUR,
)
event_alert(
    REFUSED,
    significa="O provedor recusa os nossos pedidos por este chip: o endereço ou o formato está errado.",
    proximo="Confira o endereço do provedor e a versão dele; o detalhe está nas evidências.",
    link=chip_page,
    inibido_por=(DATABASE_AWAY,),
)
event_alert(
    ejection.ALERT,
    significa="O WhatsApp restringiu um chip: a Julia o tirou da produção na hora. Os outros levam as mensagens.",
    proximo="Confira o número no celular. Quando estiver bom, devolva-o à produção na página dele.",
    link=chip_page,
    descanso=DAY,
    inibido_por=(DATABASE_AWAY,),
)
event_alert(
    slowness.ALERT,
    significa="Metade das últimas chamadas a um provedor levou 10 s ou mais: a Julia deixa um só envio por vez nele.",
    proximo="Veja o servidor do provedor. O ritmo volta sozinho quando as respostas voltarem a ser rápidas.",
    link=circuit_page,
    inibido_por=(DATABASE_AWAY, "circuito_aberto"),
)
