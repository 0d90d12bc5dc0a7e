"""Execuções de jobs: what ran, how long it took, what it said; and running one now."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_q.tasks import async_task
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from core import clock
from core.backoffice import audit, moments, ui
from core.backoffice.admin import PageAdmin
from core.backoffice.timeouts import TooSlow, statement_timeout
from core.jobs import page, registry, runner
from core.jobs.ensaio import DRY_RUN
from core.jobs.forms import RunForm
from core.jobs.models import JobExecution
from core.jobs.registry import Cluster, Job, UnknownJob
from core.rights import Right, has_right, require

_TONES = {
    JobExecution.Status.RUNNING: ui.Tone.INFO,
    JobExecution.Status.SUCCESS: ui.Tone.OK,
    JobExecution.Status.ERROR: ui.Tone.BAD,
    JobExecution.Status.TIMEOUT: ui.Tone.BAD,
    JobExecution.Status.SKIPPED: ui.Tone.NEUTRAL,
}


def run_manual(name: str, written: dict[str, str]) -> dict[str, Any]:
    """A job of the cluster `trabalhos`, started by a person. The row of its run is the record."""
    params = registry.find(name).read_params(written)
    return runner.run(name, now=clock.database_now(), origem="manual", params=params).body


class JobExecutionAdmin(PageAdmin[JobExecution]):
    page_template = "backoffice/execucao.html"
    empty_title = "Nenhum job rodou ainda"
    empty_text = (
        "O agendador registra cada execução aqui. Se isto ficar vazio, veja na página inicial se ele está rodando."
    )

    list_display = ("job", "situacao", "quando", "duracao", "itens", "de_onde", "erro_curto")
    list_filter = [("status", ChoicesDropdownFilter)]
    search_fields = ("job_name",)
    search_help_text = "Nome exato do job"
    ordering = ("-started_at",)
    sortable_by = ()
    list_before_template = "backoffice/execucoes_topo.html"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[JobExecution], search_term: str
    ) -> tuple[QuerySet[JobExecution], bool]:
        term = search_term.strip()
        return (queryset.filter(job_name=term) if term else queryset), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With one job searched for, its button stands above its runs."""
        name = request.GET.get("q", "").strip()
        known = any(job.name == name for job in registry.registered()) and has_right(request.user, Right.JOB_EXECUTAR)
        run_url = reverse("admin:core_jobexecution_run", args=[name]) if known else ""
        return super().changelist_view(request, {"of_job": {"name": name, "run_url": run_url}, **(extra_context or {})})

    @display(description="Job")
    def job(self, obj: JobExecution) -> str:
        return obj.job_name

    @display(description="Origem")
    def de_onde(self, obj: JobExecution) -> str:
        return obj.origem

    @display(description="Situação")
    def situacao(self, obj: JobExecution) -> SafeString:
        return ui.badge(obj.get_status_display(), tone_of(obj))

    @display(description="Início")
    def quando(self, obj: JobExecution) -> SafeString:
        return format_html('<time datetime="{}">{}</time>', obj.started_at.isoformat(), moments.exact(obj.started_at))

    @display(description="Duração")
    def duracao(self, obj: JobExecution) -> str:
        return "—" if obj.duration_ms is None else f"{ui.number(obj.duration_ms)} ms"

    @display(description="Itens")
    def itens(self, obj: JobExecution) -> str:
        return "—" if obj.items_processed is None else ui.number(obj.items_processed)

    @display(description="Erro")
    def erro_curto(self, obj: JobExecution) -> str:
        return (obj.error or "—")[:80]

    def page_context(self, request: HttpRequest, obj: JobExecution) -> dict[str, Any]:
        return {
            "execution": obj,
            "title": obj.job_name,
            "tone": tone_of(obj).value,
            "counts": page.told(obj.resultado),
            "missed": page.told_missed(obj.resultado),
            "is_rehearsal": obj.origem == runner.ENSAIO,
            "runs_url": page.runs_url(obj.job_name),
            "trace_url": f"/admin/rastro/?{urlencode({'q': obj.correlation_id})}" if obj.correlation_id else "",
        }

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("jobs/", view(self.jobs_view), name="core_jobexecution_jobs"),
            path("jobs/<slug:name>/executar/", view(self.run_view), name="core_jobexecution_run"),
            *super().get_urls(),
        ]

    def jobs_view(self, request: HttpRequest) -> HttpResponse:
        """Every registered job: state, last 24 hours, what comes next."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        base = {**self.admin_site.each_context(request), "opts": self.opts, "title": "Jobs"}
        try:
            with statement_timeout(self.list_deadline_ms):
                found = page.lines(clock.database_now(), may_run=has_right(request.user, Right.JOB_EXECUTAR))
        except TooSlow:
            return TemplateResponse(request, "backoffice/too_slow.html", base, status=503)
        context = {**base, "lines": found, "headline": page.headline(found)}
        return TemplateResponse(request, "backoffice/jobs.html", context)

    def run_view(self, request: HttpRequest, name: str) -> HttpResponse:
        require(request.user, Right.JOB_EXECUTAR)
        try:
            job = registry.find(name)
        except UnknownJob as unknown:
            raise Http404(str(unknown)) from unknown
        form = RunForm(request.POST if request.method == "POST" else None, job=job)
        if request.method == "POST" and form.is_valid():
            return self._run_now(request, job, form.cleaned_data)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Executar {job.name}",
            "form": form,
            "act": {"question": f"Executar {job.name} agora?", "label": "Executar agora", "tone": "primary"},
            "consequence": _consequence(job),
            "back": reverse("admin:core_jobexecution_jobs"),
        }
        return TemplateResponse(request, "backoffice/confirm.html", context)

    def _run_now(self, request: HttpRequest, job: Job, answers: dict[str, Any]) -> HttpResponse:
        """Short jobs and rehearsals run here and now, even with the scheduler dead; long jobs go to their cluster."""
        rehearsal = bool(answers["params"].get(DRY_RUN))
        audit.record_named(
            request,
            "job_ensaiado" if rehearsal else "job_executado",
            "jobs",
            job.name,
            motivo=answers["motivo"],
            detalhes={"params": answers["written"]},
        )
        if job.cluster is Cluster.TRABALHOS and not rehearsal:
            async_task("core.jobs.admin.run_manual", job.name, answers["written"], cluster=job.cluster.value)
            self.message_user(request, f"{job.name} foi para a fila de trabalhos. O resultado aparece aqui.")
            return HttpResponseRedirect(page.runs_url(job.name))
        result = runner.run(job.name, now=clock.database_now(), origem="manual", params=answers["params"])
        items = ui.counted(result.processados, "item", "itens")
        if result.status == JobExecution.Status.SKIPPED:
            self.message_user(request, f"{job.name} já estava rodando: esta execução foi pulada.", messages.WARNING)
        elif not result.ok:
            self.message_user(request, f"{job.name} falhou: {result.error}", messages.ERROR)
        elif rehearsal:
            self.message_user(request, f"Ensaio de {job.name}: {items}. Nada mudou.")
        else:
            self.message_user(request, f"{job.name} terminou: {items}.")
        return HttpResponseRedirect(reverse("admin:core_jobexecution_change", args=[result.execution_id]))


def _consequence(job: Job) -> str:
    recorded = "A execução fica registrada. Se o job já estiver rodando, esta é pulada."
    if not job.rehearses:
        return recorded
    return f"Este job muda dados. Comece pelo ensaio, que roda por até 20 s e desfaz tudo. {recorded}"


def tone_of(execution: JobExecution) -> ui.Tone:
    return _TONES.get(JobExecution.Status(execution.status), ui.Tone.NEUTRAL)
