"""The page "Por que nada está saindo?": what `manage.py diagnostico` says, on demand, because it asks outside."""

from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse

from core import clock
from core.rights import Right, require
from julia.diagnostico import diagnose, first_blocker


def view(request: HttpRequest) -> TemplateResponse:
    require(request.user, Right.VER)
    findings = diagnose(clock.now())
    context = {
        **admin.site.each_context(request),
        "title": "Por que nada está saindo?",
        "findings": findings,
        "blocker": first_blocker(findings),
    }
    return TemplateResponse(request, "backoffice/diagnostico.html", context)
