"""What settings exist: key, type, default, and what makes a value lawful. Values live in `app_settings`."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Kind(StrEnum):
    SWITCH = "switch"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    TEXT = "text"
    OBJECT = "object"


class InvalidValue(ValueError):
    """The value is not lawful for its key; the text is a sentence for the operator."""


class UnknownSetting(LookupError):
    """No setting has this key; the text names those that exist."""


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """One declared setting.

    `validate` takes parsed JSON and returns the normalised value or raises InvalidValue. Where the stored value is
    missing or unlawful, `holds_when_unreadable` decides: raise, so that whoever asked holds, or take the default.
    `description` is for the operator.
    """

    key: str
    kind: Kind
    default: T
    description: str
    validate: Callable[[object], T]
    holds_when_unreadable: bool = False


_settings: dict[str, Setting[Any]] = {}


def register(setting: Setting[T]) -> Setting[T]:
    """Add a declaration, from `<app>/settings_registry.py` or from here. Raises ValueError for a key used twice."""
    if setting.key in _settings:
        raise ValueError(f"setting {setting.key!r} is declared twice")
    setting.validate(setting.default)
    _settings[setting.key] = setting
    return setting


def find(key: str) -> Setting[Any]:
    """Raises UnknownSetting."""
    try:
        return _settings[key]
    except KeyError:
        raise UnknownSetting(f"ajuste desconhecido: {key!r}. Existem: {', '.join(sorted(_settings))}") from None


def declared() -> list[Setting[Any]]:
    return list(_settings.values())


def switches() -> list[Setting[Any]]:
    return [setting for setting in _settings.values() if setting.kind is Kind.SWITCH]
