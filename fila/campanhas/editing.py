"""What people do to a campaign before it starts: create, edit, duplicate, schedule, delete."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypedDict, Unpack

from django.db import transaction

from core.audit import services as audit
from fila.campanhas import rendering
from fila.campanhas.errors import CampanhaConflict, CampanhaInexistente, CampanhaInvalida
from fila.campanhas.filters import AudienceFilters
from fila.campanhas.models import Campanha
from fila.campanhas.planning import spoken
from fila.campanhas.textos import parse_tipo, text_to_send
from fila.choices import CampanhaStatus

NOT_STARTED = (CampanhaStatus.RASCUNHO, CampanhaStatus.AGENDADA)
NOME_MAX = 200
_COPY_SUFFIX = " (cópia)"


class Changes(TypedDict, total=False):
    """What `edit` may change; a key left out stays. `filters` are the keys of `AudienceFilters`."""

    nome: str
    tipo: str
    corpo: str
    filters: Mapping[str, Any]
    agendar_para: datetime | None
    tom: str
    objetivo: str
    pode_ofertar: bool
    escopo_vagas: Any
    regras: Any


def create(
    *,
    nome: str,
    tipo: str,
    corpo: str = "",
    filters: Mapping[str, Any] | None = None,
    agendar_para: datetime | None = None,
    tom: str = "amigavel",
    objetivo: str = "",
    pode_ofertar: bool = False,
    escopo_vagas: Any = None,
    regras: Any = None,
    actor: str,
    now: datetime,
) -> Campanha:
    """A draft, or a scheduled campaign when `agendar_para` is given. Raises CampanhaInvalida."""
    changes: Changes = {
        "nome": nome,
        "tipo": tipo,
        "corpo": corpo,
        "filters": filters or {},
        "agendar_para": agendar_para,
        "tom": tom,
        "objetivo": objetivo,
        "pode_ofertar": pode_ofertar,
        "escopo_vagas": escopo_vagas,
        "regras": regras,
    }
    with transaction.atomic():
        campanha = Campanha(created_by=actor, status=CampanhaStatus.RASCUNHO)
        _apply(campanha, changes, now)
        campanha.save()
        campanha.refresh_from_db()
        _record("campanha_criada", campanha, actor, {"tipo": campanha.tipo_campanha, "status": campanha.status})
    return campanha


def edit(campanha_id: int, *, actor: str, now: datetime, **changes: Unpack[Changes]) -> Campanha:
    """Change a campaign that has not started: `agendada` if it has a date then, else `rascunho`.

    The audience changes only in a draft. Raises CampanhaInvalida, CampanhaConflict, CampanhaInexistente.
    """
    with transaction.atomic():
        campanha = locked(campanha_id)
        require(campanha, NOT_STARTED, "só pode ser editada antes de começar")
        if "filters" in changes and campanha.status != CampanhaStatus.RASCUNHO:
            asked = AudienceFilters.parse(changes["filters"]).as_json()
            if asked != AudienceFilters.parse(campanha.audience_filters).as_json():
                require(campanha, (CampanhaStatus.RASCUNHO,), "só muda o público em rascunho: tire o agendamento antes")
        before = campanha.status
        _apply(campanha, changes, now)
        campanha.save()
        detalhes = {"campos": sorted(changes), "status": {"antes": before, "depois": campanha.status}}
        _record("campanha_editada", campanha, actor, detalhes)
    campanha.refresh_from_db()
    return campanha


def duplicate(campanha_id: int, *, actor: str, now: datetime) -> Campanha:
    """A new draft with the same text and audience; nothing of the original's run comes with it."""
    source = Campanha.objects.filter(pk=campanha_id).first()
    if source is None:
        raise CampanhaInexistente(campanha_id)
    with transaction.atomic():
        campanha = Campanha(
            nome_template=source.nome_template[: NOME_MAX - len(_COPY_SUFFIX)] + _COPY_SUFFIX,
            tipo_campanha=source.tipo_campanha,
            corpo=source.corpo,
            tom=source.tom,
            objetivo=source.objetivo,
            audience_filters=source.audience_filters,
            pode_ofertar=source.pode_ofertar,
            escopo_vagas=source.escopo_vagas,
            regras=source.regras,
            pressure_points=source.pressure_points,
            duplicada_de=source,
            created_by=actor,
        )
        campanha.save()
        campanha.refresh_from_db()
        _record("campanha_duplicada", campanha, actor, {"duplicada_de": source.pk})
    return campanha


def schedule(campanha_id: int, *, agendar_para: datetime, actor: str, now: datetime) -> Campanha:
    """rascunho | agendada → agendada. Raises CampanhaInvalida for an instant that has passed."""
    with transaction.atomic():
        campanha = locked(campanha_id)
        require(campanha, NOT_STARTED, "só pode ser agendada antes de começar")
        before = campanha.agendar_para
        _apply(campanha, {"agendar_para": agendar_para}, now)
        campanha.save()
        moments = {"antes": before.isoformat() if before else None, "depois": agendar_para.isoformat()}
        _record("campanha_agendada", campanha, actor, {"agendar_para": moments})
    campanha.refresh_from_db()
    return campanha


