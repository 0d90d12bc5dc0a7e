"""The page Jobs: each job's state, its last 24 hours, what comes next. Texts for operators, Brasília time."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from core.backoffice import moments, ui
from core.clock import BRASILIA
from core.jobs import status, strip
from core.jobs.cron import next_fire
from core.jobs.ensaio import DRY_RUN
from core.jobs.registry import Job, Perdida
from core.jobs.sla import Situacao
from core.jobs.status import JobState
from core.jobs.strip import Cell

WORDS = {
    Situacao.EM_DIA: ("em dia", ui.Tone.OK),
    Situacao.ATRASADO: ("atrasado", ui.Tone.BAD),
    Situacao.COMECOU_TARDE: ("começou tarde", ui.Tone.WARN),
    Situacao.DEMORANDO: ("demorando", ui.Tone.WARN),
    Situacao.NUNCA_RODOU: ("nunca rodou", ui.Tone.NEUTRAL),
}
_GRAVEST_FIRST = (Situacao.ATRASADO, Situacao.DEMORANDO, Situacao.COMECOU_TARDE, Situacao.NUNCA_RODOU)
_FAILING = "falhando"
_REASONS = {
    "em_execucao": "a execução anterior ainda não terminou",
    "atrasado": "o horário passou há tempo demais",
    "slot_ja_executado": "este horário já rodou",
}
_MANY = {
    Situacao.ATRASADO: ("atrasado", "atrasados"),
    Situacao.DEMORANDO: ("demorando", "demorando"),
    Situacao.COMECOU_TARDE: ("começou tarde", "começaram tarde"),
    Situacao.NUNCA_RODOU: ("nunca rodou", "nunca rodaram"),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """One half hour of the strip as it is drawn."""

    tone: str
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the page."""

    state: JobState
    word: str
    tone: str
    why: str
    marks: Sequence[Mark]
    summary: str
    sla: str
    missed: str
    next_run: datetime
    runs_url: str
    run_url: str

    @property
    def job(self) -> Job:
        return self.state.job


def lines(now: datetime, *, may_run: bool) -> list[Line]:
    """Every registered job: what needs a person first, critical before others. Two statements."""
    strips = strip.last_24_hours(now)
    found = [_line(state, strips.get(state.name, ()), now, may_run) for state in status.job_states(now)]
    return sorted(found, key=lambda line: (_rank(line.state), not line.job.critical, line.state.name))


def headline(found: Iterable[Line]) -> str:
    """ "2 atrasados, 1 falhando. Os outros 9 estão em dia." """
    counts = Counter(_FAILING if _is_failing(line.state) else line.state.situacao for line in found)
    well = counts[Situacao.EM_DIA]
    parts = [ui.counted(counts[each], *_MANY[each]) for each in _GRAVEST_FIRST if counts[each]]
    if counts[_FAILING]:
        parts.append(ui.counted(counts[_FAILING], "falhando", "falhando"))
    if not parts:
        return f"Os {well} jobs estão em dia." if well > 1 else "O job está em dia." if well else ""
    rest = {0: "", 1: " O outro está em dia."}.get(well, f" Os outros {well} estão em dia.")
    return f"{', '.join(parts)}.{rest}"


def runs_url(name: str) -> str:
    return f"{reverse('admin:core_jobexecution_changelist')}?{urlencode({'q': name})}"


def told(resultado: Any) -> list[tuple[str, Any]]:
    """What a run counted, for its page."""
    if not isinstance(resultado, Mapping):
        return []
    plain = ((name, value) for name, value in resultado.items() if name not in (DRY_RUN, "atraso"))
    return sorted((name, _REASONS.get(value, value) if name == "reason" else value) for name, value in plain)


