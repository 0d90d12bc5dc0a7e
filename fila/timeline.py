"""The story of one message: "Por que (não) foi enviada?"."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chips.choices import DeliveryStatus, Evidencia, Resultado, TipoMensagem
from chips.models import Chip, Selecao, Tentativa
from chips.selection import SENTENCES as REFUSAL_SENTENCES
from chips.selection import Refusal
from chips.vocabulario import services as vocabulario
from core.backoffice.ui import short_digits
from fila.choices import TERMINAL, CampanhaStatus, Evento, Status
from fila.mensagens import Mensagem, MensagemEvento
from fila.sentences import reason_sentence

EVENTS_SHOWN = 400

_CHOICE_SENTENCES = {
    "conversa": "é o chip desta conversa",
    "afinidade": "foi o último a falar com este médico",
    "menor_uso": "era o menos usado na última hora",
    "fallback_trust": "nenhum chip tinha a confiança normal; este tinha a mínima de emergência",
}
_TONES = {
    Evento.ENFILEIRADA: "info",
    Evento.ADIADA: "warn",
    Evento.BLOQUEADA: "bad",
    Evento.CANCELADA: "bad",
    Evento.SEM_CHIP: "warn",
    Evento.INCERTA: "warn",
    Evento.FALHA: "bad",
    Evento.RECIBO: "ok",
}
# What the reconciler wrote is told by its reason, not by the word "decision".
_TITLES = (
    ("busca_", "Busca no provedor"),
    ("fila_zapi_", "Fila da Z-API"),
    ("entrega_desconhecida", "Aviso da Z-API"),
    ("evidencia_", "Resultado confirmado"),
    ("confirmada_por_operador", "Resultado confirmado"),
)
_RECEIPTS = {
    DeliveryStatus.SENT: "O servidor do WhatsApp recebeu (ainda não é prova de entrega).",
    DeliveryStatus.DELIVERED: "Chegou ao aparelho do médico.",
    DeliveryStatus.READ: "O médico leu.",
    DeliveryStatus.FAILED: "O WhatsApp avisou que não entregou.",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `until` is when a postponement ends; `details` are shown on demand."""

    at: datetime
    title: str
    text: str = ""
    tone: str = "neutral"
    until: datetime | None = None
    details: tuple[str, ...] = ()
    times: int = 1


@dataclass(frozen=True, slots=True)
class Records:
    """What the tables say about one message. `chips`: names by id. `results`: sentences by rule of the vocabulary."""

    events: Sequence[MensagemEvento] = ()
    attempts: Sequence[Tentativa] = ()
    selections: Mapping[int, Selecao] | None = None
    chips: Mapping[str, str] | None = None
    events_left_out: int = 0
    results: Mapping[str, str] = field(default_factory=dict)


def timeline(mensagem: Mensagem) -> list[Entry]:
    """Everything recorded about the message, oldest first. Five statements, however long the story is."""
    return story(mensagem, load(mensagem))


def load(mensagem: Mensagem) -> Records:
    newest = list(MensagemEvento.objects.filter(mensagem=mensagem).order_by("-em", "-id")[: EVENTS_SHOWN + 1])
    events = newest[:EVENTS_SHOWN][::-1]
    attempts = list(Tentativa.objects.filter(origem="fila", origem_id=mensagem.pk).order_by("tentativa_no"))
    wanted = {attempt.selecao_id for attempt in attempts if attempt.selecao_id is not None}
    wanted |= {event.detalhes["selecao"] for event in events if event.detalhes.get("selecao")}
    names = Chip.objects.values_list("id", "instance_name")
    return Records(
        events=events,
        attempts=attempts,
        selections=Selecao.objects.in_bulk(wanted) if wanted else {},
        chips={str(pk): short_digits(name) for pk, name in names} if wanted or attempts else {},
        events_left_out=len(newest) - len(events),
        results={codigo: rule.sentence for codigo, rule in vocabulario.current().items()} if attempts else {},
    )


def story(mensagem: Mensagem, records: Records) -> list[Entry]:
    """Pure: the entries, oldest first, equal neighbours folded into one with a count."""
    entries = [_from_event(event, records) for event in records.events]
    if not any(event.tipo == Evento.ENFILEIRADA for event in records.events):
        entries.append(_enqueued(mensagem))
    for attempt in records.attempts:
        entries.extend(_from_attempt(attempt, records))
    entries.extend(_ending(mensagem, records))
    if records.events_left_out:
        entries.append(Entry(mensagem.created_at, "Registros mais antigos não são mostrados"))
    return _fold(sorted(entries, key=lambda entry: entry.at))


