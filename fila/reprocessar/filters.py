"""Which failures a run is about."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from core.clock import BRASILIA
from core.outcomes import SendOutcome
from fila.reprocessar.errors import FiltroInvalido

MOST_IDS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtros:
    """Everything given must hold; nothing given is every failure.

    `motivo` is the start of the reason code, `desde` and `ate` bound the instant of the failure (`ate` excluded),
    `chip` is the one that tried last. `quarentena` asks for quarantined ones too: they are refused otherwise.
    """

    ids: tuple[UUID, ...] | None = None
    campanha: int | None = None
    outcome: str = ""
    motivo: str = ""
    desde: datetime | None = None
    ate: datetime | None = None
    tipo: str = ""
    chip: UUID | None = None
    quarentena: bool = False

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """From text, JSON or a query string; unknown keys are left aside. Raises FiltroInvalido."""
        outcome = str(given.get("outcome") or "")
        if outcome and outcome not in SendOutcome.values:
            raise FiltroInvalido(f"“{outcome[:40]}” não é um resultado. Existem: {', '.join(SendOutcome.values)}.")
        desde, ate = _instant(given, "desde"), _instant(given, "ate")
        if desde and ate and desde >= ate:
            raise FiltroInvalido("O começo do período vem antes do fim.")
        return cls(
            ids=_ids(given.get("ids")),
            campanha=_number(given.get("campanha")),
            outcome=outcome,
            motivo=str(given.get("motivo") or "").strip()[:160],
            desde=desde,
            ate=ate,
            tipo=str(given.get("tipo") or "").strip()[:50],
            chip=_uuid(given["chip"], "chip") if given.get("chip") else None,
            quarentena=str(given.get("quarentena") or "").lower() in ("1", "true", "on", "sim"),
        )

    def as_json(self) -> dict[str, Any]:
        """What was given, readable by `parse`."""
        plain = {
            "ids": [str(each) for each in self.ids] if self.ids is not None else None,
            "campanha": self.campanha,
            "outcome": self.outcome,
            "motivo": self.motivo,
            "desde": self.desde.isoformat() if self.desde else None,
            "ate": self.ate.isoformat() if self.ate else None,
            "tipo": self.tipo,
            "chip": str(self.chip) if self.chip else None,
            "quarentena": self.quarentena,
        }
        return {key: value for key, value in plain.items() if value not in (None, "", False)}

    def as_params(self) -> dict[str, Any]:
        """For `WHERE`, a name each; None where nothing is asked."""
        return {
            "ids": list(self.ids) if self.ids is not None else None,
            "campanha": self.campanha,
            "outcome": self.outcome or None,
            "motivo": f"{_literal(self.motivo)}%" if self.motivo else None,
            "desde": self.desde,
            "ate": self.ate,
            "tipo": self.tipo or None,
            "chip": self.chip,
            "quarentena": self.quarentena,
        }


def _literal(text: str) -> str:
    """As LIKE reads it: nothing in it is a wildcard."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _ids(value: object) -> tuple[UUID, ...] | None:
    if value is None:
        return None
    parts: Iterable[object] = value.replace(",", " ").split() if isinstance(value, str) else value  # type: ignore[assignment]
    found = tuple(sorted({_uuid(each, "id") for each in parts}))
    if len(found) > MOST_IDS:
        raise FiltroInvalido(f"São mais de {MOST_IDS} ids: use um filtro.")
    return found


def _uuid(value: object, name: str) -> UUID:
    try:
        return UUID(str(value))
    except ValueError:
        raise FiltroInvalido(f"“{str(value)[:40]}” não é um {name}: copie o id inteiro.") from None


def _number(value: object) -> int | None:
    if value in (None, ""):
        return None
    if not str(value).isdigit():
        raise FiltroInvalido(f"“{str(value)[:40]}” não é o número de uma campanha.")
    return int(str(value))


def _instant(given: Mapping[str, Any], key: str) -> datetime | None:
    value = given.get(key)
    if not value:
        return None
    try:
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise FiltroInvalido(f"“{str(value)[:40]}” não é uma data: escreva 2026-03-31 ou 2026-03-31T10:00.") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=BRASILIA)
