"""Médicos, as far as `core` knows them: list, search, form, and the phone that is only shown on demand.

The page with their messages and opt-out belongs to `julia`, which knows every app and registers it.
"""

from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from core import clock
from core.backoffice import audit, ui
from core.backoffice.admin import PageAdmin
from core.clientes import ddd, names, phones
from core.clientes.models import Cliente
from core.rights import Right, has_right, require

EDITED = ("nome", "primeiro_nome", "sobrenome", "especialidade", "cidade", "estado", "regiao", "tags")
_SHORTEST_PHONE = 8


class ClienteForm(forms.ModelForm[Cliente]):
    """The phone is write-only: who may edit a doctor need not see the number."""

    novo_telefone = forms.CharField(
        label="Telefone",
        required=False,
        help_text="Com DDD, por exemplo (11) 90000-0001. Deixe vazio para manter o número atual.",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "inputmode": "tel"}),
    )
    tags = forms.CharField(
        label="Etiquetas",
        required=False,
        help_text="Separadas por vírgula.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
    )

    class Meta:
        model = Cliente
        fields = EDITED

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("nome", "primeiro_nome", "sobrenome", "especialidade", "cidade", "estado", "regiao"):
            self.initial[name] = "" if self._adding else getattr(self.instance, name)
        self.initial["tags"] = ", ".join(self.instance.tags) if not self._adding else ""
        if self._adding:
            self.fields["novo_telefone"].required = True
            self.fields["novo_telefone"].help_text = "Com DDD, por exemplo (11) 90000-0001."

    @property
    def _adding(self) -> bool:
        return self.instance._state.adding

    def clean_novo_telefone(self) -> str:
        typed = self.cleaned_data["novo_telefone"]
        if not typed:
            return ""
        try:
            telefone = phones.parse(typed).e164
        except phones.InvalidPhone as error:
            raise forms.ValidationError(error.sentence) from error
        others = Cliente.objects.filter(telefone=telefone)
        if (others if self._adding else others.exclude(pk=self.instance.pk)).exists():
            raise forms.ValidationError("já existe um médico com este número: procure por ele na lista")
        return telefone

    def clean_estado(self) -> str:
        estado = str(self.cleaned_data["estado"] or "").upper()
        if estado and estado not in ddd.UFS:
            raise forms.ValidationError("use a sigla de duas letras, por exemplo SP")
        return estado

    def clean_tags(self) -> list[str]:
        tags = [tag.strip() for tag in self.cleaned_data["tags"].split(",")]
        if any(len(tag) > 64 for tag in tags):
            raise forms.ValidationError("cada etiqueta tem no máximo 64 caracteres")
        return [tag for tag in dict.fromkeys(tags) if tag]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name in ("nome", "primeiro_nome", "sobrenome", "especialidade", "cidade", "regiao"):
            cleaned[name] = names.clean(cleaned.get(name) or "")
        if cleaned["nome"] and not cleaned["primeiro_nome"]:
            cleaned["primeiro_nome"], cleaned["sobrenome"] = names.split(cleaned["nome"])
        return cleaned


