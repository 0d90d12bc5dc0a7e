"""Pure parts shared by the providers: results, reading an answer's JSON, and what a failed call means.

Only structure decides a verdict. Words in free text may rest a chip longer, never say that something was not sent.
"""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from chips.providers.base import MAX_DETAIL, Code, ErrorKind, SendResult, Verdict
from chips.vocabulario import catalogo
from core.integrations.http import describe, never_left, timed_out, unreadable_reply
from core.integrations.redaction import scrub

# A long text is a driver's message that may quote what we sent: its words prove nothing about the chip.
MAX_RESTRICTION_TEXT = 200
_RESTRICTIONS = {
    "blocked": "restricao_bloqueado",
    "banned": "restricao_banido",
    "restricted": "restricao_restrito",
    "spam": "restricao_spam",
    "rate limit": "restricao_limite",
    "too many": "restricao_limite",
    "temporarily unavailable": "restricao_restrito",
}
_RESTRICTION = re.compile(rf"\b({'|'.join(_RESTRICTIONS)})\b", re.IGNORECASE)
_MAX_NESTING = 4
_MAX_EVIDENCE = 8_000  # scrubbed whole, then cut: a cut token no longer looks like one


def accepted(message_id: str, *, status: int, remote_jid: str | None = None, queue_id: str | None = None) -> SendResult:
    return SendResult(
        Verdict.ACEITA,
        Code.OK,
        provider_message_id=message_id,
        remote_jid=remote_jid,
        queue_id=queue_id,
        http_status=status,
    )


def unlisted(
    provider: str, status: int, texts: list[str], detail: str, *, from_provider: bool, retry_after: timedelta | None
) -> SendResult:
    """An answer that no table lists: always unknown; what is left to say is whose trouble it looks like.

    `provider` is the first part of the rules' names. `from_provider` is true for the provider's own error format, false
    for a page that some proxy may have written. The status decides before words do: a 429 names its own pause.
    """
    name = _unlisted_name(status, texts, from_provider=from_provider)
    return catalogo.result(f"{provider}.{name}", detail, status=status, retry_after=retry_after)


def _unlisted_name(status: int, texts: list[str], *, from_provider: bool) -> str:
    if status == 429:
        return "http_429"
    if from_provider and (word := restriction_in(texts)):
        return word
    if status in (400, 503) or (status == 403 and from_provider):
        return f"http_{status}"
    if status >= 400:
        return "http_5xx" if status >= 500 else "http_4xx"
    return "http_estranho"


def failed_call(error: BaseException) -> SendResult:
    """A call that ended without a whole answer: not sent only when its connection was never made."""
    kind, _ = failure_words(error)
    if never_left(error):
        name = "rede.tempo_ao_conectar" if kind is ErrorKind.TIMEOUT else "rede.recusada"
    else:
        name = _BROKEN_OFF[kind]
    return catalogo.result(name, describe(error))


_BROKEN_OFF = {
    ErrorKind.TIMEOUT: "rede.tempo",
    ErrorKind.SERVIDOR: "rede.ilegivel",
    ErrorKind.REDE: "rede.perdida",
}


def failure_words(error: BaseException) -> tuple[ErrorKind, Code]:
    if timed_out(error):
        return ErrorKind.TIMEOUT, Code.TIMEOUT
    if unreadable_reply(error):
        return ErrorKind.SERVIDOR, Code.INVALID_REPLY
    return ErrorKind.REDE, Code.NETWORK_ERROR


def restriction_in(texts: Iterable[str]) -> str | None:
    """The rule of the first word of restriction in a short provider text (domain reference chips §4.4)."""
    for text in texts:
        if len(text) <= MAX_RESTRICTION_TEXT and (word := _RESTRICTION.search(text)):
            return _RESTRICTIONS.get(word[1].casefold(), "restricao_restrito")
    return None


def parsed(body: bytes) -> Any:
    """The JSON value, or None for anything that is not JSON (nested beyond reason included)."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def strings_in(value: Any, *, depth: int = _MAX_NESTING) -> Iterator[str]:
    """The strings of a polymorphic message: plain, in lists, in lists of lists, as the values of objects."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings_in(item, depth=depth - 1)


def objects_in(value: Any, *, depth: int = _MAX_NESTING) -> Iterator[dict[str, Any]]:
    """The objects of a polymorphic message, at whatever level of lists they stand."""
    if isinstance(value, dict):
        yield value
    elif depth and isinstance(value, list):
        for item in value:
            yield from objects_in(item, depth=depth - 1)


def told(texts: Iterable[str], body: bytes, *, secrets: Iterable[str]) -> str:
    """The scrubbed evidence of an answer: its message, else the beginning of its body."""
    text = " | ".join(texts) or body[:_MAX_EVIDENCE].decode("utf-8", errors="replace")
    return " ".join(scrub(text[:_MAX_EVIDENCE], secrets=secrets).split())[:MAX_DETAIL]
