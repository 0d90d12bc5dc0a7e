"""The message in the fila: its table, its constraints, its questions."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from core.clock import Agora
from core.database import FreshCorrelationId, GenRandomUUID
from core.outcomes import SendOutcome
from fila.choices import Evento, Status


class MensagemQuerySet(models.QuerySet["Mensagem"]):
    def pendentes(self) -> "MensagemQuerySet":
        return self.filter(status=Status.PENDENTE)

    def due(self) -> "MensagemQuerySet":
        """Pendente and due by the database's clock, whatever campaigns and chips say."""
        return self.pendentes().filter(agendar_para__lte=Agora())

    def open(self) -> "MensagemQuerySet":
        return self.filter(status__in=["pendente", "processando", "incerta"])


class Mensagem(models.Model):
    """One message to one person, from enqueue to a terminal outcome.

    `tentativas` counts failed attempts only, `reagendamentos` postponements without penalty, `mortes` how often a
    consumer died holding it (poison detection). `token` is the fence of
    the newest claim, `lease_ate` its end, both in database terms. `tentativa_aberta_id` is set exactly while an attempt
    may still be on the wire or is unknown. `telefone_destino` is filled from the cliente by a trigger when left out.
    """

    id = models.UUIDField(primary_key=True, db_default=GenRandomUUID(), editable=False)
    cliente = models.ForeignKey("core.Cliente", on_delete=models.PROTECT, db_index=False, related_name="mensagens")
    campanha = models.ForeignKey(
        "fila.Campanha", on_delete=models.PROTECT, null=True, db_index=False, related_name="mensagens"
    )
    conversa = models.ForeignKey("fila.Conversa", on_delete=models.SET_NULL, null=True, related_name="mensagens")
    chip = models.ForeignKey("chips.Chip", on_delete=models.SET_NULL, null=True, related_name="+")
    telefone_destino = models.CharField(max_length=20, db_default="")
    conteudo = models.TextField("texto")
    tipo = models.CharField(max_length=40, db_default="lembrete")
    prioridade = models.SmallIntegerField(db_default=5)
    status = models.CharField(max_length=16, choices=Status.choices, db_default=Status.PENDENTE)
    agendar_para = models.DateTimeField("enviar a partir de", db_default=Agora())
    agendada_originalmente_para = models.DateTimeField(db_default=Agora())
    expira_em = models.DateTimeField(null=True)
    processando_desde = models.DateTimeField(null=True)
    lease_ate = models.DateTimeField(null=True)
    lease_owner = models.CharField(max_length=80, db_default="", blank=True)
    token = models.BigIntegerField(db_default=0)
    tentativas = models.PositiveSmallIntegerField(db_default=0)
    max_tentativas = models.PositiveSmallIntegerField(db_default=3)
    mortes = models.PositiveSmallIntegerField(db_default=0)
    reagendamentos = models.PositiveIntegerField(db_default=0)
    tentativa_aberta_id = models.BigIntegerField(null=True)
    reenvio_n = models.PositiveSmallIntegerField(db_default=0)
    reprocessa_de = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, db_index=False, related_name="reprocessos"
    )
    idempotency_key = models.CharField(max_length=120, null=True, unique=True)
    erro = models.CharField(max_length=500, null=True)
    outcome = models.CharField(max_length=32, choices=SendOutcome.choices, null=True)
    outcome_reason_code = models.CharField(max_length=160, null=True)
    outcome_at = models.DateTimeField(null=True)
    provider_message_id = models.CharField(max_length=100, null=True)
    enviada_em = models.DateTimeField(null=True)
    delivery_status = models.CharField(max_length=16, null=True)
    entregue_em = models.DateTimeField(null=True)
    inbound_interacao_id = models.BigIntegerField(null=True)
    metadata = models.JSONField(db_default={})
    correlation_id = models.CharField(max_length=64, db_default=FreshCorrelationId())
    created_at = models.DateTimeField(db_default=Agora())
    updated_at = models.DateTimeField(db_default=Agora())

    objects = MensagemQuerySet.as_manager()

    class Meta:
        db_table = "fila_mensagens"
        verbose_name = "mensagem"
        verbose_name_plural = "fila"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="fila_status_is_lawful"),
            models.CheckConstraint(
                condition=Q(outcome__isnull=True) | Q(outcome__in=SendOutcome.values), name="fila_outcome_is_known"
            ),
            models.CheckConstraint(
                condition=Q(prioridade__gte=0) & Q(prioridade__lte=10), name="fila_prioridade_0_to_10"
            ),
            models.CheckConstraint(condition=~Q(conteudo=""), name="fila_conteudo_not_empty"),
            models.UniqueConstraint(
                fields=["campanha", "cliente", "reenvio_n"], name="fila_once_per_campanha_cliente_and_reenvio"
            ),
            models.UniqueConstraint(fields=["reprocessa_de"], name="fila_reprocessed_once"),
        ]
        indexes: ClassVar = [
            # claim of campaign rows: per (campanha_id, prioridade), agendar_para <= agora() ORDER BY agendar_para, id
            models.Index(
                fields=["campanha", "prioridade", "agendar_para", "id"],
                condition=Q(status="pendente", campanha__isnull=False),
                name="fila_due_of_campanha",
            ),
            # claim of other rows: per (tipo, prioridade), agendar_para <= agora() ORDER BY agendar_para, id
            models.Index(
                fields=["prioridade", "agendar_para", "id"],
                condition=Q(status="pendente", campanha__isnull=True),
                name="fila_due_without_campanha",
            ),
            # lease rescue and the stuck view: WHERE status = 'processando' AND lease_ate < agora()
            models.Index(fields=["lease_ate"], condition=Q(status="processando"), name="fila_leases"),
            # visible unknowns: WHERE status = 'incerta' ORDER BY updated_at
            models.Index(fields=["updated_at"], condition=Q(status="incerta"), name="fila_incertas"),
            # expiry and oldest due: WHERE status = 'pendente' AND expira_em < … ; ORDER BY agendar_para LIMIT 1
            models.Index(fields=["agendar_para"], condition=Q(status="pendente"), name="fila_oldest_due"),
            models.Index(fields=["expira_em"], condition=Q(status="pendente"), name="fila_expiring"),
            # counters of one campaign: WHERE campanha_id = … GROUP BY status, outcome
            models.Index(fields=["campanha", "status"], name="fila_by_campanha_and_status"),
            # delivered of one campaign: WHERE campanha_id = … AND delivery_status IN ('delivered', 'read')
            models.Index(
                fields=["campanha"],
                condition=Q(delivery_status__in=["delivered", "read"]),
                name="fila_delivered_of_campanha",
            ),
            # a client's history and opt-out: WHERE cliente_id = … [AND status = 'pendente']
            models.Index(fields=["cliente", "-created_at"], name="fila_by_cliente"),
            # receipts: WHERE provider_message_id = …
            models.Index(
                fields=["provider_message_id"],
                condition=Q(provider_message_id__isnull=False),
                name="fila_by_provider_key",
            ),
            # sent and failed of the last hour: WHERE outcome_at > …
            models.Index(
                fields=["-outcome_at"],
                include=["status", "processando_desde"],
                condition=Q(outcome_at__isnull=False),
                name="fila_newest_outcomes",
            ),
            # newest failures: WHERE status = 'erro' ORDER BY outcome_at DESC
            models.Index(fields=["-outcome_at"], condition=Q(status="erro"), name="fila_newest_errors"),
            # backoffice list, newest first
            models.Index(fields=["-created_at"], name="fila_newest_first"),
            # Rastro: WHERE correlation_id = …, for those that are not found by their campaign's: the drain of campaigns
            # keeps no index for it
            models.Index(
                fields=["correlation_id"],
                condition=Q(campanha__isnull=True) | Q(reprocessa_de__isnull=False),
                name="fila_by_correlation",
            ),
        ]

    def __str__(self) -> str:
        return f"mensagem {str(self.id)[:8]}"


