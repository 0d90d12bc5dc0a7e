"""What any value of a log record looks like when it may be read by anybody: no phone, no message text, no secret."""

from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

from core import correlation
from core.integrations.redaction import REDACTED, SECRET_FIELDS, scrub, scrub_secrets

MAX_DEPTH = 8
SHORTEST_LINE = 12  # of a hidden text: an exception may quote a part of it
# Names under which code of ours or of a library carries what a person wrote or was written.
TEXT_FIELDS = frozenset(
    {"body", "conteudo", "conversation", "corpo", "corpocongelado", "mensagemtexto", "payload", "text", "texto"}
)
# Ids and instants of our own making: they may look like a telephone and are none.
EXACT_FIELDS = frozenset(
    {
        "campanha_id", "chip_id", "cliente_id", "conversa_id", "correlation_id", "evento_id", "function", "level",
        "line", "logger", "mensagem_id", "mensagem_provedor", "module", "tentativa", "tentativa_id", "timestamp",
    }
)  # fmt: skip


def scrubbed_text(text: str) -> str:
    return scrub(text, secrets=_hidden())


def scrubbed(value: Any, name: object = "") -> Any:
    """A copy of any depth as plain data; `name` is the field it stands in."""
    return _plain(value, name, _all_gone if correlation.hidden() else scrub, MAX_DEPTH)


def with_phones(value: Any, name: object = "") -> Any:
    """The same for the one place that keeps telephone numbers, the runbook's log file."""
    return _plain(value, name, _all_but_phones if correlation.hidden() else scrub_secrets, MAX_DEPTH)


def _all_gone(text: str) -> str:
    return scrub(text, secrets=_hidden())


def _all_but_phones(text: str) -> str:
    return scrub_secrets(text, secrets=_hidden())


def _hidden() -> list[str]:
    """The texts of this piece of work, as they are, as `repr` spells them, and line by line."""
    found: list[str] = []
    for text in correlation.hidden():
        found += [text, repr(text)[1:-1], *(line for line in text.splitlines() if len(line) >= SHORTEST_LINE)]
    return found


def _plain(value: Any, name: object, clean: Callable[[str], str], depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if name in EXACT_FIELDS:
        return value if isinstance(value, int | str) else str(value)
    if depth == 0 or _is_private(name):
        return REDACTED
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(key)): _plain(item, key, clean, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, "", clean, depth - 1) for item in value]
    if isinstance(value, int | float):
        text = str(value)
        return value if (cleaned := clean(text)) == text else cleaned
    if isinstance(value, bytes | bytearray):
        return clean(bytes(value).decode("utf-8", "replace"))
    return clean(str(value.value if isinstance(value, Enum) else value))


def _is_private(name: object) -> bool:
    return isinstance(name, str) and bool(name) and _is_private_word(name)


@lru_cache(maxsize=1024)
def _is_private_word(name: str) -> bool:
    word = "".join(each for each in name.lower() if each.isalnum())
    return word in SECRET_FIELDS or word in TEXT_FIELDS
