"""Putting one message into the fila. Campaigns insert theirs set-based; everything else comes through here."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from core import correlation
from fila.choices import Evento
from fila.models import Mensagem, MensagemEvento

URGENT, REPLY, FOLLOWUP, CAMPAIGN, BULK = 9, 8, 5, 3, 2


class UnresolvedText(ValueError):
    """The text still holds a placeholder: it would reach a person as it is."""


def enqueue(
    cliente_id: UUID,
    conteudo: str,
    *,
    tipo: str,
    prioridade: int,
    conversa_id: UUID | None = None,
    agendar_para: datetime | None = None,
    idempotency_key: str | None = None,
    inbound_interacao_id: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> UUID:
    """The message's id. With an `idempotency_key` that exists already, the id of the message that has it.

    Wakes the worker at the commit of the caller's transaction. Raises UnresolvedText for `{`, `}` or `__MARK__`.
    """
    if "{" in conteudo or "}" in conteudo or "__" in conteudo:
        raise UnresolvedText("o texto ainda tem um marcador por preencher")
    values: dict[str, Any] = {
        "cliente_id": cliente_id,
        "conteudo": conteudo,
        "tipo": tipo,
        "prioridade": prioridade,
        "conversa_id": conversa_id,
        "inbound_interacao_id": inbound_interacao_id,
        "metadata": dict(metadata or {}),
        "correlation_id": correlation.get(),
    }
    if agendar_para is not None:
        values["agendar_para"] = agendar_para
    if idempotency_key is None:
        message, created = Mensagem.objects.create(**values), True
    else:
        message, created = Mensagem.objects.get_or_create(idempotency_key=idempotency_key, defaults=values)
    if created:
        MensagemEvento.objects.create(mensagem=message, tipo=Evento.ENFILEIRADA, motivo=tipo)
    return message.pk
