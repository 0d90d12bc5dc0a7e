"""The page "Rastro": the whole story of one click, webhook or message, in the order in which it happened."""

from typing import Any

from django.contrib import admin
from django.db import DatabaseError
from django.http import HttpRequest
from django.template.response import TemplateResponse

from core.backoffice.timeouts import TooSlow, statement_timeout
from core.rights import Right, has_right, require
from julia import rastro

DEADLINE_MS = 2000


def view(request: HttpRequest) -> TemplateResponse:
    require(request.user, Right.VER)
    term = request.GET.get("q", "").strip()
    context: dict[str, Any] = {**admin.site.each_context(request), "title": "Rastro", "term": term, "story": None}
    try:
        with statement_timeout(DEADLINE_MS):
            if term:
                context["story"] = rastro.story(term, with_acts=has_right(request.user, Right.AUDITORIA_VER))
    except TooSlow:
        context["error"] = "A procura passou de 2 s e foi interrompida. Procure pelo id de uma mensagem."
    except DatabaseError as error:
        context["error"] = f"Não foi possível ler do banco ({type(error).__name__}). Veja /health/ready."
    return TemplateResponse(request, "backoffice/rastro.html", context)
