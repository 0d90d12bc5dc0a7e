"""The closed set: every result that a send can come to, by its stable code.

Providers name the result; what it means is decided here. A code is never renamed: attempts of the past carry it.
"""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from chips.providers.base import MAX_DETAIL, SendResult
from chips.vocabulario.comuns import NETWORK, OURS
from chips.vocabulario.da_evolution import EVOLUTION
from chips.vocabulario.da_zapi import ZAPI
from chips.vocabulario.rules import Entry, Rule

ENTRIES: Mapping[str, Entry] = MappingProxyType({entry.codigo: entry for entry in (*EVOLUTION, *ZAPI, *NETWORK, *OURS)})
DEFAULTS: Mapping[str, Rule] = MappingProxyType({codigo: entry.rule for codigo, entry in ENTRIES.items()})


def result(
    codigo: str, detail: str = "", *, status: int | None = None, retry_after: timedelta | None = None
) -> SendResult:
    """The result of this name under its default rule. `retry_after`: the `Retry-After` of the answer itself.

    Raises KeyError for a name outside the set.
    """
    entry = ENTRIES[codigo]
    rule = entry.rule
    return SendResult(
        entry.verdict,
        entry.code,
        kind=entry.kind,
        fault=rule.fault,
        retryable=rule.retryable,
        http_status=status,
        detail=detail[:MAX_DETAIL],
        cooldown=rule.rest(retry_after),
        rule=codigo,
        retry_after=retry_after,
        restriction=rule.restriction,
    )
