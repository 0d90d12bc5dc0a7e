"""Resultados de envio: what each answer of a provider means, and what a change of a rule would have done."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from chips.models import RegraErro
from chips.vocabulario import shown
from chips.vocabulario.catalogo import ENTRIES
from chips.vocabulario.choices import ContaEm, Culpa
from chips.vocabulario.forms import DAYS, RuleForm, mark_of
from chips.vocabulario.previa import Preview, preview, read
from chips.vocabulario.rules import Entry, Rule
from chips.vocabulario.services import RuleRefused, adjust, columns_of, current, rule_of
from core import clock
from core.audit.services import MotivoMissing
from core.backoffice import audit, moments, ui
from core.backoffice.acts import Button
from core.backoffice.admin import PageAdmin
from core.backoffice.timeouts import TooSlow, statement_timeout
from core.rights import Right, has_right, require

PREVIEW_DEADLINE_MS = 1500
CULPA_TONES = {
    Culpa.DESTINATARIO: ui.Tone.NEUTRAL,
    Culpa.CHIP: ui.Tone.WARN,
    Culpa.PROVEDOR: ui.Tone.INFO,
    Culpa.NOS: ui.Tone.BAD,
}


@admin.register(RegraErro)
class RegraErroAdmin(PageAdmin[RegraErro]):
    page_template = "backoffice/regra.html"
    empty_title = "Nenhum resultado com esse filtro"
    empty_text = "Tire um filtro para ver todos os resultados que um envio pode ter."

    list_display = ("resultado", "culpado", "saiu", "repete", "circuito_curto", "descanso", "restringe", "ajuste")
    list_filter = [("culpa", ChoicesDropdownFilter), ("circuito", ChoicesDropdownFilter)]
    search_fields = ("codigo", "frase")
    ordering = ("codigo",)
    sortable_by = ()
    list_per_page = 100

    def get_queryset(self, request: HttpRequest) -> QuerySet[RegraErro]:
        """The closed set: a row that no result bears any more is history."""
        return super().get_queryset(request).filter(codigo__in=list(ENTRIES))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> RegraErro | None:
        """Codes hold dots and underscores, which the lists' links write in another way."""
        return super().get_object(request, object_id, from_field) or super().get_object(
            request, unquote(object_id), from_field
        )

    def get_urls(self) -> list[URLPattern]:
        change = path(
            "<path:object_id>/ajustar/", self.admin_site.admin_view(self.adjust_view), name="chips_regraerro_ajustar"
        )
        return [change, *super().get_urls()]

    @display(description="Resultado")
    def resultado(self, obj: RegraErro) -> SafeString:
        return shown.named(obj.codigo, obj.frase)

    @display(description="Culpa")
    def culpado(self, obj: RegraErro) -> SafeString:
        return ui.badge(Culpa(obj.culpa).label, CULPA_TONES[Culpa(obj.culpa)])

    @display(description="Pode ter saído?")
    def saiu(self, obj: RegraErro) -> SafeString:
        return ui.badge("Sim", ui.Tone.WARN) if obj.pode_ter_saido else ui.badge("Não", ui.Tone.OK)

    @display(description="Tenta de novo?")
    def repete(self, obj: RegraErro) -> str:
        return "Sim" if obj.tentar_de_novo else "Não"

    @display(description="Circuito")
    def circuito_curto(self, obj: RegraErro) -> str:
        return ContaEm(obj.circuito).label

    @display(description="Descanso")
    def descanso(self, obj: RegraErro) -> str:
        return moments.span(obj.descanso_s) if obj.descanso_s else "—"

    @display(description="Tira o chip?")
    def restringe(self, obj: RegraErro) -> SafeString:
        return ui.badge("Sim", ui.Tone.BAD) if obj.restricao else ui.badge("Não", ui.Tone.NEUTRAL)

    @display(description="Ajuste")
    def ajuste(self, obj: RegraErro) -> SafeString:
        if rule_of(columns(obj), ENTRIES[obj.codigo].rule) == ENTRIES[obj.codigo].rule:
            return ui.badge("Padrão", ui.Tone.NEUTRAL)
        return ui.badge("Ajustada", ui.Tone.INFO, f"por {obj.alterada_por or 'SQL direto'}")

    def page_context(self, request: HttpRequest, obj: RegraErro) -> dict[str, Any]:
        entry = ENTRIES[obj.codigo]
        rule = rule_of(columns(obj), entry.rule)
        return {
            "title": obj.codigo,
            "entry": entry,
            "rule": rule,
            "provider": shown.provider_of(entry),
            "lines": shown.compared(rule, entry.rule),
            "adjusted": rule != entry.rule,
            "history": shown.history_of(obj),
            "entries": audit.entries_of(obj),
        }

    def buttons(self, request: HttpRequest, obj: RegraErro) -> list[Button]:
        if not has_right(request.user, Right.AJUSTE_ALTERAR):
            return []
        url = reverse("admin:chips_regraerro_ajustar", args=[obj.pk])
        found = [Button("Ajustar", url, "primary", "tune")]
        if rule_of(columns(obj), ENTRIES[obj.codigo].rule) != ENTRIES[obj.codigo].rule:
            found.append(Button("Restaurar padrão", f"{url}?padrao=1", "default", "restart_alt"))
        return found

    def adjust_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """GET shows the form, the first POST what it would have done, the second saves exactly what was shown.

        Raises PermissionDenied without the right.
        """
        require(request.user, Right.AJUSTE_ALTERAR)
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404
        entry = ENTRIES[obj.codigo]
        seen = rule_of(columns(obj), entry.rule)
        if request.method != "POST":
            wanted = entry.rule if "padrao" in request.GET else seen
            form = RuleForm(None, default=entry.rule, shown=wanted)
            return self._form_page(request, obj, form, seen, wanted if wanted != seen else None, DAYS)
        saving = "salvar" in request.POST
        form = RuleForm(request.POST, default=entry.rule, shown=seen, saving=saving)
        if not form.is_valid():
            return self._form_page(request, obj, form, seen, None, DAYS)
        rule: Rule = form.cleaned_data["rule"]
        if saving and self._saved(request, entry, form, seen):
            return HttpResponseRedirect(self.page_url(obj))
        return self._form_page(request, obj, form, seen, rule, form.cleaned_data["dias"])

    def _saved(self, request: HttpRequest, entry: Entry, form: RuleForm, seen: Rule) -> bool:
        rule: Rule = form.cleaned_data["rule"]
        if request.POST.get("previsto") != mark_of(rule):
            form.add_error(None, "Os valores mudaram depois da prévia. Confira a nova prévia abaixo e salve.")
            return False
        if request.POST.get("visto") != mark_of(seen):
            form.add_error(None, "Outra pessoa mudou esta regra enquanto você editava. Confira a nova prévia e salve.")
            return False
        now, motivo = clock.now(), form.cleaned_data["motivo"]
        try:
            changed = adjust(
                entry.codigo, rule, seen=seen, actor=request.user, motivo=motivo, now=now, ip=audit.ip_of(request)
            )
        except (RuleRefused, MotivoMissing) as refusal:
            form.add_error(None, str(refusal))
            return False
        sentence = f"{entry.codigo} mudou. Vale para o próximo resultado, sem reiniciar nada."
        self.message_user(request, sentence if changed else "Nada mudou: os valores são os mesmos.", messages.SUCCESS)
        return True

    def _form_page(
        self, request: HttpRequest, obj: RegraErro, form: RuleForm, seen: Rule, wanted: Rule | None, days: int
    ) -> HttpResponse:
        """`wanted`: the rule whose effect is shown, None while there is none to show."""
        entry = ENTRIES[obj.codigo]
        effect = _effect(entry.codigo, wanted, days) if wanted else None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Ajustar {obj.codigo}",
            "form": form,
            "entry": entry,
            "back": self.page_url(obj),
            "seen": mark_of(seen),
            "previewed": mark_of(wanted) if wanted else "",
            "changes": [line for line in shown.compared(wanted, seen) if line.differs] if wanted else [],
            "asked": wanted is not None,
            "preview": shown.told_effect(effect, days) if effect else None,
        }
        return TemplateResponse(request, "backoffice/regra_ajustar.html", context)


def columns(obj: RegraErro) -> dict[str, Any]:
    return {name: getattr(obj, name) for name in ("codigo", *columns_of(ENTRIES[obj.codigo].rule))}


def _effect(codigo: str, rule: Rule, days: int) -> Preview | None:
    """None when reading the attempts takes longer than a page may."""
    rules = current()
    try:
        with statement_timeout(PREVIEW_DEADLINE_MS):
            record = read(days=days, now=clock.database_now())
    except TooSlow:
        return None
    return preview(codigo, rule, rules, record)