class MensagemDlq(models.Model):
    """A message that ended as `erro`, kept with its last error until somebody decides about it."""

    id = models.UUIDField(primary_key=True, db_default=GenRandomUUID(), editable=False)
    mensagem_original = models.ForeignKey(Mensagem, on_delete=models.CASCADE, related_name="dlq")
    cliente_id = models.UUIDField(null=True)
    conversa_id = models.UUIDField(null=True)
    conteudo = models.TextField()
    tipo = models.CharField(max_length=50)
    prioridade = models.SmallIntegerField(db_default=5)
    tentativas = models.PositiveSmallIntegerField(db_default=0)
    ultimo_erro = models.CharField(max_length=500, null=True)
    outcome = models.CharField(max_length=50, null=True)
    outcome_reason_code = models.CharField(max_length=255, null=True)
    metadata = models.JSONField(db_default={})
    original_created_at = models.DateTimeField(null=True)
    movido_para_dlq_em = models.DateTimeField(db_default=Agora())
    reprocessado = models.BooleanField(db_default=False)
    reprocessado_em = models.DateTimeField(null=True)
    reprocessado_por = models.CharField(max_length=100, null=True)
    reprocessamento = models.ForeignKey(
        "fila.Reprocessamento", on_delete=models.SET_NULL, null=True, related_name="falhas"
    )
    quarentena = models.BooleanField(db_default=False)
    evidencia = models.JSONField(db_default={}, blank=True)
    created_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "fila_mensagens_dlq"
        verbose_name = "mensagem com falha definitiva"
        verbose_name_plural = "falhas definitivas"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["mensagem_original"], name="fila_dlq_once_per_message")
        ]
        indexes: ClassVar = [
            # backoffice and reprocess: WHERE NOT reprocessado ORDER BY movido_para_dlq_em DESC
            models.Index(
                fields=["-movido_para_dlq_em"], condition=Q(reprocessado=False), name="fila_dlq_open_newest_first"
            ),
            # counts of one run: WHERE reprocessamento_id = … comes with its foreign key; all, newest first
            models.Index(fields=["-movido_para_dlq_em"], name="fila_dlq_newest_first"),
        ]

    def __str__(self) -> str:
        return f"falha {str(self.id)[:8]}"