def unschedule(campanha_id: int, *, actor: str, now: datetime) -> Campanha:
    """agendada → rascunho."""
    with transaction.atomic():
        campanha = locked(campanha_id)
        require(campanha, (CampanhaStatus.AGENDADA,), "não está agendada")
        _apply(campanha, {"agendar_para": None}, now)
        campanha.save()
        _record("campanha_desagendada", campanha, actor, {})
    campanha.refresh_from_db()
    return campanha


def refuse_scheduled(campanha_id: int, *, erros: Mapping[str, list[str]], actor: str) -> None:
    """A scheduled campaign that cannot start goes back to a draft, with the reason in the audit trail."""
    with transaction.atomic():
        campanha = locked(campanha_id)
        if campanha.status == CampanhaStatus.AGENDADA:
            campanha.status, campanha.agendar_para = CampanhaStatus.RASCUNHO, None
            campanha.save(update_fields=["status", "agendar_para"])
            _record("campanha_nao_iniciada", campanha, actor, {"erros": dict(erros)})


def delete(campanha_id: int, *, actor: str) -> None:
    """Only a draft; the row is gone, the audit entry and the history stay."""
    with transaction.atomic():
        campanha = locked(campanha_id)
        require(campanha, (CampanhaStatus.RASCUNHO,), "só pode ser apagada em rascunho; cancele-a")
        _record("campanha_excluida", campanha, actor, {"nome": campanha.nome_template})
        campanha.delete()


def locked(campanha_id: int) -> Campanha:
    """The row, locked until the transaction ends. `NO KEY`: inserting its messages and recipients goes on."""
    campanha = Campanha.objects.select_for_update(no_key=True).filter(pk=campanha_id).first()
    if campanha is None:
        raise CampanhaInexistente(campanha_id)
    return campanha


def require(campanha: Campanha, allowed: tuple[CampanhaStatus, ...], otherwise: str) -> None:
    """Raises CampanhaConflict, saying in which state the campaign is now."""
    status = CampanhaStatus(campanha.status)
    if status not in allowed:
        sentence = f"A campanha {campanha.pk} está {status.label.lower()} agora e {otherwise}."
        raise CampanhaConflict(sentence, status)


def check_text(tipo: str, corpo: str) -> list[str]:
    """Errors of the text that would be sent. A kind with a default text may leave `corpo` blank."""
    return rendering.validate(text_to_send(tipo, corpo))


def _apply(campanha: Campanha, changes: Changes, now: datetime) -> None:
    """Set what is given on the instance, or raise CampanhaInvalida with everything that is wrong."""
    erros: dict[str, list[str]] = {}
    for key, apply in _APPLY.items():
        if key in changes:
            try:
                apply(campanha, changes[key], now)  # type: ignore[literal-required]
            except CampanhaInvalida as error:
                erros |= error.erros
    if text_errors := _text_errors(campanha, changes, tipo_known="tipo" not in erros):
        erros["corpo"] = text_errors
    if erros:
        raise CampanhaInvalida(erros)
    for plain in ("tom", "objetivo", "pode_ofertar", "escopo_vagas", "regras"):
        if plain in changes:
            setattr(campanha, plain, changes[plain])
    campanha.status = CampanhaStatus.AGENDADA if campanha.agendar_para else CampanhaStatus.RASCUNHO


def _text_errors(campanha: Campanha, changes: Changes, *, tipo_known: bool) -> list[str]:
    if {"tipo", "corpo"}.isdisjoint(changes):
        return []
    if tipo_known:
        return check_text(campanha.tipo_campanha, campanha.corpo)
    return rendering.validate(campanha.corpo) if changes.get("corpo", "").strip() else []


def _set_nome(campanha: Campanha, value: str, now: datetime) -> None:
    nome = " ".join(value.split())
    if not nome:
        raise CampanhaInvalida({"nome": ["Dê um nome à campanha."]})
    if len(nome) > NOME_MAX:
        raise CampanhaInvalida({"nome": [f"O nome tem {len(nome)} caracteres; o máximo é {NOME_MAX}."]})
    campanha.nome_template = nome


def _set_tipo(campanha: Campanha, value: str, now: datetime) -> None:
    campanha.tipo_campanha = parse_tipo(value)


def _set_corpo(campanha: Campanha, value: str, now: datetime) -> None:
    campanha.corpo = value.replace("\r\n", "\n")


def _set_filters(campanha: Campanha, value: Mapping[str, Any], now: datetime) -> None:
    campanha.audience_filters = AudienceFilters.parse(value).as_json()


def _set_agendar_para(campanha: Campanha, value: datetime | None, now: datetime) -> None:
    if value is not None and value.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    if value is not None and value <= now:
        raise CampanhaInvalida({"agendar_para": [f"O início ({spoken(value, now)}) já passou: escolha outra data."]})
    campanha.agendar_para = value


_APPLY: dict[str, Callable[[Campanha, Any, datetime], None]] = {
    "nome": _set_nome,
    "tipo": _set_tipo,
    "corpo": _set_corpo,
    "filters": _set_filters,
    "agendar_para": _set_agendar_para,
}


def _record(acao: str, campanha: Campanha, actor: str, detalhes: Mapping[str, Any]) -> None:
    audit.record(acao, "campanha", campanha.pk, usuario=actor, detalhes=detalhes)
