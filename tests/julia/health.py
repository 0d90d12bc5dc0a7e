"""What tests of the health pages share."""

from datetime import UTC, datetime
from typing import Any

from django.test import Client

from core.flags import reading as flags
from core.health.reading import Answer, forget_all
from core.health.registry import Failure
from julia.health import fila

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
CALM = dict.fromkeys((*fila.KEYS, *fila.MORE), 0)


class Here:
    """A lane of this thread, so that a page sees what its test wrote and never commits."""

    def ready(self) -> None:
        """The test's connection is open."""


def body_of(client: Client, path: str, status: int = 200) -> Any:
    """Read anew: what the page before remembered is forgotten."""
    forget_all()
    flags.forget()
    response = client.get(path)
    assert response.status_code == status, response.content
    return response.json()


def answered(**values: Any) -> dict[str, Answer[Any]]:
    return {name: Answer(value, NOW) for name, value in values.items()}


def failed(known: Any = None, at: datetime | None = None) -> Answer[Any]:
    return Answer(known, at, Failure("QueryCanceled", "a leitura passou de 2 segundos"))


def chip_seen(**changed: Any) -> Any:
    facts = {"conectado": True, "trust_score": 85} | changed
    return type("Seen", (), {"facts": type("Facts", (), facts)(), "provider_open": False, **changed})()
