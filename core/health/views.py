"""`GET /health` (alive) and `GET /health/ready` (able to work): no trailing slash, no credentials, no driver texts."""

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from core import clock
from core.api import bearer_of, same_secret
from core.health.readiness import readiness
from core.health.registry import CheckResult


@require_safe
def health(_request: HttpRequest) -> JsonResponse:
    """Touches nothing, so that a liveness probe never restarts a process for a fault of the database."""
    return JsonResponse({"status": "healthy", "timestamp": clock.now().isoformat(), "service": "julia-api"})


@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 only when every check is `ok`, else 503 with the failing one named."""
    if settings.HEALTH_TOKEN and not same_secret(bearer_of(request), settings.HEALTH_TOKEN):
        refusal = JsonResponse({"status": "error", "message": "Envie Authorization: Bearer HEALTH_TOKEN."}, status=401)
        refusal["WWW-Authenticate"] = "Bearer"
        return refusal
    now = clock.now()
    checks = readiness(now)
    is_ready = all(result.ok for result in checks.values())
    body = {
        "status": "ready" if is_ready else "not_ready",
        "checks": {name: _word(result) for name, result in checks.items()},
        "timestamp": now.isoformat(),
    }
    return JsonResponse(body, status=200 if is_ready else 503)


def _word(result: CheckResult) -> str:
    return "ok" if result.ok else f"error: {result.detail}"
