"""The fleet: chips, what they did, and why one was chosen."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from chips.choices import (
    NULL_PROVIDER,
    ChipStatus,
    ChipTipo,
    ConexaoEstado,
    FaseWarmup,
    ProviderName,
    TipoMensagem,
    TrustLevel,
)
from chips.ledger.models import LimiteMinuto, Tentativa
from chips.vocabulario.models import RegraErro
from chips.webhooks.models import EventoRecebido
from core.clock import Agora
from core.crypto import EncryptedTextField
from core.database import GenRandomUUID
from core.history import track_decisions


@track_decisions(
    "status", "tipo", "provider", "instance_name", "pode_prospectar", "pode_followup", "pode_responder",
    "limite_hora", "limite_dia", "delay_minimo_segundos", "bloqueio_manual", "bloqueio_motivo", "bloqueado_por",
)  # fmt: skip
class Chip(models.Model):
    """One WhatsApp number. Connection is a fact of its own and never changes the lifecycle `status`.

    `telefone` is E.164 digits. `peso_dia` is the weight reserved on the local date `contadores_data` (campaigns weigh
    2, S-36 T04.2). `proximo_envio_em` is the pacing, in database time. Rates are 0..1. `fila_vista_em`: the
    last look at the vendor's own queue (Z-API). `rampa_desde`: the end of the last long rest, from which the limits
    grow back (chips reference §4.5).

    `evolution_connected` and `connection_*` are the newest word of webhook, check or list: they decide eligibility.
    `conexao_*` are the monitor's (chips/monitor): what its last answered checks come to and since when, its failed
    checks in a row, those in a row that nobody answered, the last echo or receipt of this number.
    `sessao_encerrada_em`: WhatsApp ended the session (close 401); empty again once it is open.
    """

    id = models.UUIDField(primary_key=True, db_default=GenRandomUUID(), editable=False)
    telefone = models.CharField(max_length=20, unique=True)
    instance_name = models.CharField(max_length=100, unique=True)
    provider = models.CharField(max_length=16, choices=ProviderName.choices, db_default=ProviderName.EVOLUTION)
    tipo = models.CharField(max_length=16, choices=ChipTipo.choices, db_default=ChipTipo.JULIA)
    status = models.CharField(max_length=16, choices=ChipStatus.choices, db_default=ChipStatus.PROVISIONED)

    api_key = EncryptedTextField(db_default="", blank=True, editable=False)
    zapi_instance_id = models.CharField(max_length=100, db_default="", blank=True)
    zapi_token = EncryptedTextField(db_default="", blank=True, editable=False)
    zapi_client_token = EncryptedTextField(db_default="", blank=True, editable=False)
    webhook_secret = EncryptedTextField(db_default="", blank=True, editable=False)

    evolution_connected = models.BooleanField("conectado", db_default=False)
    connection_state = models.CharField(max_length=16, db_default="unknown")
    connection_checked_at = models.DateTimeField(null=True, blank=True)
    disconnected_since = models.DateTimeField(null=True, blank=True)
    connection_cooldown_until = models.DateTimeField(null=True, blank=True)
    fila_vista_em = models.DateTimeField(null=True, blank=True, editable=False)
    conexao_estado = models.CharField(
        "conexão", max_length=24, choices=ConexaoEstado.choices, db_default=ConexaoEstado.NAO_VERIFICADO, editable=False
    )
    conexao_desde = models.DateTimeField(null=True, editable=False)
    conexao_verificada_em = models.DateTimeField(null=True, editable=False)
    conexao_falhas = models.PositiveSmallIntegerField(db_default=0, editable=False)
    conexao_sem_resposta = models.PositiveSmallIntegerField(db_default=0, editable=False)
    conexao_sem_resposta_desde = models.DateTimeField(null=True, editable=False)
    conexao_erro = models.CharField(max_length=24, db_default="", editable=False)
    conexao_eco_em = models.DateTimeField(null=True, editable=False)
    sessao_encerrada_em = models.DateTimeField(null=True, editable=False)

    fase_warmup = models.CharField(max_length=24, choices=FaseWarmup.choices, db_default=FaseWarmup.REPOUSO)
    fase_iniciada_em = models.DateTimeField(db_default=Agora())
    warming_started_at = models.DateTimeField(null=True, blank=True)
    warming_day = models.PositiveIntegerField(db_default=0)

    trust_score = models.PositiveSmallIntegerField(db_default=50)
    trust_level = models.CharField(max_length=16, choices=TrustLevel.choices, db_default=TrustLevel.LARANJA)
    trust_factors = models.JSONField(db_default={}, blank=True)
    ultimo_calculo_trust = models.DateTimeField(null=True, blank=True)

    msgs_enviadas_total = models.PositiveIntegerField(db_default=0)
    msgs_recebidas_total = models.PositiveIntegerField(db_default=0)
    msgs_enviadas_hoje = models.PositiveIntegerField(db_default=0)
    msgs_recebidas_hoje = models.PositiveIntegerField(db_default=0)
    peso_dia = models.PositiveIntegerField(db_default=0)
    contadores_data = models.DateField(null=True, blank=True)
    taxa_resposta = models.DecimalField(max_digits=5, decimal_places=4, db_default=0)
    taxa_delivery = models.DecimalField(max_digits=5, decimal_places=4, db_default=1)
    taxa_block = models.DecimalField(max_digits=5, decimal_places=4, db_default=0)
    conversas_bidirecionais = models.PositiveIntegerField(db_default=0)
    grupos_count = models.PositiveIntegerField(db_default=0)
    tipos_midia_usados = ArrayField(models.CharField(max_length=16), db_default=[], blank=True)
    erros_ultimas_24h = models.PositiveIntegerField(db_default=0)
    dias_sem_erro = models.PositiveIntegerField(db_default=0)

    pode_prospectar = models.BooleanField(db_default=False)
    pode_followup = models.BooleanField(db_default=False)
    pode_responder = models.BooleanField(db_default=True)
    limite_hora = models.PositiveIntegerField(db_default=5)
    limite_dia = models.PositiveIntegerField(db_default=30)
    delay_minimo_segundos = models.PositiveIntegerField(db_default=120)
    proximo_envio_em = models.DateTimeField(db_default=Agora())

    cooldown_until = models.DateTimeField(null=True, blank=True)
    cooldown_motivo = models.CharField(max_length=100, db_default="", blank=True)
    rampa_desde = models.DateTimeField(null=True, blank=True)
    degradado_em = models.DateTimeField(null=True, blank=True)
    degradado_motivo = models.CharField(max_length=100, db_default="", blank=True)
    bloqueio_manual = models.BooleanField("bloqueio manual", db_default=False)
    bloqueio_motivo = models.CharField(max_length=500, db_default="", blank=True)
    bloqueado_por = models.CharField(max_length=150, db_default="", blank=True)
    bloqueado_em = models.DateTimeField(null=True, blank=True)

    ultimo_envio_em = models.DateTimeField(null=True, blank=True)
    ultima_resposta_em = models.DateTimeField(null=True, blank=True)
    ultimo_erro_em = models.DateTimeField(null=True, blank=True)
    ultimo_erro_codigo = models.IntegerField(null=True, blank=True)
    ultimo_erro_msg = models.CharField(max_length=300, db_default="", blank=True)
    banned_at = models.DateTimeField(null=True, blank=True)
    ban_reason = models.CharField(max_length=300, db_default="", blank=True)
    promoted_to_active_at = models.DateTimeField(null=True, blank=True)
    ready_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Agora(), editable=False)
    updated_at = models.DateTimeField(db_default=Agora(), editable=False)

    class Meta:
        db_table = "chips"
        verbose_name = "chip"
        verbose_name_plural = "chips"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(status__in=ChipStatus.values), name="chips_status_is_lawful"),
            models.CheckConstraint(
                condition=Q(provider__in=[*ProviderName.values, NULL_PROVIDER]), name="chips_provider_is_known"
            ),
            models.CheckConstraint(condition=Q(trust_score__lte=100), name="chips_trust_at_most_100"),
            models.CheckConstraint(
                condition=Q(conexao_estado__in=ConexaoEstado.values), name="chips_conexao_estado_is_lawful"
            ),
            models.CheckConstraint(
                condition=Q(telefone__regex=r"^[1-9][0-9]{7,14}$"), name="chips_telefone_is_e164_digits"
            ),
        ]
        indexes: ClassVar = [
            # candidates of a selection: WHERE status = 'active'
            models.Index(fields=["status"], name="chips_by_status"),
            # webhook of a Z-API instance: WHERE zapi_instance_id = …
            models.Index(fields=["zapi_instance_id"], condition=~Q(zapi_instance_id=""), name="chips_by_zapi_instance"),
        ]

    def __str__(self) -> str:
        return self.instance_name


INTERACTION_TIPOS = [
    "msg_enviada", "msg_recebida", "chamada", "status_criado", "grupo_entrada", "grupo_saida", "midia_enviada",
    "msg_entregue", "msg_lida", "msg_reproduzida", "msg_enviada_confirmada", "presenca_digitando",
    "presenca_gravando", "warmup_msg",
]  # fmt: skip


class ChipInteraction(models.Model):
    """One thing a chip did or received, written exactly once (chips reference §1.4)."""

    id = models.BigAutoField(primary_key=True)
    chip = models.ForeignKey(Chip, on_delete=models.CASCADE, related_name="interactions")
    tipo = models.CharField(max_length=32)
    destinatario = models.CharField(max_length=20, db_default="", blank=True)
    remetente = models.CharField(max_length=20, db_default="", blank=True)
    midia_tipo = models.CharField(max_length=16, db_default="text")
    sucesso = models.BooleanField(db_default=True)
    obteve_resposta = models.BooleanField(db_default=False)
    resposta_em = models.DateTimeField(null=True)
    tempo_resposta_segundos = models.PositiveIntegerField(null=True)
    error_code = models.IntegerField(null=True)
    error_message = models.CharField(max_length=300, db_default="", blank=True)
    provider_message_id = models.CharField(max_length=100, db_default="", blank=True)
    contexto = models.CharField(max_length=16, db_default="producao")
    metadata = models.JSONField(db_default={}, blank=True)
    created_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "chip_interactions"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(tipo__in=INTERACTION_TIPOS),
                name="chip_interactions_tipo_is_known",
            )
        ]
        indexes: ClassVar = [
            # a chip's newest interactions of a kind: WHERE chip_id = … AND tipo = … ORDER BY created_at DESC
            models.Index(fields=["chip", "tipo", "-created_at"], name="chip_interactions_by_kind"),
            # affinity and "did we write to this number": WHERE chip_id = … AND destinatario = …
            models.Index(fields=["chip", "destinatario"], name="chip_interactions_by_dest"),
            # receipts: WHERE provider_message_id = …
            models.Index(
                fields=["provider_message_id"], condition=~Q(provider_message_id=""), name="chip_interactions_by_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tipo} {self.chip_id}"


class Selecao(models.Model):
    """Why chips were (not) chosen for one batch: every candidate with its refusals. Phones: last four digits only."""

    id = models.BigAutoField(primary_key=True)
    tipo_mensagem = models.CharField(max_length=16, choices=TipoMensagem.choices)
    elegiveis = models.PositiveIntegerField("chips_elegiveis_count", db_default=0, db_column="chips_elegiveis_count")
    candidatos = models.JSONField(db_default=[])
    motivo = models.CharField(max_length=40)
    fallback_mode = models.BooleanField(db_default=False)
    correlation_id = models.CharField(max_length=64, db_default="")
    created_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "chip_selection_log"
        indexes: ClassVar = [
            # retention: DELETE WHERE created_at < …
            models.Index(fields=["created_at"], name="chip_selection_log_oldest")
        ]

    def __str__(self) -> str:
        return f"{self.motivo} {self.created_at:%d/%m %H:%M:%S}"


__all__ = ["Chip", "ChipInteraction", "EventoRecebido", "LimiteMinuto", "RegraErro", "Selecao", "Tentativa"]