class ClienteAdmin(PageAdmin[Cliente]):
    form = ClienteForm
    page_template = "backoffice/medico.html"
    add_right = Right.MEDICO_EDITAR
    change_right = Right.MEDICO_EDITAR
    add_label = "Cadastrar médico"
    empty_title = "Nenhum médico cadastrado"
    empty_text = "Importe uma planilha em Importações, ou cadastre um médico aqui."

    list_display: ClassVar[tuple[str, ...]] = ("nome_mostrado", "telefone_oculto", "area", "lugar", "numero")
    list_filter: ClassVar[list[Any]] = [("status_telefone", ChoicesDropdownFilter)]
    search_fields = ("nome_busca",)
    search_help_text = "Começo do nome, telefone completo ou id"
    ordering = ("-created_at", "id")
    sortable_by = ()
    fields = (
        "nome",
        "primeiro_nome",
        "sobrenome",
        "novo_telefone",
        "especialidade",
        "cidade",
        "estado",
        "regiao",
        "tags",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cliente]:
        return super().get_queryset(request).filter(deleted_at__isnull=True)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Cliente], search_term: str
    ) -> tuple[QuerySet[Cliente], bool]:
        """An index each: prefix of the normalised name, a whole phone, or an id."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if (found := _as_uuid(term)) is not None:
            return queryset.filter(pk=found), False
        if sum(char.isdigit() for char in term) >= _SHORTEST_PHONE:
            try:
                return queryset.filter(telefone=phones.parse(term).e164), False
            except phones.InvalidPhone as error:
                self.message_user(request, f"Busca por telefone: {error.sentence}.", messages.WARNING)
                return queryset.none(), False
        key = names.search_key(names.without_honorifics(names.clean(term)))
        return queryset.filter(nome_busca__startswith=key), False

    @display(description="Nome")
    def nome_mostrado(self, obj: Cliente) -> str:
        return obj.nome or "sem nome"

    @display(description="Telefone")
    def telefone_oculto(self, obj: Cliente) -> SafeString:
        return ui.masked_phone(obj.telefone)

    @display(description="Especialidade")
    def area(self, obj: Cliente) -> str:
        return obj.especialidade or "—"

    @display(description="Cidade")
    def lugar(self, obj: Cliente) -> str:
        return " / ".join(part for part in (obj.cidade, obj.estado) if part) or "—"

    @display(description="Número")
    def numero(self, obj: Cliente) -> SafeString:
        tone = {"validado": ui.Tone.OK, "invalido": ui.Tone.BAD, "erro": ui.Tone.WARN}
        return ui.badge(obj.get_status_telefone_display(), tone.get(obj.status_telefone, ui.Tone.NEUTRAL))

    def save_model(self, request: HttpRequest, obj: Cliente, form: ClienteForm, change: bool) -> None:
        """The row with what follows from it (search key, zone, unproved number) and its audit entry."""
        before = Cliente.objects.get(pk=obj.pk) if change else None
        obj.nome_busca = names.search_key(names.without_honorifics(obj.nome))[:512]
        telefone = form.cleaned_data["novo_telefone"]
        if telefone and telefone != getattr(before, "telefone", None):
            obj.telefone = telefone
            obj.fuso = ddd.zone_for(telefone).key
            obj.status_telefone = Cliente.StatusTelefone.PENDENTE
            obj.telefone_erro = ""
            obj.telefone_validado_em = None
        if not change:
            obj.origem = "manual"
        obj.save()
        audit.record(request, "medico_editado" if change else "medico_cadastrado", obj, detalhes=_changes(before, obj))

    def log_addition(self, request: HttpRequest, obj: Cliente, message: Any) -> Any:
        return None  # the audit entry of save_model says more

    def log_change(self, request: HttpRequest, obj: Cliente, message: Any) -> Any:
        return None

    def get_urls(self) -> list[URLPattern]:
        reveal = path(
            "<path:object_id>/telefone/",
            self.admin_site.admin_view(self.reveal_view),
            name=f"{self.opts.app_label}_{self.opts.model_name}_reveal",
        )
        return [reveal, *super().get_urls()]

    def page_context(self, request: HttpRequest, obj: Cliente) -> dict[str, Any]:
        return {
            "cliente": obj,
            "may_edit": self.has_change_permission(request),
            "edit_url": self.edit_url(obj),
            "may_reveal": has_right(request.user, Right.TELEFONE_REVELAR),
            "reveal_url": reverse("admin:core_cliente_reveal", args=[obj.pk]),
            "now": clock.now(),
        }

    def reveal_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The page with the whole number, once: only by POST, audited, never in a URL or message."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        require(request.user, Right.TELEFONE_REVELAR)
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404
        audit.record(request, "telefone_revelado", obj)
        return self.change_view(request, object_id, extra_context={"revealed": phones.display(obj.telefone)})


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _changes(before: Cliente | None, after: Cliente) -> dict[str, Any]:
    """Before and after of what changed; of a phone only its masked form."""
    if before is None:
        return {"telefone": phones.mask(after.telefone)}
    changed: dict[str, Any] = {
        name: [getattr(before, name), getattr(after, name)]
        for name in EDITED
        if getattr(before, name) != getattr(after, name)
    }
    if before.telefone != after.telefone:
        changed["telefone"] = [phones.mask(before.telefone), phones.mask(after.telefone)]
    return changed
