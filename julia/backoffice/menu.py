"""The menu, by what people come to do. An entry is shown to whoever may open its page."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from core.rights import Right, has_right


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    def entry(title: str, icon: str, url_name: str, right: Right = Right.VER, below: str = "") -> dict[str, Any]:
        """`below`: also shown as where one is on the pages under this page's address."""
        found = {
            "title": title,
            "icon": icon,
            "link": reverse(f"admin:{url_name}"),
            "permission": lambda _request: has_right(request.user, right),
        }
        if below:
            found["active"] = lambda asked: asked.path.startswith(reverse(f"admin:{below}"))
        return found

    return [
        {
            "title": "Operação",
            "items": [
                entry("Agora", "monitor_heart", "index"),
                entry("Diagnóstico", "troubleshoot", "diagnostico"),
                entry("Alertas", "notifications", "core_alerta_changelist"),
                entry("Campanhas", "campaign", "fila_campanha_changelist"),
                entry("Fila", "outbox", "fila_mensagem_changelist"),
                entry("Falhas definitivas", "report", "fila_mensagemdlq_changelist"),
                entry("Reprocessamentos", "replay", "fila_reprocessamento_changelist"),
                entry("Conversas", "chat", "fila_conversa_changelist"),
                entry("Chips", "sim_card", "chips_chip_changelist"),
                entry("Circuitos", "electrical_services", "core_circuit_changelist"),
            ],
        },
        {
            "title": "Médicos",
            "items": [
                entry("Médicos", "stethoscope", "core_cliente_changelist"),
                entry("Importações", "upload_file", "core_importacao_changelist"),
            ],
        },
        {
            "title": "Sistema",
            "items": [
                entry("Jobs", "schedule", "core_jobexecution_jobs", below="core_jobexecution_changelist"),
                entry("Rastro", "timeline", "rastro"),
                entry("Mudanças de circuitos", "history", "core_circuittransition_changelist"),
                entry("Ajustes", "tune", "core_appsetting_changelist"),
                entry("Resultados de envio", "rule", "chips_regraerro_changelist"),
                entry("Feriados", "event_busy", "guardrails_feriado_changelist"),
                entry("Auditoria", "policy", "core_auditentry_changelist", Right.AUDITORIA_VER),
                entry("Usuários", "group", "auth_user_changelist", Right.USUARIO_GERIR),
            ],
        },
    ]