class Reprocessamento(models.Model):
    """One run that put failures back into the fila as new, linked messages. `resultado` counts by reason."""

    id = models.UUIDField(primary_key=True, db_default=GenRandomUUID(), editable=False)
    filtros = models.JSONField(db_default={}, blank=True)
    motivo = models.CharField(max_length=500)
    usuario = models.CharField("usuário", max_length=150)
    resultado = models.JSONField(db_default={}, blank=True)
    correlation_id = models.CharField(max_length=64, db_default="", blank=True)
    iniciado_em = models.DateTimeField(db_default=Agora())
    concluido_em = models.DateTimeField(null=True)

    class Meta:
        db_table = "fila_reprocessamentos"
        verbose_name = "reprocessamento"
        verbose_name_plural = "reprocessamentos"
        indexes: ClassVar = [
            # backoffice list: ORDER BY iniciado_em DESC
            models.Index(fields=["-iniciado_em"], name="reprocessamentos_newest_first"),
            # sweep: WHERE concluido_em IS NULL
            models.Index(fields=["id"], condition=Q(concluido_em__isnull=True), name="reprocessamentos_open"),
        ]

    def __str__(self) -> str:
        return f"reprocessamento de {self.iniciado_em:%d/%m %H:%M}"


class MensagemEvento(models.Model):
    """One line of a message's story that no other table tells: decisions, postponements, refusals, receipts."""

    id = models.BigAutoField(primary_key=True)
    mensagem = models.ForeignKey(Mensagem, on_delete=models.CASCADE, related_name="eventos")
    tipo = models.CharField(max_length=16, choices=Evento.choices)
    outcome = models.CharField(max_length=32, db_default="", blank=True)
    motivo = models.CharField(max_length=160, db_default="", blank=True)
    ate = models.DateTimeField(null=True)
    detalhes = models.JSONField(db_default={})
    em = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "fila_eventos"
        indexes: ClassVar = [
            # timeline: WHERE mensagem_id = … ORDER BY em, id
            models.Index(fields=["mensagem", "em", "id"], name="fila_eventos_timeline")
        ]

    def __str__(self) -> str:
        return f"{self.tipo} {self.motivo}"
