"""The campaign's form: audience filters as real fields. What is lawful is decided by the services, by field."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from chips.models import Chip
from core.backoffice.ui import short_digits
from core.clientes import ddd, phones
from core.clientes.models import Cliente
from core.clock import BRASILIA
from core.database import rows
from fila.campanhas import rendering
from fila.campanhas.filters import AudienceFilters, ModoSelecao
from fila.campanhas.models import Campanha
from fila.choices import TipoCampanha

LISTED_VALUES = 300
AUDIENCE = (
    "especialidades", "estados", "regioes", "quantidade_alvo", "modo_selecao", "pressure_score_max",
    "dias_sem_contato", "chips_excluidos", "clientes_especificos",
)  # fmt: skip
_LOCAL_FORMAT = "%Y-%m-%dT%H:%M"

# Distinct values by hopping along an index: as many steps as there are values, whatever the size of the table.
_DISTINCT = """
WITH RECURSIVE valores AS (
    (SELECT especialidade AS valor FROM clientes WHERE especialidade > '' ORDER BY especialidade LIMIT 1)
    UNION ALL
    SELECT (SELECT c.especialidade FROM clientes c WHERE c.especialidade > v.valor ORDER BY c.especialidade LIMIT 1)
    FROM valores v WHERE v.valor IS NOT NULL
)
SELECT valor FROM valores WHERE valor IS NOT NULL LIMIT %s
"""


def _checks() -> Any:
    return UnfoldAdminCheckboxSelectMultipleWidget(attrs={"class": "jl-check"})


def known_especialidades() -> list[str]:
    return [row["valor"] for row in rows(_DISTINCT, [LISTED_VALUES])]


class CampanhaForm(forms.Form):
    nome = forms.CharField(label="Nome", max_length=200, widget=UnfoldAdminTextInputWidget())
    tipo = forms.ChoiceField(label="Tipo", choices=TipoCampanha.choices, initial=TipoCampanha.OFERTA_PLANTAO,
                             widget=UnfoldAdminSelectWidget())  # fmt: skip
    corpo = forms.CharField(
        label="Texto",
        required=False,
        strip=False,
        help_text="Variáveis: "
        + ", ".join(f"{{{name}}}" for name in rendering.VARIABLES)
        + ". Quem não tem o dado fica de fora, a menos que você escreva a alternativa: {primeiro_nome|doutor(a)}.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 8}),
    )
    agendar_para = forms.DateTimeField(
        label="Iniciar em",
        required=False,
        input_formats=[_LOCAL_FORMAT, "%Y-%m-%dT%H:%M:%S", "%d/%m/%Y %H:%M"],
        help_text="Horário de Brasília. Vazio: fica em rascunho até alguém iniciar.",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
    )

    especialidades = forms.MultipleChoiceField(
        label="Especialidades", required=False, help_text="Nenhuma marcada: todas.",
        widget=_checks(),
    )  # fmt: skip
    estados = forms.MultipleChoiceField(
        label="Estados", required=False, choices=[(uf, uf) for uf in sorted(ddd.UFS)],
        help_text="Nenhum marcado: todos.", widget=_checks(),
    )  # fmt: skip
    regioes = forms.CharField(
        label="Regiões", required=False, help_text="Uma por linha, como no cadastro. Vazio: todas.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )  # fmt: skip
    quantidade_alvo = forms.IntegerField(
        label="Quantas pessoas", required=False, min_value=1,
        help_text="No máximo. Vazio: 50, ou todos os médicos listados abaixo.", widget=UnfoldAdminIntegerFieldWidget(),
    )  # fmt: skip
    modo_selecao = forms.ChoiceField(
        label="Quem entra primeiro",
        choices=[
            (ModoSelecao.DETERMINISTICO.value, "Quem está há mais tempo sem contato"),
            (ModoSelecao.ALEATORIO.value, "Sorteio"),
        ],
        initial=ModoSelecao.DETERMINISTICO.value,
        widget=UnfoldAdminSelectWidget(),
    )
    pressure_score_max = forms.IntegerField(
        label="Pressão máxima", min_value=0, max_value=100, initial=50,
        help_text="De 0 a 100. Médicos acima disso ficam de fora.", widget=UnfoldAdminIntegerFieldWidget(),
    )  # fmt: skip
    dias_sem_contato = forms.IntegerField(
        label="Dias sem contato", min_value=0, max_value=365, initial=7,
        help_text="Quem recebeu mensagem há menos dias que isso fica de fora.", widget=UnfoldAdminIntegerFieldWidget(),
    )  # fmt: skip
    chips_excluidos = forms.MultipleChoiceField(label="Não usar estes chips", required=False, widget=_checks())
    clientes_especificos = forms.CharField(
        label="Só estes médicos", required=False,
        help_text="Um telefone ou id por linha. Vale no lugar de especialidades, estados e regiões.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )  # fmt: skip

    def __init__(self, data: Mapping[str, Any] | None = None, *, campanha: Campanha | None = None) -> None:
        super().__init__(data, initial=_initial(campanha) if campanha else None)
        filters = self.initial if campanha else {}
        especialidades = dict.fromkeys([*known_especialidades(), *filters.get("especialidades", ())])
        self.fields["especialidades"].choices = [(value, value) for value in especialidades]  # type: ignore[attr-defined]
        chips = Chip.objects.order_by("instance_name").values_list("id", "instance_name")
        self.fields["chips_excluidos"].choices = [(str(pk), short_digits(name)) for pk, name in chips]  # type: ignore[attr-defined]
        self.audience_locked = campanha is not None and campanha.status != "rascunho"
        for name in AUDIENCE if self.audience_locked else ():
            self.fields[name].disabled = True

    def clean_regioes(self) -> list[str]:
        """The audience compares whole values: a region that nobody has is a typing error, said now."""
        regioes = list(
            dict.fromkeys(line.strip() for line in self.cleaned_data["regioes"].splitlines() if line.strip())
        )
        unknown = [regiao for regiao in regioes if not Cliente.objects.filter(regiao=regiao).exists()]
        if unknown:
            raise forms.ValidationError(
                f"Nenhum médico tem a região {', '.join(unknown)}: confira a escrita no cadastro."
            )
        return regioes

    def clean_clientes_especificos(self) -> list[str]:
        lines = [line.strip() for line in self.cleaned_data["clientes_especificos"].splitlines() if line.strip()]
        ids, unknown = _people(lines)
        if unknown:
            shown = ", ".join(str(number) for number in unknown[:10])
            raise forms.ValidationError(
                f"Não encontrei o médico da linha {shown}: confira o telefone ou cadastre-o antes."
            )
        return ids

    def clean_agendar_para(self) -> datetime | None:
        """The browser sends local time of Brasília."""
        local = self.cleaned_data["agendar_para"]
        return local.replace(tzinfo=BRASILIA) if local else None

    @property
    def filters(self) -> dict[str, Any]:
        """As `services.create` takes them; what was left empty keeps its default."""
        cleaned = self.cleaned_data
        return {name: cleaned[name] for name in AUDIENCE if cleaned.get(name) not in (None, "", [])}

    def unsaved(self) -> Campanha:
        """The form's content as a campaign that the preview can look at."""
        return Campanha(
            nome_template=self.cleaned_data["nome"],
            tipo_campanha=self.cleaned_data["tipo"],
            corpo=self.cleaned_data["corpo"],
            audience_filters=AudienceFilters.parse(self.filters).as_json(),
            agendar_para=self.cleaned_data["agendar_para"],
            status="rascunho",
        )

    def take_errors(self, erros: Mapping[str, Iterable[str]]) -> None:
        """Errors of the services under the fields they are about."""
        names = {"nome_template": "nome", "tipo_campanha": "tipo", "filters": None, "audience_filters": None}
        for field, sentences in erros.items():
            name = names.get(field, field)
            for sentence in sentences:
                self.add_error(name if name in self.fields else None, sentence)


