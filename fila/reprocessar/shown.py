"""Runs and their filters as operators read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chips.models import Chip
from core.backoffice import moments, ui
from core.database import rows
from core.outcomes import SendOutcome
from fila.campanhas.models import Campanha
from fila.choices import Status
from fila.mensagens import Reprocessamento
from fila.reprocessar.choices import NEXT_STEPS, Recusa
from fila.reprocessar.errors import FiltroInvalido
from fila.reprocessar.filters import Filtros
from guardrails.choices import Kind


@dataclass(frozen=True, slots=True)
class Refused:
    label: str
    count: int
    next_step: str


def refused_lines(counts: Mapping[str, int]) -> list[Refused]:
    """In the order in which the reasons are asked."""
    return [
        Refused(str(reason.label), counts[reason.value], NEXT_STEPS[reason])
        for reason in Recusa
        if counts.get(reason.value)
    ]


def filters_sentence(filtros: Filtros) -> str:
    """ "5 falhas escolhidas" or "todas as falhas de … com …"."""
    if filtros.ids is not None:
        return ui.counted(len(filtros.ids), "falha escolhida", "falhas escolhidas")
    parts: list[str] = []
    if filtros.campanha is not None:
        name = Campanha.objects.filter(pk=filtros.campanha).values_list("nome_template", flat=True).first()
        parts.append(f"da campanha “{name or filtros.campanha}”")
    if filtros.tipo:
        parts.append(f"do tipo {Kind(filtros.tipo).label if filtros.tipo in Kind.values else filtros.tipo}")
    if filtros.outcome:
        parts.append(f"com resultado “{SendOutcome(filtros.outcome).label}”")
    if filtros.motivo:
        parts.append(f"com código que começa por {filtros.motivo}")
    if filtros.chip is not None:
        chip = Chip.objects.filter(pk=filtros.chip).values_list("instance_name", flat=True).first()
        parts.append(f"tentadas por último pelo chip {ui.short_digits(chip or str(filtros.chip))}")
    if filtros.desde is not None:
        parts.append(f"desde {moments.exact(filtros.desde)}")
    if filtros.ate is not None:
        parts.append(f"até {moments.exact(filtros.ate)}")
    sentence = " ".join(["todas as falhas", *parts])
    return f"{sentence}, também as em quarentena" if filtros.quarentena else sentence


def run_sentence(run: Reprocessamento) -> str:
    try:
        return filters_sentence(Filtros.parse(run.filtros))
    except FiltroInvalido:
        return "filtro ilegível"


def counts_of(run: Reprocessamento) -> tuple[int, int, int]:
    """Failures asked for, reprocessed, refused."""
    found = run.resultado
    return (
        int(found.get("total", 0)),
        int(found.get("reprocessadas", 0)),
        sum(int(count) for count in found.get("recusas", {}).values()),
    )


@dataclass(frozen=True, slots=True)
class Died:
    dono: str
    em: str
    lease_ate: str
    juntas: int


def deaths(evidence: Mapping[str, Any]) -> list[Died]:
    """The workers that died with a quarantined message, in Brasília time."""
    found = evidence.get("mortes", ())
    return [
        Died(str(each.get("dono", "")), _exact(each.get("em")), _exact(each.get("lease_ate")), int(each["juntas"]))
        for each in found
        if isinstance(each, dict) and str(each.get("juntas", "")).isdigit()
    ]


def _exact(instant: object) -> str:
    try:
        return moments.exact(datetime.fromisoformat(str(instant)))
    except ValueError:
        return "—"


# reprocessamento's foreign key, then fila_reprocessed_once for each of its failures
_BECAME = """
SELECT n.status, count(*) AS n FROM fila_mensagens_dlq d
JOIN fila_mensagens n ON n.reprocessa_de_id = d.mensagem_original_id
WHERE d.reprocessamento_id = %s GROUP BY n.status
"""


def became(run: Reprocessamento) -> list[dict[str, Any]]:
    """What became of the new messages, as numbers for a page."""
    counts = {row["status"]: row["n"] for row in rows(_BECAME, [run.pk])}
    tones = {Status.ENVIADA: "ok", Status.ERRO: "bad", Status.INCERTA: "warn"}
    return [
        {"label": Status(status).label, "value": ui.number(counts[status]), "tone": tones.get(status, ""), "url": ""}
        for status in Status
        if status in counts
    ]
