"""What every page of the backoffice knows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static

_ENVIRONMENTS = {
    "production": ("Produção", "danger"),
    "dev": ("Desenvolvimento", "info"),
    "test": ("Testes", "warning"),
}


def everywhere(request: HttpRequest) -> dict[str, Any]:
    return {"demo": settings.DEMO}


def environment(request: HttpRequest) -> tuple[str, str] | None:
    return _ENVIRONMENTS.get(settings.APP_ENV)


def stylesheet(request: HttpRequest) -> str:
    return static("julia/julia.css")


def script(request: HttpRequest) -> str:
    return static("julia/julia.js")


def favicon(request: HttpRequest) -> str:
    return static("julia/favicon.svg")
