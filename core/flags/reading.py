"""Reading settings. Operators change them by page or by SQL, and no process restarts for it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

from django.db import Error, connection

from core.database import rows
from core.flags.registry import InvalidValue, Setting, find, switches

T = TypeVar("T")

CACHE_S = 5.0
_SQL = "SELECT key, value FROM app_settings WHERE key = ANY(%s)"
_seconds = time.monotonic
_cache: dict[str, tuple[float, Any]] = {}


class SettingUnreadable(Exception):
    """A setting that must not be guessed is missing, unlawful or out of reach: hold what it guards."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys
        super().__init__(f"não consegui ler {', '.join(keys)}: o que depende disso fica retido")


class Switches(Mapping[str, bool]):
    """The switches as one statement found them. Reading an unreadable one raises SettingUnreadable."""

    def __init__(self, found: Mapping[str, bool], unreadable: Sequence[str]) -> None:
        self._found = dict(found)
        self.unreadable = frozenset(unreadable)

    def __getitem__(self, key: str) -> bool:
        if key in self.unreadable:
            raise SettingUnreadable(key)
        return self._found[key]

    def __iter__(self) -> Iterator[str]:
        yield from self._found
        yield from self.unreadable

    def __len__(self) -> int:
        return len(self._found) + len(self.unreadable)


@overload
def get(setting: Setting[T], *, fresh: bool = False) -> T: ...
@overload
def get(setting: str, *, fresh: bool = False) -> Any: ...
def get(setting: Setting[Any] | str, *, fresh: bool = False) -> Any:
    """The typed value of a setting, by declaration or by key.

    At most `CACHE_S` old; `fresh`, or being inside a transaction, reads the database now. A missing or unlawful value
    is the default, except where guessing is not allowed: there it raises SettingUnreadable. An unknown key raises
    UnknownSetting.
    """
    if isinstance(setting, str):
        setting = find(setting)
    direct = fresh or connection.in_atomic_block
    known = _cache.get(setting.key)
    if not direct and known is not None and _seconds() - known[0] < CACHE_S:
        return known[1]
    value = _read(setting)
    if not connection.in_atomic_block:  # what a transaction sees may be rolled back
        _cache[setting.key] = (_seconds(), value)
    return value


def read_switches() -> Switches:
    """Every kill switch, from one statement, now. Raises SettingUnreadable for all of them when it fails."""
    declared = switches()
    keys = [setting.key for setting in declared]
    try:
        stored = {row["key"]: row["value"] for row in rows(_SQL, [keys])}
    except Error as error:
        raise SettingUnreadable(*keys) from error
    found: dict[str, bool] = {}
    unreadable: list[str] = []
    for setting in declared:
        try:
            found[setting.key] = setting.validate(stored.get(setting.key))
        except InvalidValue:
            unreadable.append(setting.key)
    return Switches(found, unreadable)


def forget() -> None:
    """Drop what this process remembers, so that the next `get` reads the database."""
    _cache.clear()


def _read(setting: Setting[Any]) -> Any:
    try:
        stored = rows(_SQL, [[setting.key]])
        if stored:
            return setting.validate(stored[0]["value"])
    except (Error, InvalidValue) as error:
        if setting.holds_when_unreadable:
            raise SettingUnreadable(setting.key) from error
        return setting.default
    if setting.holds_when_unreadable:
        raise SettingUnreadable(setting.key)
    return setting.default
