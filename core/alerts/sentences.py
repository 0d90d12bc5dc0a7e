"""Why nothing is said of an alert now, as the operator reads it."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings

from core import flags
from core.alerts.models import Alerta
from core.alerts.rules import rule_of
from core.backoffice import moments
from core.database import rows

_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:.]{8,15}[+-][0-9]{2}:?[0-9]{2}$")


def standing_silences(alerts: Sequence[Alerta]) -> dict[Any, Mapping[str, Any]]:
    """By the alert's id, the silence that covers it longest. One statement; served by alerta_silencios_standing."""
    if not alerts:
        return {}
    found = rows(
        """SELECT DISTINCT ON (a.id) a.id, s.chave, s.ate, s.motivo, s.usuario FROM alertas a
           JOIN alerta_silencios s ON s.tipo = a.tipo AND s.chave IN ('', a.chave)
           WHERE a.id = ANY(%s) AND s.ate > agora() AND s.retirado_em IS NULL ORDER BY a.id, s.ate DESC""",
        [[alert.pk for alert in alerts]],
    )
    return {row["id"]: row for row in found}


def why_quiet(alert: Alerta, silence: Mapping[str, Any] | None, now: datetime) -> list[str]:
    """Each reason for which nothing more is sent about an open alert, gravest first; nothing for one that is over."""
    if alert.resolvido_em is not None:
        return []
    rule = rule_of(alert.tipo)
    found = []
    if silence is not None:
        scope = "todos deste tipo" if not silence["chave"] and alert.chave else "este alerta"
        until = moments.day_and_time(silence["ate"], now)
        found.append(f"{silence['usuario']} silenciou {scope} até {until}: “{silence['motivo']}”.")
    if alert.inibido_por:
        found.append(
            f"Há outro alerta aberto que o explica ({alert.inibido_por}). Se aquele terminar e este não, avisa."
        )
    if not rule.notifica:
        found.append("Este tipo só aparece aqui: não é enviado ao Slack.")
    elif not settings.SLACK_WEBHOOK_URL:
        found.append("O Slack não está configurado (SLACK_WEBHOOK_URL): só esta página avisa.")
    elif not flags.get(flags.SLACK_NOTIFICACOES):
        found.append("Os avisos no Slack estão desligados em Ajustes (slack_notificacoes): esperam na fila.")
    if alert.reconhecido:
        found.append(f"{alert.reconhecido_por} assumiu: não há lembretes nem cobranças, só se piorar.")
    elif alert.anunciado_em is None and not found:
        found += _resting(alert, now)
    return found


def evidence(contexto: Any, now: datetime) -> list[tuple[str, str]]:
    """The breakdown of an alert by name, what says nothing left out."""
    found = contexto.items() if isinstance(contexto, Mapping) else ()
    told = ((str(name).replace("_", " "), _told(value, now)) for name, value in sorted(found))
    return [(name, value) for name, value in told if value]


def _told(value: Any, now: datetime) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{str(name).replace('_', ' ')}: {_told(each, now)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(_told(each, now) for each in value)
    if isinstance(value, bool):
        return "sim" if value else "não"
    if value is None or not _INSTANT.match(str(value)):
        return "" if value is None else str(value)
    instant = datetime.fromisoformat(str(value))
    return f"{moments.exact(instant)} ({moments.relative(instant, now)})"


def _resting(alert: Alerta, now: datetime) -> list[str]:
    state = rows("SELECT avisado_em FROM alerta_estados WHERE tipo = %s AND chave = %s", [alert.tipo, alert.chave])
    if not state or state[0]["avisado_em"] is None:
        return ["Os supervisores avaliam a cada 30 segundos: o aviso sai na próxima avaliação."]
    again = moments.day_and_time(state[0]["avisado_em"] + rule_of(alert.tipo).descanso, now)
    return [f"Abriu de novo logo depois de um aviso igual. Se continuar, o próximo aviso sai {again}."]
