"""Conversations as far as an inbound or outbound message needs them."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from chips.choices import DeliveryStatus
from core.clock import Agora
from core.database import GenRandomUUID
from fila.choices import Autor, ConversationStatus

OPEN_CONVERSATION = ~Q(status__in=["completed", "abandoned"])


class Conversa(models.Model):
    """One conversation with one number. `message_count` counts the lead's messages, `response_count` those answered."""

    id = models.UUIDField(primary_key=True, db_default=GenRandomUUID(), editable=False)
    cliente = models.ForeignKey("core.Cliente", on_delete=models.PROTECT, null=True, related_name="conversas")
    lead_phone = models.CharField(max_length=20)
    campanha_id = models.BigIntegerField(null=True)
    status = models.CharField(max_length=24, choices=ConversationStatus.choices, db_default=ConversationStatus.ACTIVE)
    stage = models.CharField(max_length=32, db_default="novo")
    controlled_by = models.CharField(max_length=8, db_default="ai")
    controlled_by_user_id = models.CharField(max_length=64, db_default="", blank=True)
    escalation_reason = models.CharField(max_length=200, db_default="", blank=True)
    message_count = models.PositiveIntegerField(db_default=0)
    response_count = models.PositiveIntegerField(db_default=0)
    last_message_at = models.DateTimeField(null=True)
    ultima_mensagem_em = models.DateTimeField(null=True)
    pausado_ate = models.DateTimeField(null=True)
    first_touch_campaign_id = models.BigIntegerField(null=True)
    first_touch_type = models.CharField(max_length=32, db_default="", blank=True)
    first_touch_at = models.DateTimeField(null=True)
    last_touch_campaign_id = models.BigIntegerField(null=True)
    last_touch_type = models.CharField(max_length=32, db_default="", blank=True)
    last_touch_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(db_default=Agora())
    completed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Agora())
    updated_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "conversations"
        verbose_name = "conversa"
        verbose_name_plural = "conversas"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status__in=ConversationStatus.values), name="conversations_status_is_lawful"
            ),
            models.CheckConstraint(condition=Q(controlled_by__in=["ai", "human"]), name="conversations_controlled_by"),
            models.UniqueConstraint(
                fields=["lead_phone"], condition=OPEN_CONVERSATION, name="conversations_one_open_per_phone"
            ),
        ]
        indexes: ClassVar = [
            # runbook: WHERE lead_phone = … ORDER BY updated_at DESC LIMIT 1
            models.Index(fields=["lead_phone", "-updated_at"], name="conversations_by_phone"),
            # human control of a client: WHERE cliente_id = … AND controlled_by = 'human'
            models.Index(fields=["cliente"], name="conversations_by_cliente"),
            # runbook: WHERE last_message_at > now() - interval '24 hours' ORDER BY last_message_at DESC
            models.Index(fields=["-last_message_at"], name="conversations_newest"),
        ]

    def __str__(self) -> str:
        return f"conversa {str(self.id)[:8]}"


class ConversaContexto(models.Model):
    """Free context of a phone; keys are patched in one statement, never read-modify-written."""

    id = models.BigAutoField(primary_key=True)
    lead_phone = models.CharField(max_length=20, unique=True)
    context_data = models.JSONField(db_default={})
    updated_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "conversation_context"

    def __str__(self) -> str:
        return f"contexto {self.id}"


class ConversaChip(models.Model):
    """Which chip a conversation runs on: replies keep it."""

    id = models.BigAutoField(primary_key=True)
    conversa = models.ForeignKey(Conversa, on_delete=models.CASCADE, related_name="chips")
    chip = models.ForeignKey("chips.Chip", on_delete=models.CASCADE, related_name="+")
    active = models.BooleanField(db_default=True)
    migrated_at = models.DateTimeField(null=True)
    migrated_from = models.UUIDField(null=True)
    created_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "conversation_chips"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["conversa"], condition=Q(active=True), name="conversation_chips_one_active")
        ]

    def __str__(self) -> str:
        return f"{self.conversa_id} em {self.chip_id}"


class Interacao(models.Model):
    """One message of a conversation, either direction. `provider_message_id` is unique per provider and instance."""

    class Tipo(models.TextChoices):
        ENTRADA = "entrada", "Recebida"
        SAIDA = "saida", "Enviada"

    id = models.BigAutoField(primary_key=True)
    conversation = models.ForeignKey(Conversa, on_delete=models.CASCADE, related_name="interacoes")
    cliente = models.ForeignKey("core.Cliente", on_delete=models.PROTECT, null=True, related_name="interacoes")
    chip = models.ForeignKey("chips.Chip", on_delete=models.SET_NULL, null=True, related_name="+")
    mensagem = models.ForeignKey("fila.Mensagem", on_delete=models.SET_NULL, null=True, related_name="interacoes")
    origem = models.CharField(max_length=24)
    tipo = models.CharField(max_length=8, choices=Tipo.choices)
    canal = models.CharField(max_length=16, db_default="whatsapp")
    conteudo = models.TextField(db_default="")
    autor_tipo = models.CharField(max_length=8, choices=Autor.choices)
    autor_nome = models.CharField(max_length=255, db_default="", blank=True)
    intencao = models.CharField(max_length=24, db_default="", blank=True)
    attributed_campaign_id = models.BigIntegerField(null=True)
    provider = models.CharField(max_length=16, db_default="", blank=True)
    instance = models.CharField(max_length=100, db_default="", blank=True)
    provider_message_id = models.CharField(max_length=100, db_default="", blank=True)
    delivery_status = models.CharField(max_length=16, choices=DeliveryStatus.choices, null=True)
    delivery_status_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "interacoes"
        verbose_name = "interação"
        verbose_name_plural = "interações"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["provider", "instance", "provider_message_id"],
                condition=~Q(provider_message_id=""),
                name="interacoes_once_per_provider_message",
            )
        ]
        indexes: ClassVar = [
            # a conversation's messages: WHERE conversation_id = … ORDER BY created_at
            models.Index(fields=["conversation", "created_at"], name="interacoes_of_conversation"),
            # a client's history: WHERE cliente_id = … ORDER BY created_at DESC
            models.Index(fields=["cliente", "-created_at"], name="interacoes_of_cliente"),
            # replies of a campaign: WHERE attributed_campaign_id = … (distinct clients)
            models.Index(
                fields=["attributed_campaign_id", "cliente"],
                condition=Q(attributed_campaign_id__isnull=False, tipo="entrada"),
                name="interacoes_replies_of_campaign",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tipo} {self.id}"
