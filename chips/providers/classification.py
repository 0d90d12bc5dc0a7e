"""Pure parts shared by the providers: results, reading an answer's JSON, and what a failed call means.

Only structure decides a verdict. Words in free text may rest a chip longer, never say that something was not sent.
"""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from chips.providers.base import MAX_DETAIL, Code, ErrorKind, Fault, SendResult, Verdict
from core.integrations.http import describe, never_left, timed_out, unreadable_reply
from core.integrations.redaction import scrub

SESSION_COOLDOWN = timedelta(seconds=60)
AMBIGUOUS_COOLDOWN = timedelta(minutes=15)  # 400, domain reference chips §4.4; also the next four
RATE_LIMIT_COOLDOWN = timedelta(minutes=5)
UNAVAILABLE_COOLDOWN = timedelta(minutes=5)
RESTRICTION_COOLDOWN = timedelta(minutes=30)
FORBIDDEN_COOLDOWN = timedelta(minutes=60)

# A long text is a driver's message that may quote what we sent: its words prove nothing about the chip.
MAX_RESTRICTION_TEXT = 200
_RESTRICTION_CODES = {
    "blocked": Code.BLOCKED,
    "banned": Code.BANNED,
    "restricted": Code.ACCOUNT_RESTRICTED,
    "spam": Code.SPAM_DETECTED,
    "rate limit": Code.RATE_LIMITED,
    "too many": Code.RATE_LIMITED,
    "temporarily unavailable": Code.ACCOUNT_RESTRICTED,
}
_RESTRICTION = re.compile(rf"\b({'|'.join(_RESTRICTION_CODES)})\b", re.IGNORECASE)
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


def not_sent(
    kind: ErrorKind,
    fault: Fault,
    code: Code,
    detail: str,
    *,
    retryable: bool = True,
    status: int | None = None,
    cooldown: timedelta | None = None,
) -> SendResult:
    return SendResult(
        Verdict.NAO_ENVIADA,
        code,
        kind=kind,
        fault=fault,
        retryable=retryable,
        http_status=status,
        detail=detail[:MAX_DETAIL],
        cooldown=cooldown,
    )


def unknown(
    kind: ErrorKind,
    fault: Fault,
    code: Code,
    detail: str,
    *,
    status: int | None = None,
    cooldown: timedelta | None = None,
) -> SendResult:
    return SendResult(
        Verdict.DESCONHECIDA,
        code,
        kind=kind,
        fault=fault,
        http_status=status,
        detail=detail[:MAX_DETAIL],
        cooldown=cooldown,
    )


def unlisted(
    status: int, texts: list[str], detail: str, *, from_provider: bool, retry_after: timedelta | None
) -> SendResult:
    """An answer that no table lists: always unknown; what is left to say is whose trouble it looks like.

    `from_provider` is true for the provider's own error format, false for a page that some proxy may have written.
    """
    if from_provider and (code := restriction_in(texts)):
        return unknown(ErrorKind.RESTRICAO, Fault.CHIP, code, detail, status=status, cooldown=RESTRICTION_COOLDOWN)
    if status == 429:
        pause = retry_after or RATE_LIMIT_COOLDOWN
        return unknown(ErrorKind.RATE_LIMIT, Fault.CHIP, Code.RATE_LIMITED, detail, status=status, cooldown=pause)
    if status == 400:
        return unknown(
            ErrorKind.DESCONHECIDO, Fault.CHIP, Code.UNKNOWN, detail, status=status, cooldown=AMBIGUOUS_COOLDOWN
        )
    if status == 403 and from_provider:
        return unknown(
            ErrorKind.RESTRICAO,
            Fault.CHIP,
            Code.ACCOUNT_RESTRICTED,
            detail,
            status=status,
            cooldown=FORBIDDEN_COOLDOWN,
        )
    if status >= 500:
        rest = (retry_after or UNAVAILABLE_COOLDOWN) if status == 503 else None
        return unknown(ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, detail, status=status, cooldown=rest)
    code = Code.UNKNOWN if status >= 400 else Code.INVALID_REPLY
    return unknown(ErrorKind.DESCONHECIDO, Fault.PROVEDOR, code, detail, status=status)


def failed_call(error: BaseException) -> SendResult:
    """A call that ended without a whole answer: not sent only when its connection was never made."""
    kind, code = failure_words(error)
    if never_left(error):
        return not_sent(kind, Fault.PROVEDOR, code, describe(error))
    return unknown(kind, Fault.PROVEDOR, code, describe(error))


def failure_words(error: BaseException) -> tuple[ErrorKind, Code]:
    if timed_out(error):
        return ErrorKind.TIMEOUT, Code.TIMEOUT
    if unreadable_reply(error):
        return ErrorKind.SERVIDOR, Code.INVALID_REPLY
    return ErrorKind.REDE, Code.NETWORK_ERROR


def restriction_in(texts: Iterable[str]) -> Code | None:
    """The code of the first word of restriction in a short provider text (domain reference chips §4.4)."""
    for text in texts:
        if len(text) <= MAX_RESTRICTION_TEXT and (word := _RESTRICTION.search(text)):
            return _RESTRICTION_CODES.get(word[1].casefold(), Code.ACCOUNT_RESTRICTED)
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
