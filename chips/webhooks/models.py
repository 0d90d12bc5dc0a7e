"""The inbox: what a provider said, stored once before anything else happens to it."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from chips.choices import InboxKind, InboxStatus
from core.clock import Agora


class EventoRecebido(models.Model):
    """One webhook event. `chave` is the dedupe key of (provider, instance, event, message id, status).

    `pessoa` is the canonical number it is about, where it names one: an unprocessed inbound of that person holds
    proactive sends. `recebido_em` is our receipt time, the only one we trust. Payloads are scrubbed of tokens.
    `correlation_id` is the request's, and once handled that of the attempt which the event tells of.
    """

    id = models.BigAutoField(primary_key=True)
    provider = models.CharField(max_length=16)
    instance = models.CharField(max_length=100)
    evento = models.CharField(max_length=64)
    kind = models.CharField(max_length=16, choices=InboxKind.choices, db_default=InboxKind.OUTRO)
    chave = models.CharField(max_length=200, unique=True)
    key_id = models.CharField(max_length=100, db_default="", blank=True)
    pessoa = models.CharField(max_length=20, db_default="", blank=True)
    payload = models.JSONField()
    status = models.CharField(max_length=16, choices=InboxStatus.choices, db_default=InboxStatus.PENDENTE)
    motivo = models.CharField(max_length=200, db_default="", blank=True)
    tentativas = models.PositiveSmallIntegerField(db_default=0)
    proxima_em = models.DateTimeField(db_default=Agora())
    correlation_id = models.CharField(max_length=64, db_default="")
    recebido_em = models.DateTimeField(db_default=Agora())
    processado_em = models.DateTimeField(null=True)

    class Meta:
        db_table = "webhook_eventos"
        verbose_name = "evento recebido"
        verbose_name_plural = "eventos recebidos"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(status__in=InboxStatus.values), name="webhook_eventos_status_is_lawful")
        ]
        indexes: ClassVar = [
            # alert rules: WHERE status = 'erro' AND recebido_em > …
            models.Index(fields=["recebido_em"], condition=Q(status="erro"), name="webhook_eventos_failed"),
            # consumer: WHERE status IN ('pendente', 'aguardando') AND proxima_em <= agora() ORDER BY id
            models.Index(
                fields=["proxima_em", "id"],
                condition=Q(status__in=["pendente", "aguardando"]),
                name="webhook_eventos_due",
            ),
            # settle wakes events that wait for its key: WHERE key_id = ANY(…) AND status = 'aguardando'
            models.Index(fields=["key_id"], condition=Q(status="aguardando"), name="webhook_eventos_waiting"),
            # is an inbound of this person not understood yet: WHERE pessoa = … AND status IN ('pendente', 'erro')
            models.Index(
                fields=["pessoa"],
                condition=Q(status__in=["pendente", "erro"], kind="entrada"),
                name="webhook_eventos_open_of_pessoa",
            ),
            # backoffice and retention: ORDER BY recebido_em DESC
            models.Index(fields=["-recebido_em"], name="webhook_eventos_newest_first"),
            # Rastro: WHERE correlation_id = … [AND key_id = ANY(…)]
            models.Index(
                fields=["correlation_id", "key_id"],
                condition=~Q(correlation_id=""),
                name="webhook_eventos_by_correlation",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.evento} {self.instance}"
