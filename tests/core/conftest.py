from datetime import datetime
from typing import Any

import pytest

from core.jobs import registry
from tests.core.some_jobs import register


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs registered by a test disappear with it."""
    monkeypatch.setattr(registry, "_jobs", dict(registry._jobs))


@pytest.fixture
def calls() -> list[Any]:
    return []


@pytest.fixture
def contar(own_registry: None, calls: list[Any]) -> registry.Job:
    """A job that counts how often it ran, and remembers with what."""

    def contar(now: datetime, limite: int = 20, ensaio: bool = False) -> dict[str, int]:
        """Conta."""
        calls.append((now, limite, ensaio))
        return {"processados": len(calls)}

    return register(contar, "contar")
