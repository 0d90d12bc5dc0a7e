"""Secrets at rest: a text column whose value is readable only with a key from the environment."""

from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


class SecretUnreadable(Exception):
    """The stored value was written with a key that JULIA_ENCRYPTION_KEYS no longer lists."""


def _cipher() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.ENCRYPTION_KEYS])


def encrypt(text: str) -> str:
    return _cipher().encrypt(text.encode()).decode() if text else ""


def decrypt(stored: str) -> str:
    """The clear text. Raises SecretUnreadable when no listed key fits; the value itself never appears in the error."""
    if not stored:
        return ""
    try:
        return _cipher().decrypt(stored.encode()).decode()
    except InvalidToken as error:
        raise SecretUnreadable("stored secret does not fit any key in JULIA_ENCRYPTION_KEYS") from error


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """Encrypted with the first key of JULIA_ENCRYPTION_KEYS; the others still decrypt, so a key can be rotated."""

    def get_prep_value(self, value: Any) -> Any:
        return encrypt(value) if value else value

    def from_db_value(self, value: str | None, expression: object, connection: object) -> str | None:
        return decrypt(value) if value else value
