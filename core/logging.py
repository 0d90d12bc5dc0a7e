"""Logs: one line per record, with the correlation id in each; secrets and texts never, phones only in the log file."""

import json
import logging
import logging.config
import re
import sys
import time
from collections.abc import Callable, MutableMapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse
from django.utils.functional import LazyObject

from core import correlation
from core.logfile import FileState, file_state
from core.scrubbing import EXACT_FIELDS, scrubbed, with_phones
from core.sentry import configure_sentry

__all__ = ["FileState", "configure_logging", "configure_sentry", "file_state", "get_logger", "logging_config"]

Event = MutableMapping[str, Any]

_SECRET_IN_PATH = re.compile(r"(/webhooks?/(?:evolution|zapi)/(?:[^/]+/)?s/)[^/?]+")
FILE_ONLY = "arquivo"  # the logger for what the terminal is told in another form
_FIRST = ("timestamp", "level", "logger", "message", "module", "function", "line", "correlation_id")
# A value that stands alone in a key=value line; anything else is quoted as in JSON, line breaks escaped.
_BARE = re.compile(r"[^\s\"=\\\x00-\x1f\x7f\u0085\u2028\u2029]+")
_BREAKS = {ord("\u0085"): "\\u0085", ord("\u2028"): "\\u2028", ord("\u2029"): "\\u2029", 0x7F: "\\u007f"}


def _add_work(_: Any, __: str, event: Event) -> Event:
    """What the piece of work knows of itself; the line's own fields win."""
    for name, value in correlation.fields().items():
        event.setdefault(name, value)
    event.setdefault("correlation_id", correlation.peek() or "-")
    return event


def _add_place(_: Any, __: str, event: Event) -> Event:
    record = event.get("_record")
    if record is not None:
        event["module"], event["function"], event["line"] = record.module, record.funcName, record.lineno
    return event


def _scrub_all(_: Any, __: str, event: Event) -> Event:
    """Nested values and unexpected types too. Exceptions are text by now."""
    return {_safe_name(name): scrubbed(value, name) for name, value in event.items()}


def _keep_phones(_: Any, __: str, event: Event) -> Event:
    return {name: with_phones(value, name) for name, value in event.items()}


def _safe_name(name: str) -> str:
    return name if name in EXACT_FIELDS or name.isidentifier() else str(scrubbed(name))


def _in_order(_: Any, __: str, event: Event) -> Event:
    """The constant text under `message`; first what every line has, then what this one adds, the exception last."""
    event["message"] = event.pop("event", "")
    exception = event.pop("exception", None)
    ordered = {name: event.pop(name) for name in _FIRST if name in event}
    ordered.update(sorted(event.items()))
    if exception is not None:
        ordered["exception"] = exception
    return ordered


def key_values(_: Any, __: str, event: Event) -> str:
    """`level=error message="Error processing message" phone=5511…`: whatever it tells of, it is one line."""
    return " ".join(f"{_key(name)}={_value(value)}" for name, value in event.items())


@lru_cache(maxsize=1024)
def _key(name: str) -> str:
    return re.sub(r"[\s=\"\x00-\x1f]", "_", name) or "_"


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False).translate(_BREAKS)


def _processors() -> list[Any]:
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _add_work,
    ]


def _formatter(*steps: Any) -> dict[str, Any]:
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [*_processors(), structlog.stdlib.ExtraAdder()],
        "processors": [
            *([_add_place] if _in_order in steps else []),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            *steps,
        ],
    }


def logging_config(log_format: str, level: str, log_file: str = "") -> dict[str, Any]:
    """`json` for machines; `console` for a person at a terminal. `log_file` empty: none; it takes INFO and worse."""
    console: tuple[Any, ...] = (_scrub_all, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0))
    machines = (_scrub_all, _in_order, structlog.processors.JSONRenderer(ensure_ascii=False))
    handlers: dict[str, Any] = {
        "out": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "line", "level": level}
    }
    everywhere = ["out", *(["file"] if log_file else [])]
    handlers["nowhere"] = {"class": "logging.NullHandler"}
    if log_file:
        handlers["file"] = {
            "()": "core.logfile.DailyFileHandler",
            "path": log_file,
            "formatter": "file",
            "level": "INFO",
        }
    numbers = logging.getLevelNamesMapping()
    finest = min(numbers[level], logging.INFO) if log_file else numbers[level]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": _formatter(*(machines if log_format == "json" else console)),
            "file": _formatter(_keep_phones, _in_order, key_values),
        },
        "handlers": handlers,
        "root": {"handlers": everywhere, "level": finest},
        "loggers": {
            "httpx": {"level": "WARNING"},
            "aiohttp": {"level": "WARNING"},
            "urllib3": {"level": "ERROR"},  # Sentry's own: away is no event of ours
            "django-q": {"level": "WARNING", "handlers": [], "propagate": True},
            "axes": {"level": "WARNING"},
            "django.request": {"level": "ERROR"},
            FILE_ONLY: {"level": "INFO", "handlers": ["file"] if log_file else ["nowhere"], "propagate": False},
        },
    }


def configure_logging(config: dict[str, Any]) -> None:
    structlog.configure(
        processors=[*_processors(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),  # first: loggers made after it tell our place, not structlog's
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(config)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


class AccessLogMiddleware:
    """One line per request: method, path without secrets, status, milliseconds, who. A good `/health` leaves none."""

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
            usuario_id=user_id_of(request),
        )
        return response


def user_id_of(request: HttpRequest) -> int | None:
    """Who asked, where the view already knows: looking it up here would cost every request a query."""
    known = request.__dict__.get("_cached_user") or request.__dict__.get("user")
    if known is None or isinstance(known, LazyObject):
        return None
    found: int | None = getattr(known, "pk", None)
    return found


def masked_path(path: str) -> str:
    """Webhook secrets travel in the path (`…/s/<secret>`): the log shows that one was there, not which."""
    return _SECRET_IN_PATH.sub(r"\1***", path)
