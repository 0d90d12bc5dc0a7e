"""Falhas definitivas: what ended as an error and waits for a decision, and the runs that put it back."""

import random
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from core import clock
from core.audit.services import MotivoMissing
from core.backoffice import audit, moments, ui
from core.backoffice.acts import Act
from core.backoffice.admin import PageAdmin
from core.backoffice.forms import MotivoForm
from core.backoffice.timeouts import TooSlow, statement_timeout
from core.outcomes import SendOutcome
from core.rights import Right, has_right, require
from fila.mensagens import Mensagem, MensagemDlq, Reprocessamento
from fila.reprocessar import list_filters, services, shown
from fila.reprocessar.choices import NEXT_STEPS, Recusa
from fila.reprocessar.errors import FiltroInvalido, ReprocessoError
from fila.reprocessar.filters import Filtros
from fila.reprocessar.metrics import obter_metricas_dlq
from fila.reprocessar.planning import judge
from fila.sentences import reason_sentence
from guardrails.choices import Kind

METRICS_DEADLINE_MS = 800
PREVIEW_DEADLINE_MS = 5000
_HIDDEN = ("conteudo", "metadata", "evidencia", "mensagem_original__conteudo", "mensagem_original__metadata")


def _reprocess(request: HttpRequest, falha: MensagemDlq, answers: Mapping[str, Any]) -> str:
    return _reprocess_one(request, falha, answers, forcar=False)


def _force(request: HttpRequest, falha: MensagemDlq, answers: Mapping[str, Any]) -> str:
    return _reprocess_one(request, falha, answers, forcar=True)


def _reprocess_one(request: HttpRequest, falha: MensagemDlq, answers: Mapping[str, Any], *, forcar: bool) -> str:
    new = services.reprocess_one(
        falha.pk,
        actor=audit.actor_of(request),
        motivo=answers["motivo"],
        rng=random.Random(),
        now=clock.database_now(),
        forcar=forcar,
    )
    return f"Uma nova mensagem, {str(new)[:8]}, entrou na fila no lugar desta. Ela aparece abaixo."


def _verdict(falha: MensagemDlq) -> Recusa | None:
    return judge([falha.pk], quarentena=True)[0].recusa


def _consequence(falha: MensagemDlq) -> str:
    refused = _verdict(falha)
    if refused is not None:
        return f"Agora seria recusada: {refused.label}. {NEXT_STEPS[refused]}"
    text = (
        "Uma nova mensagem, com o mesmo texto e para a mesma pessoa, entra na fila; as regras valem de novo para ela."
    )
    if falha.quarentena:
        return f"Esta mensagem está em quarentena: workers morreram com ela na mão. Corrija a causa antes. {text}"
    return text


