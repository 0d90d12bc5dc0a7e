"""The closed list of counters and histograms (names, labels and buckets of S-3 `/metrics`): nothing else is counted.

Every label set that can be said beforehand is in the exposition from the first scrape on, at zero.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product

from django.urls import URLPattern, URLResolver, get_resolver

OTHER = "outro"  # any label value that is not in its closed list
SUCCESS, ERROR = "success", "error"
RESULTS = (SUCCESS, ERROR)

Values = tuple[str, ...]
HTTP_BUCKETS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
INTEGRATION_BUCKETS = (*HTTP_BUCKETS, 60.0)
AGENT_BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

# What is asked of each service. `supabase` is the database: the flush of these counters is timed there.
OPERATIONS: Mapping[str, Values] = {
    "evolution": (
        "send_text", "connection_state", "fetch_instances", "find_messages", "find_status", "set_webhook", OTHER,
    ),
    "zapi": ("send_text", "status", "queue", "set_webhook", OTHER),
    "slack": ("post",),
    "chatwoot": ("message",),
    "anthropic": ("message",),
    "supabase": ("flush",),
}  # fmt: skip
WEBHOOKS = ("evolution", "zapi")
# The inbox's kinds, and two that never reach it: what could not be read, and what nobody was allowed to deliver.
INVALID, REFUSED = "invalido", "recusado"
EVENTS = ("entrada", "eco", "recibo", "conexao", INVALID, REFUSED, OTHER)
MESSAGES = ("texto", "audio", "imagem", "documento", OTHER)
METHODS = ("GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", OTHER)
STATUSES = (
    "200", "201", "202", "204", "206", "301", "302", "303", "304", "400", "401", "403", "404", "405", "409", "413",
    "415", "422", "429", "500", "502", "503", "504", OTHER,
)  # fmt: skip
_AT_ZERO_STATUSES = ("200", "500")
_TIMED_AT_ZERO_STATUSES = ("200",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """`values` answers a label's closed list; `at_zero` the label sets, in the order of `labels`, shown uncounted."""

    name: str
    help: str
    labels: Values
    values: Mapping[str, Callable[[], Values]]
    at_zero: Callable[[], Iterator[Values]]
    buckets: tuple[float, ...] = ()


def _integrations() -> Values:
    return tuple(OPERATIONS)


def _operations() -> Values:
    return tuple(dict.fromkeys(operation for of_one in OPERATIONS.values() for operation in of_one))


def _calls() -> Iterator[Values]:
    return ((integration, operation) for integration, of_one in OPERATIONS.items() for operation in of_one)


def _calls_and_results() -> Iterator[Values]:
    return ((*call, result) for call, result in product(_calls(), RESULTS))


@cache
def jobs() -> Values:
    """Every registered job, by name."""
    from core.jobs.registry import registered  # apps register theirs after this module is read

    return tuple(sorted(job.name for job in registered()))


@cache
def endpoints() -> Values:
    """Every route as the URL configuration writes it: no id, secret or phone of a real path is ever in it."""
    return tuple(sorted({*_routes(get_resolver()), OTHER}))


def _routes(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield route or "/"
        else:
            yield from _routes(entry, route)


def _requests_at_zero(statuses: Values) -> Iterator[Values]:
    """The addresses that machines call. The backoffice's appear with their first request."""
    ours = [route for route in endpoints() if route.startswith(("health", "metrics", "circuits", "jobs/", "webhook"))]
    for route, status in product(ours, statuses):
        yield route, "POST" if route.startswith(("jobs/", "webhook")) else "GET", status


def _constant(*values: str) -> Callable[[], Values]:
    return lambda: values


_HTTP: Mapping[str, Callable[[], Values]] = {
    "endpoint": endpoints,
    "method": _constant(*METHODS),
    "status": _constant(*STATUSES),
}
_RESULT = _constant(*RESULTS)

METRICS: Mapping[str, Declared] = {
    each.name: each
    for each in (
        Declared(
            name="http_requests_total",
            help="Pedidos HTTP atendidos, por rota.",
            labels=tuple(_HTTP),
            values=_HTTP,
            at_zero=lambda: _requests_at_zero(_AT_ZERO_STATUSES),
        ),
        Declared(
            name="http_request_duration_seconds",
            help="Tempo de resposta dos pedidos HTTP, em segundos.",
            labels=tuple(_HTTP),
            values=_HTTP,
            at_zero=lambda: _requests_at_zero(_TIMED_AT_ZERO_STATUSES),
            buckets=HTTP_BUCKETS,
        ),
        Declared(
            name="integration_requests_total",
            help="Chamadas a serviços externos e ao banco, por resultado.",
            labels=("integration", "operation", "status"),
            values={"integration": _integrations, "operation": _operations, "status": _RESULT},
            at_zero=_calls_and_results,
        ),
        Declared(
            name="integration_request_duration_seconds",
            help="Tempo das chamadas a serviços externos e ao banco, em segundos.",
            labels=("integration", "operation"),
            values={"integration": _integrations, "operation": _operations},
            at_zero=_calls,
            buckets=INTEGRATION_BUCKETS,
        ),
        Declared(
            name="operation_total",
            help="Execuções de jobs, por resultado.",
            labels=("operation", "status"),
            values={"operation": jobs, "status": _RESULT},
            at_zero=lambda: product(jobs(), RESULTS),
        ),
        Declared(
            name="operation_duration_seconds",
            help="Tempo das execuções de jobs, em segundos.",
            labels=("operation",),
            values={"operation": jobs},
            at_zero=lambda: product(jobs()),
            buckets=INTEGRATION_BUCKETS,
        ),
        Declared(
            name="webhook_events_total",
            help="Webhooks recebidos dos provedores, por resultado.",
            labels=("webhook_type", "event_type", "status"),
            values={"webhook_type": _constant(*WEBHOOKS), "event_type": _constant(*EVENTS), "status": _RESULT},
            at_zero=lambda: product(WEBHOOKS, EVENTS, RESULTS),
        ),
        Declared(
            name="agent_messages_total",
            help="Mensagens tratadas pelo agente, por resultado.",
            labels=("message_type", "status"),
            values={"message_type": _constant(*MESSAGES), "status": _RESULT},
            at_zero=lambda: product(MESSAGES, RESULTS),
        ),
        Declared(
            name="agent_processing_duration_seconds",
            help="Tempo do agente por mensagem, em segundos.",
            labels=("message_type",),
            values={"message_type": _constant(*MESSAGES)},
            at_zero=lambda: product(MESSAGES),
            buckets=AGENT_BUCKETS,
        ),
    )
}


def closed(declared: Declared, labels: Mapping[str, str]) -> Values:
    """The label values in declared order; what is missing or not in its closed list is `outro`."""
    return tuple(_in_list(labels.get(name, OTHER), declared.values[name]()) for name in declared.labels)


def _in_list(value: str, allowed: Values) -> str:
    return value if value in allowed else OTHER