def answer(mensagem: Mensagem, *, now: datetime, campanha_status: str | None = None) -> str:
    """One sentence above the story: where the message stands and what happens next."""
    match Status(mensagem.status):
        case Status.ENVIADA:
            return "Foi enviada. " + _RECEIPTS.get(_delivery(mensagem), "Ainda sem confirmação de entrega.")
        case Status.PROCESSANDO if mensagem.tentativa_aberta_id:
            return "Está sendo enviada agora: aguarda a resposta do provedor."
        case Status.PROCESSANDO:
            return "Um worker acabou de pegá-la e ainda decide se pode sair."
        case Status.INCERTA:
            return (
                "Não se sabe se chegou: a chamada saiu e a resposta não veio. Ela não é reenviada sozinha: a prova é "
                "procurada nos avisos e no provedor por até 24 horas. Se souber, pelo celular do chip ou pelo médico, "
                "decida aqui: “Foi enviada” ou “Não foi: reenviar”."
            )
        case Status.PENDENTE:
            return _waiting(mensagem, now, campanha_status)
        case Status.CANCELADA:
            return "Foi cancelada e não será enviada. " + _reason(mensagem)
        case Status.BLOQUEADA:
            return "Foi bloqueada e não será enviada. " + _reason(mensagem)
        case Status.ERRO:
            return "Falhou e não será tentada de novo sozinha. " + _reason(mensagem)


def _reason(mensagem: Mensagem) -> str:
    return reason_sentence(mensagem.outcome_reason_code, mensagem.outcome)


def _waiting(mensagem: Mensagem, now: datetime, campanha_status: str | None) -> str:
    if campanha_status == CampanhaStatus.PAUSADA:
        return "Espera na fila: a campanha está pausada. Retome a campanha para que siga."
    if mensagem.agendar_para > now:
        why = _reason(mensagem) or "Tem horário planejado e sai quando ele chegar."
        return f"Espera na fila pelo horário dela. {why}"
    why = _reason(mensagem) or "Se isto durar mais de alguns minutos, veja na página inicial se o worker está rodando."
    return f"Está na fila e já pode sair: é a vez de um chip livre. {why}"


def _delivery(mensagem: Mensagem) -> DeliveryStatus:
    known = mensagem.delivery_status or ""
    return DeliveryStatus(known) if known in DeliveryStatus.values else DeliveryStatus.PENDING


def _enqueued(mensagem: Mensagem) -> Entry:
    source = "pela campanha" if mensagem.campanha_id else f"como {mensagem.tipo}"
    return Entry(mensagem.created_at, Evento.ENFILEIRADA.label, f"Criada {source}.", "info")


def _from_event(event: MensagemEvento, records: Records) -> Entry:
    if event.tipo == Evento.RECIBO and event.motivo in DeliveryStatus.values:
        text = _RECEIPTS.get(DeliveryStatus(event.motivo), event.motivo)
        tone = "bad" if event.motivo == DeliveryStatus.FAILED else "ok"
        return Entry(event.em, Evento.RECIBO.label, text, tone)
    tipo = Evento(event.tipo) if event.tipo in Evento.values else None
    text = "" if tipo is Evento.ENFILEIRADA else reason_sentence(event.motivo, event.outcome)
    details = _objections(event.detalhes) + _candidates(event.detalhes.get("selecao"), records)
    label = _title(tipo, event.motivo) if tipo else event.tipo
    if event.detalhes.get("por"):
        details.append(f"por {event.detalhes['por']}")
    return Entry(event.em, label, text, _TONES.get(tipo, "neutral") if tipo else "neutral", event.ate, tuple(details))


def _title(tipo: Evento, motivo: str) -> str:
    if tipo is not Evento.DECISAO:
        return tipo.label
    return next((title for prefix, title in _TITLES if motivo.startswith(prefix)), tipo.label)


def _objections(detalhes: Mapping[str, Any]) -> list[str]:
    """Every rule that objected, the deciding one included: people ask what else stood in the way."""
    objections = detalhes.get("objections")
    if not isinstance(objections, list) or len(objections) < 2:
        return []
    return [
        reason_sentence(str(each.get("reason", "")), str(each.get("outcome", "")))
        for each in objections
        if isinstance(each, dict)
    ]


