"""Which entries of Z-API's queue are ours, which of them must not leave, and what their messages do then. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from chips.choices import DeliveryStatus, Evidencia, Resultado
from chips.providers.evidence import Queued
from core.clientes import phones
from core.outcomes import SendOutcome
from fila.facts import text_hash
from fila.kinds import REPLY_TIPOS
from fila.reconciliacao.retorno import Return
from fila.reconciliacao.schedule import CALLBACK_PATIENCE, GIVE_UP_AFTER
from guardrails import hours
from guardrails.policy import Policy


class Why(StrEnum):
    """Why an entry is taken out of the queue."""

    DESCONECTADO = "desconectado"
    SAIU = "opt_out"
    FORA_DO_HORARIO = "fora_do_horario"
    SEM_RETORNO = "sem_retorno"


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt of the last two days, as far as the vendor's queue is concerned. `saiu`: the person opted out."""

    id: int
    origem: str
    mensagem_id: UUID
    resultado: str
    evidencia: str
    nao_entregue: bool
    entrega: str
    iniciado_em: datetime
    proxima_busca_em: datetime | None
    buscas: int
    destino: str
    texto_hash: str
    chave: str
    fila_id: str
    proativa: bool
    tipo: str
    saiu: bool
    fuso: str

    @property
    def unknown(self) -> bool:
        return self.resultado == Resultado.DESCONHECIDO

    @property
    def may_wait(self) -> bool:
        """Nothing says yet that it left the vendor's queue, or never entered it."""
        accepted = self.resultado == Resultado.ENVIADO and not self.nao_entregue
        return self.unknown or (accepted and self.entrega == DeliveryStatus.PENDING)

    @property
    def taken_out(self) -> bool:
        """The vendor confirmed that we removed it; when it is due, its callback has had five minutes to contradict."""
        return self.evidencia == Evidencia.FILA_ZAPI

    def is_due(self, now: datetime) -> bool:
        if now - self.iniciado_em >= GIVE_UP_AFTER:
            return False
        return (self.proxima_busca_em or self.iniciado_em + CALLBACK_PATIENCE) <= now


def why_remove(entry: Entry, policy: Policy, *, now: datetime, disconnected: bool) -> Why | None:
    """None: it may go on waiting. Who left still gets the answer to what they wrote, and the one confirmation."""
    if entry.saiu and entry.tipo not in REPLY_TIPOS:
        return Why.SAIU
    if entry.proativa and not hours.is_open(policy.window, policy.holidays, now, ZoneInfo(entry.fuso)):
        return Why.FORA_DO_HORARIO
    if disconnected:
        return Why.DESCONECTADO
    return Why.SEM_RETORNO if entry.is_due(now) else None


@dataclass(frozen=True, slots=True)
class InQueue:
    """An entry of the queue that is ours. `entries`: the attempts it may be; it is theirs for sure when it is one."""

    queued: Queued
    entries: tuple[Entry, ...]

    @property
    def sure(self) -> bool:
        return len(self.entries) == 1

    @property
    def in_flight(self) -> bool:
        """Its own call is still open: whoever made it decides first."""
        return any(entry.resultado == Resultado.INICIADO for entry in self.entries)


def assign(queued: Iterable[Queued], entries: Sequence[Entry]) -> list[InQueue]:
    """The entries that are ours: by the vendor's ids, else by recipient and text.

    Two equal ones that only the text names belong to each of their attempts, and so to none for sure. What is nobody's
    here is left alone.
    """
    by_text: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        if not (entry.chave or entry.fila_id):
            by_text[entry.destino, entry.texto_hash].append(entry)
    found: list[InQueue] = []
    for each in queued:
        owners = [entry for entry in entries if _is_named(each, entry)] or _same_text(each, by_text)
        if owners:
            found.append(InQueue(each, tuple(owners)))
    return found


def _is_named(each: Queued, entry: Entry) -> bool:
    ids = {each.zaap_id, each.message_id} - {""}
    return bool(ids & ({entry.fila_id, entry.chave} - {""}))


def _same_text(each: Queued, by_text: dict[tuple[str, str], list[Entry]]) -> list[Entry]:
    canonical = phones.canonical_from_jid(f"{each.phone}@s.whatsapp.net") or each.phone
    spellings = phones.variants(canonical)
    found = [entry for spelling in spellings for entry in by_text.get((spelling, text_hash(each.text)), [])]
    waiting = [entry for entry in found if entry.may_wait or entry.resultado == Resultado.INICIADO]
    return waiting or found


def return_of(entry: Entry, why: Why, policy: Policy, *, now: datetime, queued: Queued | None) -> Return:
    """What its message does: another try, or none of its own fault when hours closed or the person left."""
    closed = why is Why.FORA_DO_HORARIO
    until = hours.next_opening(policy.window, policy.holidays, now, ZoneInfo(entry.fuso)) if closed else None
    return Return(
        entry.id,
        evidencia=Evidencia.FILA_ZAPI,
        motivo="quiet_hours" if closed else f"fila_zapi_apagada:{why}",
        outcome=SendOutcome.BLOCKED_QUIET_HOURS if closed else SendOutcome.FAILED_PROVIDER,
        counts=why in (Why.DESCONECTADO, Why.SEM_RETORNO),
        until=until,
        waits=closed,
        release=True,
        provider_message_id=queued.message_id if queued else "",
        queue_id=queued.zaap_id if queued else "",
    )
