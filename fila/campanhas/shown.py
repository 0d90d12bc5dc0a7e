"""A campaign's numbers, plan and audience in the operator's words."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from django.db.models import Count
from django.utils.safestring import SafeString

from core import clock
from core.backoffice import moments, ui
from fila.campanhas import planning
from fila.campanhas.models import Campanha
from fila.campanhas.preview import Preview
from fila.choices import CampanhaStatus, MotivoExclusao, Status
from fila.mensagens import Mensagem
from fila.sentences import reason_sentence

EDITABLE = (CampanhaStatus.RASCUNHO, CampanhaStatus.AGENDADA)
STATUS_TONES = {
    CampanhaStatus.AGENDADA: ui.Tone.INFO,
    CampanhaStatus.ATIVA: ui.Tone.OK,
    CampanhaStatus.PAUSADA: ui.Tone.WARN,
    CampanhaStatus.CANCELADA: ui.Tone.BAD,
}
DAYS_SHOWN = 31


def open_counts(ids: Sequence[int]) -> dict[int, int]:
    """Rows of each campaign that have not ended: partial and campaign indexes only, never what is sent already."""
    found = Mensagem.objects.open().filter(campanha_id__in=ids).values_list("campanha_id").annotate(n=Count("*"))
    return {campanha_id: n for campanha_id, n in found if campanha_id is not None}


def progress_of(campanha: Campanha, open_rows: int) -> SafeString | str:
    """How much of the audience has an end, good or bad."""
    if campanha.status in EDITABLE:
        return "—"
    if campanha.enfileirada_em is None:
        return "Preparando a fila" if campanha.status == CampanhaStatus.ATIVA else "—"
    done = max(0, campanha.total_destinatarios - open_rows)
    return ui.progress(
        done, campanha.total_destinatarios, label=f"{ui.number(done)} de {ui.number(campanha.total_destinatarios)}"
    )


def finish_sentence(look: Preview) -> str:
    if look.termina_em:
        return f"Termina {moments.day_and_time(look.termina_em, clock.now())}."
    return planning.SENTENCES[look.plano.motivo] or "Sem previsão de término."


def status_badge(campanha: Campanha) -> SafeString:
    return ui.badge(campanha.get_status_display(), STATUS_TONES.get(CampanhaStatus(campanha.status), ui.Tone.NEUTRAL))


def excluded_lines(excluidas: Mapping[str, int]) -> list[tuple[str, int]]:
    return [
        (MotivoExclusao(motivo).label if motivo in MotivoExclusao.values else motivo, count)
        for motivo, count in excluidas.items()
    ]


def preview_context(look: Preview) -> dict[str, Any]:
    return {
        "preview": look,
        "preview_excluded": excluded_lines(look.excluidas),
        "preview_finish": finish_sentence(look),
        "preview_days": look.plano.dias[:DAYS_SHOWN],
    }


def plan_days(campanha: Campanha) -> list[tuple[date, int]]:
    """Planned messages per local day; empty before the plan exists."""
    if not campanha.plano.get("segmentos"):
        return []
    return planning.Plan.from_json(campanha.plano).dias[:DAYS_SHOWN]


def audience_lines(campanha: Campanha) -> list[tuple[str, str]]:
    """The filters in words; what does not restrict is left out."""
    filters = campanha.audience_filters or {}
    lines = [
        ("Especialidades", ", ".join(filters.get("especialidades", ())) or "todas"),
        ("Estados", ", ".join(filters.get("estados", ())) or "todos"),
        ("Regiões", ", ".join(filters.get("regioes", ())) or "todas"),
        ("Quantas pessoas", f"até {ui.number(filters.get('quantidade_alvo', 50))}"),
        ("Dias sem contato", str(filters.get("dias_sem_contato", 7))),
        ("Pressão máxima", str(filters.get("pressure_score_max", 50))),
    ]
    if named := filters.get("clientes_especificos"):
        lines = [("Só estes médicos", ui.counted(len(named), "escolhido", "escolhidos")), *lines[3:]]
    if excluded := filters.get("chips_excluidos"):
        lines.append(("Chips que não levam", ui.number(len(excluded))))
    return lines


def newest_failures(campanha: Campanha) -> list[tuple[Mensagem, str]]:
    found = Mensagem.objects.filter(campanha=campanha, status=Status.ERRO).select_related("cliente")
    newest = found.only("id", "outcome", "outcome_reason_code", "outcome_at", "cliente__nome").order_by("-outcome_at")
    return [(row, reason_sentence(row.outcome_reason_code, row.outcome)) for row in newest[:5]]