@admin.register(MensagemDlq)
class MensagemDlqAdmin(PageAdmin[MensagemDlq]):
    page_template = "backoffice/falha.html"
    counted_as = ("falha", "falhas")
    empty_title = "Nenhuma falha a decidir"
    empty_text = "Mensagens que terminaram em erro aparecem aqui até alguém reprocessá-las."
    list_before_template = "backoffice/falhas_topo.html"

    list_display = ("codigo", "medico", "campanha_nome", "tipo_nome", "resultado", "porque", "quando", "situacao")
    list_filter = list_filters.ALL
    list_select_related = ("mensagem_original__cliente", "mensagem_original__campanha")
    search_fields = ("id",)
    search_help_text = "Id da falha ou da mensagem"
    ordering = ("-movido_para_dlq_em", "id")
    sortable_by = ()
    actions = ("reprocessar_selecionadas",)
    acts = (
        Act(
            name="reprocessar",
            label="Reprocessar",
            icon="replay",
            tone="primary",
            right=Right.FILA_REPROCESSAR,
            question="Reprocessar esta falha?",
            consequence=_consequence,
            run=_reprocess,
            applies=lambda falha: _verdict(falha) is None,
            refused=(ReprocessoError, MotivoMissing),
        ),
        Act(
            name="forcar",
            label="Reenviar mesmo assim",
            icon="warning",
            tone="danger",
            right=Right.FILA_REPROCESSAR,
            question="Reenviar, embora uma tentativa possa ter chegado?",
            consequence="O médico pode receber o mesmo texto duas vezes. Confira antes com ele ou no celular do chip.",
            run=_force,
            applies=lambda falha: _verdict(falha) is Recusa.TENTATIVA_DESCONHECIDA,
            refused=(ReprocessoError, MotivoMissing),
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[MensagemDlq]:
        """In lists never the text."""
        of_campaign = ("corpo", "corpo_congelado", "plano")
        return super().get_queryset(request).defer(
            *_HIDDEN, *(f"mensagem_original__campanha__{name}" for name in of_campaign)
        )  # fmt: skip

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[MensagemDlq], search_term: str
    ) -> tuple[QuerySet[MensagemDlq], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            wanted = UUID(term)
        except ValueError:
            self.message_user(request, "Busque pelo id inteiro da falha ou da mensagem.", messages.WARNING)
            return queryset.none(), False
        return queryset.filter(pk=wanted) | queryset.filter(mensagem_original_id=wanted), False

    @display(description="Mensagem")
    def codigo(self, obj: MensagemDlq) -> str:
        return str(obj.mensagem_original_id)[:8]

    @display(description="Médico")
    def medico(self, obj: MensagemDlq) -> SafeString:
        return ui.clipped(str(obj.mensagem_original.cliente))

    @display(description="Campanha")
    def campanha_nome(self, obj: MensagemDlq) -> SafeString | str:
        campanha = obj.mensagem_original.campanha
        return ui.clipped(str(campanha)) if campanha else "—"

    @display(description="Tipo")
    def tipo_nome(self, obj: MensagemDlq) -> str:
        return str(Kind(obj.tipo).label) if obj.tipo in Kind.values else obj.tipo

    @display(description="Resultado")
    def resultado(self, obj: MensagemDlq) -> str:
        return str(SendOutcome(obj.outcome).label) if obj.outcome in SendOutcome.values else obj.outcome or "—"

    @display(description="Motivo")
    def porque(self, obj: MensagemDlq) -> SafeString:
        return ui.clipped(obj.outcome_reason_code or "—")

    @display(description="Falhou")
    def quando(self, obj: MensagemDlq) -> SafeString:
        return ui.moment(obj.movido_para_dlq_em, clock.now())

    @display(description="Situação")
    def situacao(self, obj: MensagemDlq) -> SafeString:
        return status_badge(obj)

    def get_urls(self) -> list[URLPattern]:
        preview = path(
            "reprocessar/", self.admin_site.admin_view(self.reprocess_view), name="fila_mensagemdlq_reprocessar"
        )
        return [preview, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        may = has_right(request.user, Right.FILA_REPROCESSAR) and "situacao" not in request.GET
        context = {
            "dlq": _metrics() if request.method == "GET" else None,
            "reprocess_url": _reprocess_url(request.GET) if may else "",
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def has_reprocessar_permission(self, request: HttpRequest) -> bool:
        return has_right(request.user, Right.FILA_REPROCESSAR)

    @action(description="Reprocessar as selecionadas", permissions=["reprocessar"])
    def reprocessar_selecionadas(self, request: HttpRequest, queryset: QuerySet[MensagemDlq]) -> HttpResponse:
        """To the page that says what would happen; "select all" takes the list's filters along instead of ids."""
        if request.POST.get("select_across") == "1":
            return HttpResponseRedirect(_reprocess_url(request.GET))
        ids = list(queryset.order_by().values_list("pk", flat=True)[: self.list_per_page])
        chosen = QueryDict(mutable=True)
        chosen["ids"] = ",".join(str(pk) for pk in ids)
        return HttpResponseRedirect(_reprocess_url(chosen))

    def reprocess_view(self, request: HttpRequest) -> HttpResponse:
        """GET shows the dry run, POST does what was shown. When it has changed meanwhile, it is shown again.

        Raises PermissionDenied without the right.
        """
        require(request.user, Right.FILA_REPROCESSAR)
        back = reverse("admin:fila_mensagemdlq_changelist")
        now = clock.database_now()
        try:
            filtros = list_filters.filters_of(request.GET.dict(), now)
        except FiltroInvalido as invalid:
            self.message_user(request, invalid.sentence, messages.ERROR)
            return HttpResponseRedirect(back)
        try:
            with statement_timeout(PREVIEW_DEADLINE_MS):
                plano = services.preview(filtros)
        except TooSlow:
            text = "A prévia demorou demais e foi interrompida. Escolha um filtro mais estreito, como um período."
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(back)
        form = MotivoForm(request.POST if request.method == "POST" else None)
        changed = request.method == "POST" and request.POST.get("previsto") != str(plano.reprocessaveis)
        if request.method == "POST" and form.is_valid() and plano.reprocessaveis and not changed:
            return self._start(request, filtros, form.cleaned_data["motivo"], back)
        quarantined = plano.recusas.get(Recusa.QUARENTENA, 0)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Reprocessar falhas",
            "asked": shown.filters_sentence(filtros),
            "plano": plano,
            "refused": shown.refused_lines({reason.value: count for reason, count in plano.recusas.items()}),
            "quarantined": ui.counted(quarantined, "que está", "que estão") if quarantined else "",
            "with_quarantine": _reprocess_url(request.GET, quarentena="1"),
            "background": plano.total > services.AT_ONCE,
            "form": form,
            "changed": changed,
            "back": back,
        }
        return TemplateResponse(request, "backoffice/reprocessar.html", context)

    def _start(self, request: HttpRequest, filtros: Filtros, motivo: str, back: str) -> HttpResponse:
        try:
            run = services.reprocess(
                filtros,
                actor=audit.actor_of(request),
                motivo=motivo,
                rng=random.Random(),
                now=clock.database_now(),
            )
        except ReprocessoError as refusal:
            self.message_user(request, refusal.sentence, messages.ERROR)
            return HttpResponseRedirect(back)
        _total, done, _refused = shown.counts_of(run)
        if run.concluido_em is None:
            self.message_user(request, "O reprocessamento começou em segundo plano. Acompanhe abaixo.", messages.INFO)
        else:
            text = ui.counted(done, "falha reprocessada", "falhas reprocessadas")
            self.message_user(request, f"{text}. As novas mensagens entraram na fila.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:fila_reprocessamento_change", args=[run.pk]))

    def page_context(self, request: HttpRequest, obj: MensagemDlq) -> dict[str, Any]:
        mensagem = obj.mensagem_original
        refused = _verdict(obj)
        new = Mensagem.objects.filter(reprocessa_de_id=obj.mensagem_original_id).only("id", "status").first()
        return {
            "falha": obj,
            "mensagem": mensagem,
            "title": f"Falha da mensagem {str(mensagem.pk)[:8]}",
            "status_badge": status_badge(obj),
            "reason": reason_sentence(obj.outcome_reason_code, obj.outcome),
            "outcome": self.resultado(obj),
            "tipo": self.tipo_nome(obj),
            "refused": f"{refused.label}. {NEXT_STEPS[refused]}" if refused else "",
            "new": new,
            "new_url": reverse("admin:fila_mensagem_change", args=[new.pk]) if new else "",
            "mensagem_url": reverse("admin:fila_mensagem_change", args=[mensagem.pk]),
            "medico_url": reverse("admin:core_cliente_change", args=[mensagem.cliente_id]),
            "campanha_url": (
                reverse("admin:fila_campanha_change", args=[mensagem.campanha_id]) if mensagem.campanha_id else ""
            ),
            "run_url": (
                reverse("admin:fila_reprocessamento_change", args=[obj.reprocessamento_id])
                if obj.reprocessamento_id
                else ""
            ),
            "deaths": shown.deaths(obj.evidencia),
        }


@admin.register(Reprocessamento)
class ReprocessamentoAdmin(PageAdmin[Reprocessamento]):
    page_template = "backoffice/reprocessamento.html"
    empty_title = "Nada foi reprocessado ainda"
    empty_text = "Escolha falhas na página Falhas definitivas; cada vez que alguém reprocessa aparece aqui."

    list_display = ("quando", "quem", "o_que", "pedidas", "reprocessadas", "recusadas", "situacao")
    ordering = ("-iniciado_em",)
    sortable_by = ()

    @display(description="Quando")
    def quando(self, obj: Reprocessamento) -> SafeString:
        return ui.moment(obj.iniciado_em, clock.now())

    @display(description="Quem")
    def quem(self, obj: Reprocessamento) -> str:
        return obj.usuario

    @display(description="Motivo")
    def o_que(self, obj: Reprocessamento) -> SafeString:
        return ui.clipped(obj.motivo)

    @display(description="Falhas")
    def pedidas(self, obj: Reprocessamento) -> str:
        return ui.number(shown.counts_of(obj)[0])

    @display(description="Reprocessadas")
    def reprocessadas(self, obj: Reprocessamento) -> str:
        return ui.number(shown.counts_of(obj)[1])

    @display(description="Recusadas")
    def recusadas(self, obj: Reprocessamento) -> str:
        return ui.number(shown.counts_of(obj)[2])

    @display(description="Situação")
    def situacao(self, obj: Reprocessamento) -> SafeString:
        return run_badge(obj)

    def page_context(self, request: HttpRequest, obj: Reprocessamento) -> dict[str, Any]:
        total, done, refused = shown.counts_of(obj)
        return {
            "run": obj,
            "title": f"Reprocessamento de {moments.exact(obj.iniciado_em)}",
            "badge": run_badge(obj),
            "asked": shown.run_sentence(obj),
            "unfinished": obj.concluido_em is None,
            "progress": ui.progress(done + refused, total) if obj.concluido_em is None else "",
            "numbers": [
                {"label": "falhas pedidas", "value": ui.number(total)},
                {"label": "reprocessadas", "value": ui.number(done), "tone": "ok"},
                {"label": "recusadas", "value": ui.number(refused), "tone": "warn" if refused else ""},
            ],
            "refused": shown.refused_lines(obj.resultado.get("recusas", {})),
            "became": shown.became(obj),
        }


def status_badge(falha: MensagemDlq) -> SafeString:
    if falha.reprocessado:
        return ui.badge("Reprocessada", ui.Tone.OK)
    return ui.badge("Em quarentena", ui.Tone.BAD) if falha.quarentena else ui.badge("A decidir", ui.Tone.WARN)


def run_badge(run: Reprocessamento) -> SafeString:
    return ui.badge("Em andamento", ui.Tone.INFO) if run.concluido_em is None else ui.badge("Concluído", ui.Tone.OK)


def _reprocess_url(query: QueryDict, **extra: str) -> str:
    """The preview of what a list shows: its filters, without what only pages it."""
    kept = query.copy()
    for name in ("p", "q", "o", "all", "situacao", "e"):
        kept.pop(name, None)
    for name, value in extra.items():
        kept[name] = value
    url = reverse("admin:fila_mensagemdlq_reprocessar")
    return f"{url}?{kept.urlencode()}" if kept else url


def _metrics() -> dict[str, Any] | None:
    """None when reading them takes too long: the list is what people came for."""
    try:
        with statement_timeout(METRICS_DEADLINE_MS):
            return obter_metricas_dlq()
    except TooSlow:
        return None
