"""Errors to Sentry: off without a DSN, and only what a stranger may read: no phone, no text, no token, no request."""

import logging
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from core import correlation
from core.scrubbing import scrubbed, scrubbed_text

SAME_AGAIN_AFTER_S = 60.0  # an outage is a line a second in the log, and one event a minute there
# Already told, with its stack trace, by the runner of the job.
_TOLD_BEFORE = "JobFailed"
_TAGS = ("job", "papel", "chip_id", "campanha_id", "mensagem_id", "outcome")


class Throttle:
    """One event of a kind per minute and process."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def lets_pass(self, kind: tuple[str, str], now: float) -> bool:
        with self._lock:
            if now - self._told.get(kind, float("-inf")) < SAME_AGAIN_AFTER_S:
                return False
            self._told = {each: at for each, at in self._told.items() if now - at < SAME_AGAIN_AFTER_S}
            self._told[kind] = now
            return True


def configure_sentry(dsn: str, environment: str) -> None:
    """Off without a DSN. No local variables, bodies, breadcrumbs or program arguments leave; the rest is scrubbed."""
    if not dsn:
        return
    import sentry_sdk
    from sentry_sdk.integrations.argv import ArgvIntegration
    from sentry_sdk.integrations.django import DjangoIntegration
    from sentry_sdk.integrations.modules import ModulesIntegration

    throttle = Throttle()

    def before_send(event: Any, hint: dict[str, Any]) -> Any:
        cleaned = clean(event, hint)
        if cleaned is None or not throttle.lets_pass(_kind(cleaned), time.monotonic()):
            return None
        return cleaned

    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        before_breadcrumb=lambda crumb, hint: None,
        before_send=before_send,
        # What we call must not learn of Sentry: no trace headers on calls to providers.
        trace_propagation_targets=[],
        auto_enabling_integrations=False,
        integrations=[DjangoIntegration()],
        disabled_integrations=[ArgvIntegration(), ModulesIntegration()],
    )


def clean(event: dict[str, Any], hint: Mapping[str, Any]) -> dict[str, Any] | None:
    """The event as it may leave, under its correlation id; None for what was told before."""
    record = hint.get("log_record")
    if record is not None and not _take_from(record, event):
        return None
    for gone in ("request", "user", "breadcrumbs", "modules"):
        event.pop(gone, None)
    for value in (event.get("exception") or {}).get("values") or []:
        value["value"] = scrubbed_text(str(value.get("value", "")))
        for frame in (value.get("stacktrace") or {}).get("frames") or []:
            frame.pop("vars", None)
    for name in ("message", "transaction"):
        if event.get(name):
            event[name] = scrubbed_text(str(event[name]))
    for name in ("logentry", "extra"):
        if event.get(name):
            event[name] = scrubbed(event[name])
    known = {**correlation.fields(), **(event.get("extra") or {})}
    tags = {name: known[name] for name in _TAGS if known.get(name)}
    event["tags"] = {**scrubbed(event.get("tags") or {}), **tags, "correlation_id": correlation.peek() or "-"}
    return event


def _take_from(record: logging.LogRecord, event: dict[str, Any]) -> bool:
    """Our records are dictionaries: the constant text names the event, the fields go beside it. False: told before."""
    said: Any = record.msg
    if not isinstance(said, dict):
        event["extra"] = {}
        return not (record.name == "django-q" and _TOLD_BEFORE in record.getMessage())
    fields = {name: value for name, value in said.items() if not name.startswith("_")}
    event["logentry"] = {"message": str(fields.pop("event", "")), "params": []}
    error = fields.pop("exc_info", None)
    event["extra"] = fields
    exc_info = _exc_info(error)
    if exc_info is not None and "exception" not in event:
        import sentry_sdk
        from sentry_sdk.utils import event_from_exception

        found, _ = event_from_exception(exc_info, client_options=sentry_sdk.get_client().options)
        event["exception"] = found["exception"]
    return True


def _exc_info(error: object) -> Any:
    if isinstance(error, BaseException):
        return type(error), error, error.__traceback__
    if isinstance(error, tuple):
        return error if error[0] is not None else None
    return sys.exc_info() if error and sys.exc_info()[0] is not None else None


def _kind(event: Mapping[str, Any]) -> tuple[str, str]:
    values = (event.get("exception") or {}).get("values") or [{}]
    message = (event.get("logentry") or {}).get("message") or event.get("message") or values[-1].get("value", "")
    return str(event.get("logger", "")), f"{message} {values[-1].get('type', '')}"