def told_missed(resultado: Any) -> str:
    """One sentence about planned instants that were missed before this run; empty when there were none."""
    atraso = resultado.get("atraso") if isinstance(resultado, Mapping) else None
    if not isinstance(atraso, Mapping):
        return ""
    since = moments.exact(datetime.fromisoformat(atraso["desde"]))
    rule = "pulado" if atraso["perdida"] == Perdida.PULA else "rodado uma vez"
    late = moments.span(atraso["segundos"])
    return f"Nada rodou desde o horário de {since}. Esta execução veio {late} depois do seu; o que se perde é {rule}."


def _is_failing(state: JobState) -> bool:
    """It runs when it should, and in vain."""
    return state.situacao is Situacao.EM_DIA and (state.newest_failed or state.without_success)


def _rank(state: JobState) -> int:
    if state.situacao in _GRAVEST_FIRST:
        return _GRAVEST_FIRST.index(state.situacao)
    return len(_GRAVEST_FIRST) + (0 if _is_failing(state) else 1)


def _line(state: JobState, cells: Sequence[Cell], now: datetime, may_run: bool) -> Line:
    word, tone = WORDS[state.situacao]
    if state.situacao is Situacao.NUNCA_RODOU and state.is_stale:
        tone = ui.Tone.BAD
    if _is_failing(state):
        word, tone = _FAILING, ui.Tone.BAD if state.without_success else ui.Tone.WARN
    return Line(
        state=state,
        word=word,
        tone=tone.value,
        why=_why(state, now),
        marks=[_mark(cell) for cell in cells],
        summary=_summary(state),
        sla=moments.span(state.job.sla.total_seconds()),
        missed=_missed(state.job),
        next_run=next_fire(state.job.cron, now),
        runs_url=runs_url(state.name),
        run_url=reverse("admin:core_jobexecution_run", args=[state.name]) if may_run else "",
    )


def _why(state: JobState, now: datetime) -> str:
    """One sentence where the word alone does not tell enough."""
    if state.situacao is Situacao.DEMORANDO and state.running_since:
        running = moments.relative(state.running_since, now)
        return f"Rodando {running}; devia levar até {moments.span(state.job.longest.total_seconds())}."
    if state.situacao is Situacao.NUNCA_RODOU:
        when = moments.relative(state.deadline, now)
        return f"Devia ter rodado {when}." if state.is_stale else f"Tem prazo até {moments.exact(state.deadline)}."
    if state.situacao is Situacao.ATRASADO:
        return f"O prazo acabou {moments.relative(min(state.alert_deadline, state.deadline), now)}."
    if state.without_success:
        return "Roda, mas sem sucesso dentro do prazo. Abra a última execução e leia o erro."
    return "A última execução falhou." if state.newest_failed else ""


def _summary(state: JobState) -> str:
    failures = state.errors_24h + state.timeouts_24h
    runs = ui.counted(state.runs_24h, "execução", "execuções")
    return f"{runs} em 24 h, {ui.counted(failures, 'falha', 'falhas')}" if failures else f"{runs} em 24 h"


def _missed(job: Job) -> str:
    if job.perdida is Perdida.PULA:
        return "Um horário perdido é pulado."
    return f"Um horário perdido roda uma vez, até {moments.span(job.catch_up.total_seconds())} depois."


def _mark(cell: Cell) -> Mark:
    start = cell.at.astimezone(BRASILIA)
    end = (cell.at + strip.CELL).astimezone(BRASILIA)
    told = [ui.counted(cell.runs, "execução", "execuções")] if cell.runs else ["nada"]
    if cell.failures:
        told.append(ui.counted(cell.failures, "falha", "falhas"))
    if cell.skipped:
        told.append(ui.counted(cell.skipped, "pulada", "puladas"))
    return Mark(_cell_tone(cell), f"{start:%H:%M} a {end:%H:%M}: {', '.join(told)}")


def _cell_tone(cell: Cell) -> str:
    if cell.failures:
        return "bad" if cell.failures == cell.runs else "warn"
    if cell.runs:
        return "ok"
    return "skipped" if cell.skipped else "none"
