"""Execuções de jobs: what ran, how long it took, what it said; and running one now."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django_q.tasks import async_task
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from core import clock
from core.backoffice import audit, ui
from core.backoffice.admin import PageAdmin
from core.backoffice.moments import span
from core.jobs import registry, runner
from core.jobs.models import JobExecution
from core.jobs.registry import Cluster, InvalidParam, Job, UnknownJob
from core.rights import Right, has_right, require

_TONES = {
    JobExecution.Status.RUNNING: ui.Tone.INFO,
    JobExecution.Status.SUCCESS: ui.Tone.OK,
    JobExecution.Status.ERROR: ui.Tone.BAD,
    JobExecution.Status.TIMEOUT: ui.Tone.BAD,
    JobExecution.Status.SKIPPED: ui.Tone.NEUTRAL,
}


class RunForm(forms.Form):
    """A field per parameter of the job; an empty one keeps the job's default."""

    def __init__(self, data: Any, *, job: Job) -> None:
        super().__init__(data)
        self.job = job
        for param in job.params.values():
            self.fields[param.name] = forms.CharField(
                label=param.name,
                required=False,
                help_text=f"Vazio: {param.default}",
                widget=UnfoldAdminTextInputWidget(),
            )

    def clean(self) -> dict[str, Any]:
        written = {name: value for name, value in (super().clean() or {}).items() if value}
        try:
            return {"params": self.job.read_params(written), "written": written}
        except InvalidParam as refusal:
            raise forms.ValidationError(str(refusal)) from refusal


def run_manual(name: str, written: dict[str, str]) -> dict[str, Any]:
    """A job of the cluster `trabalhos`, started by a person. The row of its run is the record."""
    params = registry.find(name).read_params(written)
    return runner.run(name, now=clock.now(), origem="manual", params=params).body


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
    def quando(self, obj: JobExecution) -> datetime:
        return obj.started_at

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
            "counts": sorted(obj.resultado.items()) if isinstance(obj.resultado, dict) else [],
        }

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("jobs/", view(self.jobs_view), name="core_jobexecution_jobs"),
            path("jobs/<slug:name>/executar/", view(self.run_view), name="core_jobexecution_run"),
            *super().get_urls(),
        ]

    def jobs_view(self, request: HttpRequest) -> HttpResponse:
        """Every registered job with its newest run."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        jobs = sorted(registry.registered(), key=lambda job: job.name)
        newest = _newest_runs()
        may_run = has_right(request.user, Right.JOB_EXECUTAR)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Jobs",
            "jobs": [
                {
                    "job": job,
                    "sla": span(job.sla.total_seconds()),
                    "last": newest.get(job.name),
                    "tone": tone_of(newest[job.name]).value if job.name in newest else "",
                    "run_url": reverse("admin:core_jobexecution_run", args=[job.name]) if may_run else "",
                }
                for job in jobs
            ],
        }
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
            "consequence": "A execução fica registrada como manual. Se o job já estiver rodando, esta é pulada.",
            "back": reverse("admin:core_jobexecution_jobs"),
        }
        return TemplateResponse(request, "backoffice/confirm.html", context)

    def _run_now(self, request: HttpRequest, job: Job, answers: dict[str, Any]) -> HttpResponse:
        """Short jobs run here and now, even with the scheduler dead; long ones go to their cluster."""
        audit.record_named(request, "job_executado", "jobs", job.name, detalhes={"params": answers["written"]})
        if job.cluster is Cluster.TRABALHOS:
            async_task("core.jobs.admin.run_manual", job.name, answers["written"], cluster=job.cluster.value)
            self.message_user(request, f"{job.name} foi para a fila de trabalhos. O resultado aparece em Execuções.")
            return HttpResponseRedirect(reverse("admin:core_jobexecution_changelist"))
        result = runner.run(job.name, now=clock.now(), origem="manual", params=answers["params"])
        if result.status == JobExecution.Status.SKIPPED:
            self.message_user(request, f"{job.name} já estava rodando: esta execução foi pulada.", messages.WARNING)
        elif result.ok:
            self.message_user(request, f"{job.name} terminou: {ui.counted(result.processados, 'item', 'itens')}.")
        else:
            self.message_user(request, f"{job.name} falhou: {result.error}", messages.ERROR)
        return HttpResponseRedirect(reverse("admin:core_jobexecution_jobs"))


def tone_of(execution: JobExecution) -> ui.Tone:
    return _TONES.get(JobExecution.Status(execution.status), ui.Tone.NEUTRAL)


def _newest_runs() -> dict[str, JobExecution]:
    """One probe of `job_executions_by_job` per job, not a pass over the table."""
    names = [job.name for job in registry.registered()]
    found = JobExecution.objects.raw(
        """SELECT e.* FROM unnest(%s::text[]) AS n(name),
           LATERAL (SELECT * FROM job_executions x WHERE x.job_name = n.name ORDER BY x.started_at DESC LIMIT 1) e""",
        [names],
    )
    return {execution.job_name: execution for execution in found}
