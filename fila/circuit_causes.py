"""The messages whose failed calls opened a circuit, for the circuit's page."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.urls import reverse

from chips.vocabulario import catalogo
from core.circuits import names
from core.circuits.causes import Cause
from core.circuits.models import CircuitState, CircuitTransition
from core.circuits.transitions import PERMIT
from core.database import rows

LOOK_BACK = timedelta(minutes=15)
MOST = 10

# Per opening one range of tentativas_newest_of_provider or tentativas_newest_of_chip. The last failure and the opening
# commit together, so no call that ended later was behind it.
_FAILED = """
SELECT t.id AS transition_id, f.* FROM unnest(%(ids)s::uuid[], %(of)s::{type}[], %(ats)s::timestamptz[], %(n)s::int[],
    %(backs)s::interval[]) AS t(id, of, em, falhas, back),
LATERAL (
    SELECT e.encerrado_em, e.regra, e.erro, e.origem, e.origem_id FROM envios_tentativas e
    WHERE e.{column} = t.of AND e.iniciado_em > t.em - t.back AND e.iniciado_em <= t.em
        AND e.resultado IN ('rejeitado', 'desconhecido') AND e.encerrado_em <= t.em + interval '1 second'
    ORDER BY e.iniciado_em DESC LIMIT least(greatest(t.falhas, 1), %(most)s)
) f
"""
_OF_PROVIDER = _FAILED.format(type="text", column="provider")
_OF_CHIP = _FAILED.format(type="uuid", column="chip_id")
_PROVIDERS = {names.of_provider(provider): provider for provider in ("evolution", "z-api")}


def find(transitions: Sequence[CircuitTransition]) -> Mapping[UUID, list[Cause]]:
    """At most two statements, whatever the number of changes."""
    opened = [each for each in transitions if each.to_state == CircuitState.OPEN]
    by_provider = [each for each in opened if each.circuit_name in _PROVIDERS]
    by_chip = [each for each in opened if names.chip_of(each.circuit_name) is not None]
    found = _failed(_OF_PROVIDER, by_provider, [_PROVIDERS[each.circuit_name] for each in by_provider])
    found += _failed(_OF_CHIP, by_chip, [names.chip_of(each.circuit_name) for each in by_chip])
    causes: dict[UUID, list[Cause]] = {}
    for row in found:
        causes.setdefault(row["transition_id"], []).append(_cause(row))
    return causes


def _failed(sql: str, transitions: Sequence[CircuitTransition], of: Sequence[Any]) -> list[dict[str, Any]]:
    if not transitions:
        return []
    return rows(
        sql,
        {
            "ids": [each.id for each in transitions],
            "of": list(of),
            "ats": [each.created_at for each in transitions],
            "n": [1 if _is_probe(each) else each.falhas_consecutivas for each in transitions],
            "backs": [PERMIT if _is_probe(each) else LOOK_BACK for each in transitions],
            "most": MOST,
        },
    )


def _is_probe(transition: CircuitTransition) -> bool:
    """A probe that failed opens the circuit again alone, within the life of its permit."""
    return transition.from_state == CircuitState.HALF_OPEN


def _cause(row: Mapping[str, Any]) -> Cause:
    entry = catalogo.ENTRIES.get(row["regra"])
    message = row["origem_id"] if row["origem"] == "fila" else None
    return Cause(
        at=row["encerrado_em"],
        label=f"mensagem {str(message)[:8]}" if message else str(row["origem"]),
        url=reverse("admin:fila_mensagem_change", args=[message]) if message else "",
        sentence=entry.rule.sentence if entry else row["erro"],
    )
