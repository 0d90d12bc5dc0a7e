"""Logs: one line per record, with the correlation id in each; secrets never, phones and texts never."""

import logging
import logging.config
import re
import sys
import time
from collections.abc import Callable, MutableMapping
from http import HTTPStatus
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse

from core import correlation
from core.integrations.redaction import scrub

_SECRET_IN_PATH = re.compile(r"(/webhooks?/(?:evolution|zapi)/(?:[^/]+/)?s/)[^/?]+")


def _add_correlation(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.setdefault("correlation_id", correlation.peek() or "-")
    return event


def _scrub_texts(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str) and key not in ("timestamp", "correlation_id", "level", "logger"):
            event[key] = scrub(value)
    return event


def _processors() -> list[Any]:
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _add_correlation,
    ]


def logging_config(log_format: str, level: str) -> dict[str, Any]:
    """`json` for machines; `console` for a person at a terminal."""
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [*_processors(), structlog.stdlib.ExtraAdder()],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    _scrub_texts,
                    renderer,
                ],
            }
        },
        "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "line"}},
        "root": {"handlers": ["out"], "level": level},
        "loggers": {
            "httpx": {"level": "WARNING"},
            "aiohttp": {"level": "WARNING"},
            "django-q": {"level": "WARNING", "handlers": [], "propagate": True},
            "axes": {"level": "WARNING"},
            "django.request": {"level": "ERROR"},
        },
    }


def configure_logging(config: dict[str, Any]) -> None:
    logging.config.dictConfig(config)
    structlog.configure(
        processors=[*_processors(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def configure_sentry(dsn: str, environment: str) -> None:
    """Off without a DSN. Local variables and request bodies never leave; what leaves is scrubbed."""
    if not dsn:
        return
    import sentry_sdk

    def scrubbed(event: Any, hint: dict[str, Any]) -> Any:
        for value in (event.get("exception") or {}).get("values", []):
            value["value"] = scrub(str(value.get("value", "")))
        if "message" in event:
            event["message"] = scrub(str(event["message"]))
        event.pop("request", None)
        return event

    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        before_send=scrubbed,
    )


class AccessLogMiddleware:
    """One line per request: method, path without secrets, status, milliseconds. A good `/health` leaves none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.log = get_logger("acesso")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.monotonic()
        response = self.get_response(request)
        if request.path == "/health" and response.status_code == HTTPStatus.OK:
            return response  # the supervisor asks every few seconds
        self.log.info(
            "request",
            method=request.method,
            path=masked_path(request.path),
            status=response.status_code,
            ms=round((time.monotonic() - started) * 1000),
        )
        return response


def masked_path(path: str) -> str:
    """Webhook secrets travel in the path (`…/s/<secret>`): the log shows that one was there, not which."""
    return _SECRET_IN_PATH.sub(r"\1***", path)
