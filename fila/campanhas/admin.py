"""Campanhas: list, form with preview, and the page from which a campaign is started, watched and stopped."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from core import clock
from core.backoffice import audit, moments, ui
from core.backoffice.acts import Act, Button
from core.backoffice.admin import PageAdmin
from core.backoffice.forms import ConfirmForm
from core.rights import Right, has_right, require
from fila.campanhas import services, status
from fila.campanhas.errors import CampanhaError, CampanhaInvalida
from fila.campanhas.forms import CampanhaForm, TestForm
from fila.campanhas.models import Campanha
from fila.campanhas.preview import preview
from fila.campanhas.shown import (
    EDITABLE,
    audience_lines,
    excluded_lines,
    finish_sentence,
    newest_failures,
    open_counts,
    plan_days,
    preview_context,
    progress_of,
    status_badge,
)
from fila.campanhas.textos import text_of
from fila.choices import CampanhaStatus
from fila.sentences import reason_sentence

OPEN_STATES = (*EDITABLE, CampanhaStatus.ATIVA, CampanhaStatus.PAUSADA)


def _start(request: HttpRequest, campanha: Campanha, answers: Mapping[str, Any]) -> str:
    services.request_start(campanha.pk, actor=audit.actor_of(request), now=clock.now())
    return f"“{campanha}” foi iniciada. As mensagens entram na fila em segundo plano; acompanhe o progresso abaixo."


def _test(request: HttpRequest, campanha: Campanha, answers: Mapping[str, Any]) -> str:
    telefone = answers["telefone"]
    message_id = services.test_send(campanha.pk, telefone=telefone, actor=audit.actor_of(request), now=clock.now())
    return (
        f"O teste entrou na fila como mensagem {message_id}. Procure por este id na página Fila para ver o resultado."
    )


def _pause(request: HttpRequest, campanha: Campanha, answers: Mapping[str, Any]) -> str:
    services.pause(campanha.pk, motivo=answers["motivo"], actor=audit.actor_of(request), now=clock.now())
    return f"“{campanha}” está pausada. As mensagens esperam na fila; nenhuma se perde."


def _resume(request: HttpRequest, campanha: Campanha, answers: Mapping[str, Any]) -> str:
    services.resume(campanha.pk, motivo=answers["motivo"], actor=audit.actor_of(request), now=clock.now())
    return f"“{campanha}” voltou a enviar."


def _cancel(request: HttpRequest, campanha: Campanha, answers: Mapping[str, Any]) -> str:
    count = services.cancel(campanha.pk, motivo=answers["motivo"], actor=audit.actor_of(request), now=clock.now())
    return f"“{campanha}” foi cancelada, e com ela {ui.counted(count, 'mensagem', 'mensagens')} que ainda esperavam."


def _start_consequence(campanha: Campanha) -> str:
    look = preview(campanha, now=clock.now())
    if look.erros:
        return "Ainda não pode começar: " + " ".join(look.erros)
    return (
        f"{ui.counted(look.total, 'pessoa recebe', 'pessoas recebem')} a mensagem. {finish_sentence(look)} "
        "O texto fica congelado. Dá para pausar a qualquer momento."
    )


def _waiting(campanha: Campanha) -> str:
    """ "1 mensagem espera", "120 mensagens esperam"."""
    return ui.counted(open_counts([campanha.pk]).get(campanha.pk, 0), "mensagem espera", "mensagens esperam")


@admin.register(Campanha)
class CampanhaAdmin(PageAdmin[Campanha]):
    page_template = "backoffice/campanha.html"
    add_right = Right.CAMPANHA_EDITAR
    change_right = Right.CAMPANHA_EDITAR
    add_label = "Criar campanha"
    empty_title = "Nenhuma campanha ainda"
    empty_text = "Crie a primeira: escolha o público, escreva o texto e veja a prévia antes de enviar qualquer coisa."

    list_display = ("nome", "situacao", "progresso", "tipo", "termina", "criada_por", "criada")
    list_filter = [("status", ChoicesDropdownFilter), ("tipo_campanha", ChoicesDropdownFilter)]
    search_fields = ("nome_template",)
    search_help_text = "Parte do nome"
    ordering = ("-id",)
    sortable_by = ()
    acts = (
        Act(
            name="iniciar",
            label="Iniciar",
            icon="play_arrow",
            tone="primary",
            right=Right.CAMPANHA_INICIAR,
            question="Iniciar esta campanha?",
            consequence=_start_consequence,
            run=_start,
            form=ConfirmForm,
            applies=lambda campanha: campanha.status in EDITABLE,
            refused=(CampanhaError,),
        ),
        Act(
            name="testar",
            label="Enviar teste",
            icon="outgoing_mail",
            right=Right.CAMPANHA_TESTAR,
            question="Enviar um teste a um número?",
            consequence="Uma mensagem com este texto sai pela fila, com as mesmas regras de horário e limites.",
            run=_test,
            form=TestForm,
            applies=lambda campanha: campanha.status != CampanhaStatus.CANCELADA,
            refused=(CampanhaError,),
        ),
        Act(
            name="pausar",
            label="Pausar",
            icon="pause",
            tone="danger",
            right=Right.CAMPANHA_PARAR,
            question="Pausar esta campanha?",
            consequence=lambda campanha: (
                f"Nenhuma mensagem nova sai: {_waiting(campanha)} na fila até alguém retomar. O que já está no fio "
                "termina."
            ),
            run=_pause,
            applies=lambda campanha: campanha.status == CampanhaStatus.ATIVA,
            refused=(CampanhaError,),
        ),
        Act(
            name="retomar",
            label="Retomar",
            icon="play_arrow",
            tone="primary",
            right=Right.CAMPANHA_INICIAR,
            question="Retomar esta campanha?",
            consequence="As mesmas mensagens voltam a sair, com opt-outs e limites conferidos de novo em cada uma.",
            run=_resume,
            applies=lambda campanha: campanha.status == CampanhaStatus.PAUSADA,
            refused=(CampanhaError,),
        ),
        Act(
            name="cancelar",
            label="Cancelar campanha",
            icon="cancel",
            tone="danger",
            right=Right.CAMPANHA_PARAR,
            question="Cancelar esta campanha?",
            consequence=lambda campanha: (
                f"Não tem volta: tudo o que ainda espera é cancelado. Agora {_waiting(campanha)}. Para parar por um "
                "tempo, pause."
            ),
            run=_cancel,
            applies=lambda campanha: campanha.status in OPEN_STATES,
            refused=(CampanhaError,),
        ),
    )

    def prepare(self, request: HttpRequest, page: Sequence[Campanha]) -> None:
        started = [campanha.pk for campanha in page if campanha.status not in EDITABLE]
        counts = open_counts(started) if started else {}
        for campanha in page:
            campanha.abertas = counts.get(campanha.pk, 0)  # type: ignore[attr-defined]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Campanha], search_term: str
    ) -> tuple[QuerySet[Campanha], bool]:
        term = search_term.strip()
        return (queryset.filter(nome_template__icontains=term) if term else queryset), False

    @display(description="Nome")
    def nome(self, obj: Campanha) -> str:
        return obj.nome_template

    @display(description="Situação")
    def situacao(self, obj: Campanha) -> SafeString:
        return status_badge(obj)

    @display(description="Progresso")
    def progresso(self, obj: Any) -> SafeString | str:
        return progress_of(obj, obj.abertas)

    @display(description="Tipo")
    def tipo(self, obj: Campanha) -> str:
        return obj.get_tipo_campanha_display()

    @display(description="Término previsto")
    def termina(self, obj: Campanha) -> str:
        if obj.status != CampanhaStatus.ATIVA or obj.termina_em is None:
            return "—"
        return moments.day_and_time(obj.termina_em, clock.now())

    @display(description="Criada por")
    def criada_por(self, obj: Campanha) -> str:
        return obj.created_by or "—"

    @display(description="Criada")
    def criada(self, obj: Campanha) -> SafeString:
        return ui.moment(obj.created_at, clock.now())

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:object_id>/previa/", view(self.preview_view), name="fila_campanha_preview"),
            path("<int:object_id>/duplicar/", view(self.duplicate_view), name="fila_campanha_duplicate"),
            path("<int:object_id>/excluir/", view(self.discard_view), name="fila_campanha_discard"),
            *super().get_urls(),
        ]

    def buttons(self, request: HttpRequest, obj: Campanha) -> list[Button]:
        found = super().buttons(request, obj)
        if obj.status in EDITABLE:
            found.append(Button("Prévia", reverse("admin:fila_campanha_preview", args=[obj.pk]), icon="visibility"))
        if has_right(request.user, Right.CAMPANHA_EDITAR):
            if obj.status in EDITABLE:
                found.append(Button("Editar", self.edit_url(obj), icon="edit"))
            found.append(
                Button("Duplicar", reverse("admin:fila_campanha_duplicate", args=[obj.pk]), icon="content_copy")
            )
            if obj.status == CampanhaStatus.RASCUNHO:
                discard = reverse("admin:fila_campanha_discard", args=[obj.pk])
                found.append(Button("Excluir rascunho", discard, "danger", "delete"))
        return found

    def page_context(self, request: HttpRequest, obj: Campanha) -> dict[str, Any]:
        numbers = status.summary(obj.pk)
        ended = numbers["enfileiradas"] - numbers["pendentes"] - numbers["incertas"]
        return {
            "campanha": obj,
            "status_badge": status_badge(obj),
            "numbers": numbers,
            "progress": ui.progress(
                ended, numbers["audiencia"], label=f"{ui.number(ended)} de {ui.number(numbers['audiencia'])}"
            ),
            "preparing": obj.status == CampanhaStatus.ATIVA and obj.enfileirada_em is None,
            "waits": reason_sentence(numbers["espera_por"]),
            "excluded": excluded_lines(numbers["excluidas"]),
            "days": plan_days(obj),
            "texto": obj.corpo_congelado or text_of(obj),
            "audience": audience_lines(obj),
            "failures": newest_failures(obj),
            "fila_url": f"{reverse('admin:fila_mensagem_changelist')}?campanha={obj.pk}",
            "entries": audit.entries_of(obj),
        }

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        return self._form_page(request, None)

    def edit_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request.user, Right.CAMPANHA_EDITAR)
        campanha = self._get(request, object_id)
        if campanha.status not in EDITABLE:
            text = "Só rascunhos e campanhas agendadas podem ser editados. Duplique esta para criar outra."
            self.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(self.page_url(campanha))
        return self._form_page(request, campanha)

    def preview_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Who would receive it, what they would read, and when it would end. Writes nothing."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        campanha = self._get(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": campanha,
            "title": f"Prévia: {campanha}",
            "buttons": self.buttons(request, campanha)[:1],
            "back": self.page_url(campanha),
            **preview_context(preview(campanha, now=clock.now())),
        }
        return TemplateResponse(request, "backoffice/campanha_previa.html", context)

    def duplicate_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        require(request.user, Right.CAMPANHA_EDITAR)
        campanha = self._get(request, object_id)
        if request.method == "POST":
            copy = services.duplicate(campanha.pk, actor=audit.actor_of(request), now=clock.now())
            self.message_user(request, "Cópia criada como rascunho: revise e inicie quando quiser.", messages.SUCCESS)
            return HttpResponseRedirect(self.page_url(copy))
        act = {"question": "Duplicar esta campanha?", "label": "Duplicar", "tone": "primary"}
        consequence = "Cria um rascunho com o mesmo texto e o mesmo público. Nada é enviado."
        return self._confirm(request, campanha, act, consequence)

    def discard_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        require(request.user, Right.CAMPANHA_EDITAR)
        campanha = self._get(request, object_id)
        if request.method == "POST":
            try:
                services.delete(campanha.pk, actor=audit.actor_of(request))
            except CampanhaError as refusal:
                self.message_user(request, str(refusal), messages.ERROR)
                return HttpResponseRedirect(self.page_url(campanha))
            self.message_user(request, f"O rascunho “{campanha}” foi excluído.", messages.SUCCESS)
            return HttpResponseRedirect(reverse("admin:fila_campanha_changelist"))
        act = {"question": "Excluir este rascunho?", "label": "Excluir rascunho", "tone": "danger"}
        return self._confirm(request, campanha, act, "Não tem volta. Nada foi enviado por ele.")

    def _get(self, request: HttpRequest, object_id: object) -> Campanha:
        campanha = self.get_object(request, str(object_id))
        if campanha is None:
            raise Http404
        return campanha

    def _confirm(self, request: HttpRequest, row: Campanha, act: Mapping[str, str], consequence: str) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": act["label"],
            "act": act,
            "form": ConfirmForm(),
            "row": row,
            "consequence": consequence,
            "back": self.page_url(row),
        }
        return TemplateResponse(request, "backoffice/confirm.html", context)

    def _form_page(self, request: HttpRequest, campanha: Campanha | None) -> HttpResponse:
        form = CampanhaForm(request.POST if request.method == "POST" else None, campanha=campanha)
        shown: dict[str, Any] = {}
        if request.method == "POST" and form.is_valid():
            try:
                if "previa" in request.POST:
                    shown = preview_context(preview(form.unsaved(), now=clock.now()))
                else:
                    saved = self._save(request, form, campanha)
                    self.message_user(request, "Campanha salva. Nada foi enviado ainda.", messages.SUCCESS)
                    return HttpResponseRedirect(self.page_url(saved))
            except CampanhaInvalida as invalid:
                form.take_errors(invalid.erros)
            except CampanhaError as refusal:
                form.add_error(None, str(refusal))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": campanha,
            "title": f"Editar {campanha}" if campanha else "Criar campanha",
            "form": form,
            "back": self.page_url(campanha) if campanha else reverse("admin:fila_campanha_changelist"),
            **shown,
        }
        return TemplateResponse(request, "backoffice/campanha_form.html", context)

    def _save(self, request: HttpRequest, form: CampanhaForm, campanha: Campanha | None) -> Campanha:
        answers = form.cleaned_data
        common = {
            "nome": answers["nome"],
            "tipo": answers["tipo"],
            "corpo": answers["corpo"],
            "agendar_para": answers["agendar_para"],
        }
        actor, now = audit.actor_of(request), clock.now()
        if campanha is None:
            return services.create(**common, filters=form.filters, actor=actor, now=now)
        changes = common if form.audience_locked else {**common, "filters": form.filters}
        return services.edit(campanha.pk, actor=actor, now=now, **changes)
