"""Counting requests: by route, never by path, so that no id, phone or secret becomes a label."""

import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from core.metrics import counters
from core.metrics.declared import OTHER


class MetricsMiddleware:
    """Counts every request and how long its answer took; what matches no route is `outro`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = self.get_response(request)
        seconds = time.perf_counter() - started
        match = request.resolver_match
        labels = {
            "endpoint": (match.route or "/") if match else OTHER,
            "method": request.method or OTHER,
            "status": str(response.status_code),
        }
        counters.inc("http_requests_total", labels)
        counters.observe("http_request_duration_seconds", labels, seconds)
        return response
