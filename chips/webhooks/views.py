"""Where providers deliver: authenticate, store, answer. Whatever an event causes happens later, from the inbox."""

import json
from collections.abc import Callable
from typing import Any, NoReturn

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from chips.choices import InboxKind, ProviderName
from chips.models import Chip
from chips.webhooks import access
from chips.webhooks.parsed import InvalidPayload
from chips.webhooks.parsing import parse
from chips.webhooks.store import store
from core import correlation
from core.circuits.names import of_provider
from core.crypto import SecretUnreadable
from core.logging import get_logger
from core.metrics import counters
from core.metrics.declared import ERROR, INVALID, OTHER, REFUSED, SUCCESS

log = get_logger("chips.webhooks")


class _Refused(Exception):
    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(reason)


@csrf_exempt
@require_POST
def evolution(request: HttpRequest, instance: str = "", secret: str = "") -> JsonResponse:
    """The chip is named by path, by `X-Instance-Name` or by the body's `instance`; they must agree."""

    def deliver() -> JsonResponse:
        body = _body(request)
        names = {instance, request.headers.get("X-Instance-Name", ""), _text(body, "instance")} - {""}
        return _deliver(request, secret, body, names, ProviderName.EVOLUTION)

    return _answer(ProviderName.EVOLUTION, deliver)


@csrf_exempt
@require_POST
def zapi(request: HttpRequest, secret: str = "") -> JsonResponse:
    """The chip is named by the body's `instanceId`."""

    def deliver() -> JsonResponse:
        body = _body(request)
        return _deliver(request, secret, body, {_text(body, "instanceId")} - {""}, ProviderName.ZAPI)

    return _answer(ProviderName.ZAPI, deliver)


@csrf_exempt
@require_POST
def whatsapp(request: HttpRequest) -> JsonResponse:
    """The runbook's alias: Z-API's shape, usually without instance and message id."""

    def deliver() -> JsonResponse:
        body = _body(request)
        name = _text(body, "instanceId")
        chip = access.chip_named(ProviderName.ZAPI, name) if name else access.default_chip()
        return _deliver_to(request, "", body, chip, ProviderName.ZAPI)

    return _answer(ProviderName.ZAPI, deliver)


def _answer(provider: ProviderName, deliver: Callable[[], JsonResponse]) -> JsonResponse:
    """400, 401, 403, 404 and 422 are never delivered again: only what cannot be repaired by waiting gets one."""
    try:
        return deliver()
    except _Refused as refusal:
        # Nobody has asked for the secret yet when a body is too large.
        _count(provider, REFUSED if refusal.status in (401, 413) else INVALID, ERROR)
        said = "Invalid payload" if refusal.status == 400 else "Webhook refused"
        log.warning(said, etapa="webhook", error=refusal.reason)
        return JsonResponse({"status": "error", "reason": refusal.reason}, status=refusal.status)
    except (Error, SecretUnreadable) as error:
        _count(provider, OTHER, ERROR)
        stored = "Failed to save conversation: Supabase error" if isinstance(error, Error) else "credential unreadable"
        log.exception("Webhook error", etapa="webhook", error=stored, error_class=type(error).__name__)
        return JsonResponse({"status": "error", "reason": "unavailable"}, status=503, headers={"Retry-After": "5"})


def _count(provider: ProviderName, event: str, status: str) -> None:
    labels = {"webhook_type": of_provider(provider), "event_type": event, "status": status}
    counters.inc("webhook_events_total", labels)


def _deliver(
    request: HttpRequest, in_path: str, body: dict[str, Any] | None, names: set[str], provider: ProviderName
) -> JsonResponse:
    """`names` are all that the request calls the chip: with none or two of them it is nobody's."""
    one_name = len(names) == 1
    chip = access.chip_named(provider, *names) if one_name else None
    return _deliver_to(request, in_path, body, chip, provider, unnamed=not one_name)


def _deliver_to(
    request: HttpRequest,
    in_path: str,
    body: dict[str, Any] | None,
    chip: Chip | None,
    provider: ProviderName,
    *,
    unnamed: bool = False,
) -> JsonResponse:
    offered = access.offered_secret(request, in_path)
    operator, own = access.is_operator(request, offered), access.is_own(offered, chip)
    if not (operator or own):
        raise _Refused(401, "unauthorized")
    if body is None or unnamed:
        raise _Refused(400, "invalid_payload")
    if chip is None:
        _count(provider, OTHER, SUCCESS)
        return JsonResponse({"status": "ignored", "reason": "unknown_instance"})
    return _stored(body, chip, provider)


def _stored(body: dict[str, Any], chip: Chip, provider: ProviderName) -> JsonResponse:
    try:
        parsed = parse(provider, body)
    except InvalidPayload:
        raise _Refused(400, "invalid_payload") from None
    correlation.hide(parsed.text)
    correlation.note(
        provider=provider.value, instance=chip.instance_name, chip_id=chip.pk, evento=parsed.event,
        kind=parsed.kind.value, phone=parsed.pessoa, mensagem_provedor=parsed.key_ids[0] if parsed.key_ids else "",
    )  # fmt: skip
    new = store(parsed, body, provider=provider, instance=chip.instance_name)
    _count(provider, parsed.kind.value, SUCCESS)
    log.info("Webhook received", etapa="webhook")
    if not new:
        return JsonResponse({"status": "ignored", "reason": "duplicate"})
    if parsed.kind == InboxKind.OUTRO:
        return JsonResponse({"status": "ignored", "reason": parsed.ignored_because})
    return JsonResponse({"status": "received"})


def _body(request: HttpRequest) -> dict[str, Any] | None:
    """The JSON object, or None for anything else. Raises _Refused for more than the limit, without reading it all."""
    try:
        body = json.loads(_read(request), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _read(request: HttpRequest) -> bytes:
    """A chunked body has no length, and Django would take it for an empty one."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length and request.META.get("wsgi.input_terminated"):
        raw: bytes = request.META["wsgi.input"].read(limit + 1)
    elif int(length or 0) > limit:
        raise _Refused(413, "too_large")
    else:
        raw = request.body
    if len(raw) > limit:
        raise _Refused(413, "too_large")
    return raw


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _text(body: dict[str, Any] | None, key: str) -> str:
    value = body.get(key) if body else None
    return value if isinstance(value, str) else ""
