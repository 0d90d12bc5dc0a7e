"""Importações: upload a CSV, watch it run, read what was refused and take those rows back to correct."""

import re
import tempfile
from pathlib import Path
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import transaction
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextareaWidget, UnfoldBooleanSwitchWidget

from core import correlation
from core.backoffice import audit, ui
from core.backoffice.admin import PageAdmin
from core.clientes import services, tasks
from core.clientes.importacao import FIELDS, write_rejected
from core.clientes.models import Importacao, ImportacaoRejeitada
from core.rights import Right, has_right, require

FILE_LIMIT = 64 * 1024 * 1024
ROWS_PER_PAGE = 100
_TONES = {
    Importacao.Status.PENDENTE: ui.Tone.INFO,
    Importacao.Status.PROCESSANDO: ui.Tone.INFO,
    Importacao.Status.CONCLUIDA: ui.Tone.OK,
    Importacao.Status.ERRO: ui.Tone.BAD,
}
_LONG_NUMBER = re.compile(r"[0-9](?:[ .()/-]*[0-9]){7,}")


class UploadForm(forms.Form):
    arquivo = forms.FileField(
        label="Arquivo CSV",
        help_text="Primeira linha com os nomes das colunas. Só telefone é obrigatório. Aceitas: "
        + ", ".join(FIELDS)
        + ".",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".csv,.txt,text/csv"}),
        error_messages={"required": "Escolha o arquivo.", "empty": "O arquivo está vazio."},
    )
    mapa = forms.CharField(
        label="Colunas com outro nome",
        required=False,
        help_text="Uma por linha, no formato coluna=campo. Exemplo: Celular=telefone",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )
    atualizar = forms.BooleanField(
        label="Atualizar médicos já cadastrados",
        required=False,
        help_text="Desligado: só preenche o que está vazio. Ligado: o arquivo substitui o que já existe (nunca apaga).",
        widget=UnfoldBooleanSwitchWidget(),
    )

    def clean_arquivo(self) -> Any:
        arquivo = self.cleaned_data["arquivo"]
        if arquivo.size > FILE_LIMIT:
            limit = FILE_LIMIT // (1024 * 1024)
            raise forms.ValidationError(f"O arquivo passa de {limit} MB: divida-o em partes e importe uma de cada vez.")
        return arquivo

    def clean_mapa(self) -> dict[str, str]:
        mapa: dict[str, str] = {}
        for line in filter(str.strip, self.cleaned_data["mapa"].splitlines()):
            column, separator, field = (part.strip() for part in line.partition("="))
            if not (separator and column and field in FIELDS):
                raise forms.ValidationError(
                    f"Não entendi a linha “{line.strip()[:60]}”: escreva coluna=campo, com um destes campos: "
                    f"{', '.join(FIELDS)}."
                )
            mapa[column] = field
        return mapa


class ImportacaoAdmin(PageAdmin[Importacao]):
    page_template = "backoffice/importacao.html"
    add_right = Right.IMPORTAR
    add_label = "Importar arquivo"
    empty_title = "Nenhuma importação ainda"
    empty_text = "Envie um CSV com a lista de médicos. Linhas com problema são devolvidas com o motivo de cada uma."

    list_display = ("arquivo", "situacao", "lidas", "novos_n", "duplicados_n", "rejeitados_n", "quem", "quando")
    list_filter = [("status", ChoicesDropdownFilter)]
    ordering = ("-id",)
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("conteudo")

    @display(description="Arquivo")
    def arquivo(self, obj: Importacao) -> str:
        return obj.nome_arquivo

    @display(description="Situação")
    def situacao(self, obj: Importacao) -> SafeString:
        return ui.badge(obj.get_status_display(), _TONES[Importacao.Status(obj.status)])

    @display(description="Linhas")
    def lidas(self, obj: Importacao) -> str:
        return ui.number(obj.linhas)

    @display(description="Novos")
    def novos_n(self, obj: Importacao) -> str:
        return ui.number(obj.novos)

    @display(description="Já conhecidos")
    def duplicados_n(self, obj: Importacao) -> str:
        return ui.number(obj.duplicados)

    @display(description="Recusadas")
    def rejeitados_n(self, obj: Importacao) -> str:
        return ui.number(obj.rejeitados)

    @display(description="Enviada por")
    def quem(self, obj: Importacao) -> str:
        return obj.criado_por or "—"

    @display(description="Quando")
    def quando(self, obj: Importacao) -> Any:
        return obj.created_at

    def get_urls(self) -> list[URLPattern]:
        download = path(
            "<int:object_id>/recusadas.csv", self.admin_site.admin_view(self.rejected_view), name="core_importacao_csv"
        )
        return [download, *super().get_urls()]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = UploadForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            return HttpResponseRedirect(self.page_url(self._accept(request, form.cleaned_data)))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Importar médicos",
            "form": form,
            "back": reverse("admin:core_importacao_changelist"),
        }
        return TemplateResponse(request, "backoffice/importacao_nova.html", context)

    def _accept(self, request: HttpRequest, answers: dict[str, Any]) -> Importacao:
        """A row first, work later: the broker carries only its id, and a sweep offers untaken rows again."""
        arquivo = answers["arquivo"]
        with transaction.atomic():
            importacao = Importacao.objects.create(
                nome_arquivo=Path(arquivo.name).name[:255],
                conteudo=arquivo.read(),
                mapa=answers["mapa"],
                atualizar=answers["atualizar"],
                criado_por=audit.actor_of(request),
                correlation_id=correlation.get(),
            )
            audit.record(request, "importacao_enviada", importacao, detalhes={"atualizar": answers["atualizar"]})
            tasks.offer(importacao.pk)
        return importacao

    def page_context(self, request: HttpRequest, obj: Importacao) -> dict[str, Any]:
        unfinished = obj.status in (Importacao.Status.PENDENTE, Importacao.Status.PROCESSANDO)
        rows = Paginator(ImportacaoRejeitada.objects.filter(importacao=obj).order_by("linha", "id"), ROWS_PER_PAGE)
        page = rows.get_page(request.GET.get("p"))
        return {
            "importacao": obj,
            "title": obj.nome_arquivo,
            "tone": _TONES[Importacao.Status(obj.status)].value,
            "unfinished": unfinished,
            "page": page,
            "rows": [(row.linha, row.motivo, _shown_cells(row.celulas)) for row in page],
            "may_download": bool(obj.rejeitados) and has_right(request.user, Right.IMPORTAR),
            "download_url": reverse("admin:core_importacao_csv", args=[obj.pk]),
        }

    def rejected_view(self, request: HttpRequest, object_id: int) -> HttpResponse | FileResponse:
        """The refused rows with their whole cells, formulas neutralised: audited, because they hold phones."""
        require(request.user, Right.IMPORTAR)
        importacao = Importacao.objects.defer("conteudo").filter(pk=object_id).first()
        if importacao is None:
            raise Http404
        audit.record(request, "importacao_recusadas_baixadas", importacao)
        with tempfile.NamedTemporaryFile(suffix=".csv") as file:
            write_rejected(Path(file.name), services.rejeitadas(importacao))
            content = Path(file.name).read_bytes()
        response = HttpResponse(content, content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="recusadas-{importacao.pk}.csv"'
        return response


def _shown_cells(celulas: Any) -> str:
    """The cells of a refused row on one line, long numbers masked: they may be somebody's phone."""
    cells = celulas.get("celulas", ()) if isinstance(celulas, dict) else ()
    return " · ".join(
        _LONG_NUMBER.sub(lambda found: f"{found[0][:2]}…{found[0][-2:]}", str(cell)) for cell in cells if cell
    )