def _initial(campanha: Campanha) -> dict[str, Any]:
    filters = dict(campanha.audience_filters or {})
    local = campanha.agendar_para.astimezone(BRASILIA).strftime(_LOCAL_FORMAT) if campanha.agendar_para else ""
    return {
        "nome": campanha.nome_template,
        "tipo": campanha.tipo_campanha,
        "corpo": campanha.corpo,
        "agendar_para": local,
        **{name: filters[name] for name in AUDIENCE if name in filters},
        "regioes": "\n".join(filters.get("regioes", ())),
        "clientes_especificos": "\n".join(filters.get("clientes_especificos", ())),
    }


def _people(lines: list[str]) -> tuple[list[str], list[int]]:
    """(ids, numbers of the lines that name nobody), from phones and ids; one statement each."""
    wanted: dict[str, str] = {}
    for line in lines:
        try:
            wanted[line] = str(UUID(line))
        except ValueError:
            try:
                wanted[line] = phones.parse(line).e164
            except phones.InvalidPhone:
                wanted[line] = ""
    by_phone = dict(Cliente.objects.filter(telefone__in=[w for w in wanted.values() if w.isdigit()])
                    .values_list("telefone", "id"))  # fmt: skip
    by_id = set(Cliente.objects.filter(id__in=[w for w in wanted.values() if "-" in w]).values_list("id", flat=True))
    ids: list[str] = []
    unknown: list[int] = []
    for number, line in enumerate(lines, start=1):
        value = wanted[line]
        found = by_phone.get(value) or (UUID(value) if "-" in value and UUID(value) in by_id else None)
        if found:
            ids.append(str(found))
        else:
            unknown.append(number)
    return list(dict.fromkeys(ids)), unknown


class TestForm(forms.Form):
    telefone = forms.CharField(
        label="Telefone que recebe o teste",
        help_text="Com DDD. O texto vai com os dados de uma pessoa inventada.",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "inputmode": "tel", "autofocus": True}),
    )


__all__ = ["AUDIENCE", "CampanhaForm", "TestForm"]
