"""What would happen if this campaign started now: who, with which words, who not and why, and until when."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models.expressions import DatabaseDefault

from core.clientes import phones
from core.clientes.models import Cliente
from fila.campanhas import audience, capacity, planning, rendering
from fila.campanhas.audience import Audience
from fila.campanhas.capacity import Circumstances
from fila.campanhas.errors import CampanhaInvalida
from fila.campanhas.filters import AudienceFilters
from fila.campanhas.models import Campanha
from fila.campanhas.planning import MAX_SEGMENTS, Plan, spoken
from fila.campanhas.textos import text_to_send
from fila.choices import TipoCampanha
from guardrails.choices import SENTENCES, Kind
from guardrails.policy import Policy, holding_switches

SAMPLE = 10
SHOWN_DAYS = 60
_LISTS = (
    ("regioes", "regiao", "região"),
    ("especialidades", "especialidade", "especialidade"),
    ("estados", "estado", "estado"),
)


@dataclass(frozen=True, slots=True)
class Amostra:
    """One recipient with the text as it would leave. `telefone` is masked."""

    cliente_id: UUID
    nome: str
    telefone: str
    texto: str


@dataclass(frozen=True, slots=True)
class Preview:
    """`total` would receive it, of `candidatos` whom the filters name; `excluidas` by reason, in the order asked.

    `erros` keep the campaign from starting; `avisos` are worth reading first.
    """

    total: int = 0
    candidatos: int = 0
    amostra: tuple[Amostra, ...] = ()
    excluidas: Mapping[str, int] = field(default_factory=dict)
    plano: Plan = field(default_factory=Plan)
    termina_em: datetime | None = None
    termina_texto: str = ""
    erros: tuple[str, ...] = ()
    avisos: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        plano = self.plano.as_json()
        del plano["segmentos"]
        plano["dias"] = plano["dias"][:SHOWN_DAYS]
        return {
            "total": self.total,
            "candidatos": self.candidatos,
            "amostra": [
                {"cliente_id": str(one.cliente_id), "nome": one.nome, "telefone": one.telefone, "texto": one.texto}
                for one in self.amostra
            ],
            "excluidas": dict(self.excluidas),
            "plano": plano,
            "termina_em": self.termina_em.isoformat() if self.termina_em else None,
            "termina_texto": self.termina_texto,
            "erros": list(self.erros),
            "avisos": list(self.avisos),
        }


def preview(campanha: Campanha, *, now: datetime) -> Preview:
    """Nothing is written. `campanha` may be unsaved; a text that cannot be used still gets its audience counted.

    A started campaign is previewed as if it started now with today's text.
    """
    try:
        filters = AudienceFilters.parse(_given(campanha.audience_filters, {}))
    except CampanhaInvalida as error:
        return Preview(erros=tuple(f"{key}: {text}" for key, texts in error.erros.items() for text in texts))
    texto = _text(campanha)
    errors = rendering.validate(texto)
    parts = () if errors else rendering.compile(texto)
    around = capacity.read(campanha_id=campanha.pk, chips_excluidos=filters.chips_excluidos, now=now)
    people = audience.people(filters, campanha_id=campanha.pk, parts=parts, policy=around.rules.policy, now=now)
    found = audience.look(people, alvo=filters.quantidade_alvo, amostra=SAMPLE)
    plan = planning.plan(found.total, around.capacity, around.windows(found.fusos, now), now=now)
    return Preview(
        total=found.total,
        candidatos=found.candidatos,
        amostra=_sample(found.amostra, parts),
        excluidas=found.excluidas,
        plano=plan,
        termina_em=plan.termina_em,
        termina_texto=spoken(plan.termina_em, now),
        erros=tuple(errors),
        avisos=tuple(_warnings(filters, found, plan, around)),
    )


def _text(campanha: Campanha) -> str:
    tipo, corpo = campanha.tipo_campanha, _given(campanha.corpo, "")
    return text_to_send(tipo, corpo) if tipo in TipoCampanha.values else corpo


def _given(value: Any, default: Any) -> Any:
    """A field that an unsaved campaign leaves to the database has no value yet."""
    return default if isinstance(value, DatabaseDefault) else value


def _sample(ids: Sequence[UUID], parts: rendering.Parts) -> tuple[Amostra, ...]:
    found = Cliente.objects.in_bulk(ids)
    people = [found[cliente_id] for cliente_id in ids if cliente_id in found]
    texts = [rendering.render(parts, rendering.person_of(cliente)) for cliente in people]
    return tuple(
        Amostra(cliente.pk, cliente.nome, phones.mask(cliente.telefone), text)
        for cliente, text in zip(people, texts, strict=True)
        if isinstance(text, str)
    )


def _warnings(filters: AudienceFilters, found: Audience, plan: Plan, around: Circumstances) -> Iterator[str]:
    if not found.total:
        yield "Ninguém receberia esta campanha: veja os motivos de exclusão e os filtros."
    elif found.total < filters.quantidade_alvo and not filters.clientes_especificos:
        yield f"Só {found.total} pessoas podem receber agora; a quantidade pedida é {filters.quantidade_alvo}."
    yield from _unmatched(filters, found)
    if plan.sem_capacidade:
        yield planning.SENTENCES[plan.motivo]
    elif len(plan.segments) > MAX_SEGMENTS:
        yield "No ritmo atual esta campanha levaria mais de um ano: aumente os chips ou divida o público."
    if around.desconectados and not plan.sem_capacidade:
        yield f"{around.desconectados} de {plan.chips} chips deste plano estão desconectados agora."
    yield from _held(around.rules.policy)


def _unmatched(filters: AudienceFilters, found: Audience) -> Iterator[str]:
    """Filter values that name nobody: usually a spelling."""
    if filters.clientes_especificos:
        missing = len(filters.clientes_especificos) - found.candidatos
        if missing:
            yield f"{missing} dos médicos indicados não existem mais ou são números de teste."
        return
    for key, column, label in _LISTS:
        for value in getattr(filters, key):
            if not Cliente.objects.filter(**{column: value}, deleted_at=None).exists():
                yield f"Nenhum médico com {label} {value!r}: confira como está escrito no cadastro."


def _held(policy: Policy) -> Iterator[str]:
    for _, reason in holding_switches(policy.switches, Kind.CAMPANHA, proactive=True):
        yield SENTENCES[reason]
