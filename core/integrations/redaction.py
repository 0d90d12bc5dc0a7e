"""Removes what must not be stored, logged or shown: tokens, keys, URLs that carry them, telephone numbers.

`scrub` is for text that a person or a log will read; `scrub_payload` is for JSON that is kept and processed later, so
it leaves telephone numbers and message texts alone.
"""

import re
from collections.abc import Iterable
from typing import Any

REDACTED = "[oculto]"
MAX_DEPTH = 64
SHORTEST_PHONE = 10
MIN_SECRET = 6  # a shorter "secret" would blank ordinary words

# Field names compared without case and punctuation. `destination` and `webhookUrl` echo our own webhook address, and
# with it the secret in its path.
SECRET_FIELDS = frozenset(
    {
        "accesstoken", "accountsid", "apiaccesstoken", "apikey", "apitoken", "authorization", "clienttoken", "cookie",
        "destination", "hash", "jwtkey", "password", "proxyauthorization", "refreshtoken", "secret", "senha",
        "setcookie", "token", "webhookurl", "xapikey", "xinstancesecret", "zapiclienttoken", "zapitoken",
    }
)  # fmt: skip

_FIELD = r"(?:api[_-]?key|x-api-key|client[_-]?token|access[_-]?token|authorization|password|senha|secret|token|hash)"
_SCHEME = r"(?:(?:bearer|basic)\s+)"
_MAY_HOLD_A_SECRET = re.compile(r"[:=/]|(?i:bearer|basic)\s")  # one of these is in whatever a pattern below finds
_PATTERNS = (
    # key: value and "key": "value", also inside query strings and inside JSON that was quoted into JSON
    (
        re.compile(
            rf"""(?i)(?<![a-z])({_FIELD}\\*["']?\s*[:=]\s*\\*["']?)(?!{_SCHEME}?\[oculto\]){_SCHEME}?[^\s"'&,;}}\]\\]+"""
        ),
        r"\1",
    ),
    (re.compile(rf"(?i)\b({_SCHEME})[\w.~+/=-]{{8,}}"), r"\1"),
    # the user and password of an address
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s/@]*(?=@)"), r"\1"),
    # Z-API carries instance and token in the path, Slack the whole credential, our webhooks a secret as last segment
    (re.compile(r"(?i)(/instances/)[^\s/\"']+(/token/)[^\s/\"'?#]+"), rf"\1{REDACTED}\2"),
    (re.compile(r"(?i)(/token/)(?!\[oculto\])[^\s/\"'?#]+"), r"\1"),
    (re.compile(r"(?i)(hooks\.slack\.com/[a-z]+/)[^\s\"'>|]+"), r"\1"),
    (re.compile(r"(?i)(/(?:hooks?|webhooks?)/(?:evolution|zapi|z-api|chatwoot)/)[^\s\"'?#]+"), r"\1"),
)
# The end of a UUID may be all digits.
_PHONE_DIGITS = re.compile(r"(?i)(?<!\d)(?<![0-9a-f]{4}-[0-9a-f]{4}-)\+?\d{6,11}(\d{4})(?!\d)")
# What people put between the digits, also as `repr` and JSON spell it.
_GAP = r"(?:[\s.\u2010-\u2015-]|\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|[tnr])){0,3}"
_PHONE_FORMATTED = re.compile(
    rf"(?<![\d-])(?:\+?55{_GAP})?(?:\(0?\d{{2}}\)|0?\d{{2}}){_GAP}(?:9{_GAP})?\d{{4}}{_GAP}(\d{{4}})(?![\d-])"
)
# What PostgreSQL tells beside its error: the values of the row, and so a message's text. Up to the next traceback.
_ROW_VALUES = re.compile(
    r"\n(?:DETAIL|CONTEXT|QUERY|STATEMENT|WHERE): .*?(?=\n\n(?:The above|During handling)|\Z)", re.DOTALL
)


def scrub(text: str, *, secrets: Iterable[str] = ()) -> str:
    """`text` without credentials and with telephone numbers cut to their last four digits.

    `secrets` are values known to be secret here (a chip's key, the text of the message); they go first, wherever
    they stand. Any run of 10 to 15 digits counts as a telephone, time stamps included.
    """
    text = scrub_secrets(text, secrets=secrets)
    if len(text) < SHORTEST_PHONE:
        return text
    for pattern in (_PHONE_FORMATTED, _PHONE_DIGITS):
        text = pattern.sub(r"***\1", text)
    return text


def scrub_secrets(text: str, *, secrets: Iterable[str] = ()) -> str:
    """`scrub` for the one place that keeps telephone numbers: without credentials and the values of database rows."""
    text = _without(text, secrets)
    if not _MAY_HOLD_A_SECRET.search(text):
        return text
    text = _ROW_VALUES.sub("", text)
    for pattern, kept in _PATTERNS:
        text = pattern.sub(rf"{kept}{REDACTED}", text)
    return text


def scrub_payload(value: Any, *, secrets: Iterable[str] = ()) -> Any:
    """A copy of parsed JSON without its secret fields, and without `secrets` inside its strings.

    What lies deeper than `MAX_DEPTH` is dropped: no provider nests so far, and recursion must end.
    """
    return _scrubbed(value, tuple(secrets), MAX_DEPTH)


def _scrubbed(value: Any, secrets: tuple[str, ...], depth: int) -> Any:
    if depth == 0:
        return REDACTED
    if isinstance(value, dict):
        return {key: _scrubbed(item, secrets, depth - 1) for key, item in value.items() if not _is_secret(key)}
    if isinstance(value, list | tuple):
        return [_scrubbed(item, secrets, depth - 1) for item in value]
    return _without(value, secrets) if isinstance(value, str) else value


def _is_secret(key: object) -> bool:
    return re.sub(r"[^a-z0-9]", "", str(key).lower()) in SECRET_FIELDS


def _without(text: str, secrets: Iterable[str]) -> str:
    if not secrets:
        return text
    for secret in sorted({s for s in secrets if len(s) >= MIN_SECRET}, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text
