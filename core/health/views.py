"""`GET /health` (alive) and `GET /health/ready` (able to work)."""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from core import clock
from core.health.pages import Answers, Body, Page
from core.health.readiness import readiness
from core.health.registry import CheckResult


class AliveBody(TypedDict):
    status: Literal["healthy"]
    timestamp: str
    service: Literal["julia-api"]


class ReadyBody(TypedDict):
    status: Literal["ready", "not_ready"]
    checks: dict[str, str]
    timestamp: str


def alive(answers: Answers, params: Mapping[str, Any]) -> Body:
    """Touches nothing, so that a liveness probe never restarts a process for a fault of the database."""
    return {"status": "healthy", "timestamp": clock.now().isoformat(), "service": "julia-api"}


def ready(answers: Answers, params: Mapping[str, Any]) -> Body:
    """Bounded and remembered by `readiness` itself."""
    now = clock.now()
    checks = readiness(now)
    return {
        "status": "ready" if all(result.ok for result in checks.values()) else "not_ready",
        "checks": {name: word(result) for name, result in checks.items()},
        "timestamp": now.isoformat(),
    }


def word(result: CheckResult) -> str:
    return "ok" if result.ok else f"error: {result.detail}"


_AT = "2026-03-03T13:00:00+00:00"

HEALTH = Page(
    name="viva",
    summary="A api responde. Não toca em banco nem cache.",
    compose=alive,
    shape=AliveBody,
    example={"status": "healthy", "timestamp": _AT, "service": "julia-api"},
    is_open=True,
)
READY = Page(
    name="pronta",
    summary="A api pode trabalhar: banco e cache respondem. 503 com o que falta.",
    compose=ready,
    shape=ReadyBody,
    example={"status": "ready", "checks": {"redis": "ok", "supabase": "ok"}, "timestamp": _AT},
    code=lambda body: 200 if body["status"] == "ready" else 503,
    codes=(200, 503),
)