def _candidates(selecao_id: int | None, records: Records) -> list[str]:
    """Each chip that was looked at and why it did not carry the message."""
    selection = (records.selections or {}).get(selecao_id) if selecao_id else None
    if selection is None or not isinstance(selection.candidatos, list):
        return []
    lines: list[str] = []
    for group in selection.candidatos:
        tipo = group.get("tipo", "")
        label = TipoMensagem(tipo).label if tipo in TipoMensagem.values else tipo
        note = " (confiança de emergência)" if group.get("emergencia") else ""
        eligible = [f"final {final}" for final in group.get("elegiveis", ())]
        lines.append(
            f"{label}{note}: podiam levar {', '.join(eligible)}" if eligible else f"{label}{note}: nenhum podia"
        )
        for chip, reasons in group.get("recusados", {}).items():
            name = (records.chips or {}).get(chip, f"chip {chip[:8]}")
            lines.append(f"{name}: {'; '.join(_refusal(reason) for reason in reasons)}")
    return lines


def _refusal(reason: str) -> str:
    try:
        return REFUSAL_SENTENCES[Refusal(reason)]
    except ValueError:
        return reason


def _from_attempt(attempt: Tentativa, records: Records) -> Iterable[Entry]:
    name = (records.chips or {}).get(str(attempt.chip_id), "chip removido")
    chosen = _CHOICE_SENTENCES.get(attempt.motivo_escolha, attempt.motivo_escolha)
    title = f"Tentativa {attempt.tentativa_no} pelo chip {name}"
    details = tuple(_candidates(attempt.selecao_id, records))
    yield Entry(attempt.iniciado_em, title, f"Este chip: {chosen}.", "info", details=details)
    if attempt.resultado != Resultado.INICIADO:
        yield _result(attempt, records)
    if attempt.nao_entregue_em is not None:
        title = f"Tentativa {attempt.tentativa_no}: comprovadamente não entregue"
        yield Entry(attempt.nao_entregue_em, title, "Não conta nos limites da pessoa.", "bad")


def _result(attempt: Tentativa, records: Records) -> Entry:
    result = Resultado(attempt.resultado)
    tone = {Resultado.ENVIADO: "ok", Resultado.REJEITADO: "bad"}.get(result, "warn")
    facts = [
        f"HTTP {attempt.http_status}" if attempt.http_status else "",
        f"{attempt.duracao_ms} ms" if attempt.duracao_ms is not None else "",
        f"resposta: {attempt.erro}" if attempt.erro else "",
        f"provada por: {Evidencia(attempt.evidencia).label.lower()}" if attempt.evidencia in Evidencia.values else "",
    ]
    named = records.results.get(attempt.regra) or reason_sentence(attempt.codigo)
    text = "" if result is Resultado.ENVIADO else named
    at = attempt.encerrado_em or attempt.iniciado_em
    title = f"Tentativa {attempt.tentativa_no}: {result.label.lower()}"
    return Entry(at, title, text, tone, details=tuple(fact for fact in facts if fact))


def _ending(mensagem: Mensagem, records: Records) -> Iterable[Entry]:
    """An end that left no line of its own: changed by hand in the database, or by a bulk cancel."""
    if mensagem.status not in TERMINAL:
        return
    told = {
        Status.ENVIADA: any(attempt.resultado == Resultado.ENVIADO for attempt in records.attempts),
        Status.BLOQUEADA: any(event.tipo == Evento.BLOQUEADA for event in records.events),
        Status.CANCELADA: any(event.tipo == Evento.CANCELADA for event in records.events),
        Status.ERRO: any(event.tipo == Evento.FALHA for event in records.events),
    }
    status = Status(mensagem.status)
    if not told[status]:
        at = mensagem.enviada_em or mensagem.outcome_at or mensagem.updated_at
        yield Entry(at, status.label, _reason(mensagem), "ok" if status is Status.ENVIADA else "bad")


def _fold(entries: Sequence[Entry]) -> list[Entry]:
    """Equal neighbours become the newest of them with a count: a night of "no chip" is one line."""
    folded: list[Entry] = []
    for entry in entries:
        last = folded[-1] if folded else None
        if last and (last.title, last.text, last.tone) == (entry.title, entry.text, entry.tone):
            folded[-1] = Entry(
                entry.at, entry.title, entry.text, entry.tone, entry.until, entry.details, last.times + 1
            )
        else:
            folded.append(entry)
    return folded
