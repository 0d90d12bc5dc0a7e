"""A campaign and the people it was made for."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from core.clock import Agora
from core.history import track_decisions
from fila.choices import CampanhaStatus, DestinatarioEstado, MotivoExclusao, TipoCampanha


@track_decisions("nome_template", "tipo_campanha", "status", "corpo", "audience_filters", "agendar_para")
class Campanha(models.Model):
    """One text for one audience. `corpo` may change until start; `corpo_congelado` is what is sent.

    `enfileirada_em` is set when the last recipient's message is in the fila: only then may it end as `concluida`.
    `excluidas` counts people by reason, frozen at start. `plano` holds the planned windows and `termina_em`.
    Counters are derived from rows, never stored.
    """

    id = models.BigAutoField(primary_key=True)
    nome_template = models.CharField("nome", max_length=200)
    tipo_campanha = models.CharField("tipo", max_length=32, choices=TipoCampanha.choices, db_default="oferta_plantao")
    status = models.CharField(max_length=16, choices=CampanhaStatus.choices, db_default=CampanhaStatus.RASCUNHO)
    corpo = models.TextField("texto", db_default="", blank=True)
    corpo_congelado = models.TextField(db_default="", blank=True)
    tom = models.CharField(max_length=32, db_default="amigavel", blank=True)
    objetivo = models.TextField(db_default="", blank=True)
    agendar_para = models.DateTimeField("iniciar em", null=True, blank=True)
    iniciada_em = models.DateTimeField(null=True, blank=True)
    enfileirada_em = models.DateTimeField(null=True, blank=True)
    concluida_em = models.DateTimeField(null=True, blank=True)
    audience_filters = models.JSONField("público", db_default={}, blank=True)
    pode_ofertar = models.BooleanField(db_default=False)
    escopo_vagas = models.JSONField(null=True, blank=True)
    regras = models.JSONField(null=True, blank=True)
    total_destinatarios = models.PositiveIntegerField(db_default=0)
    excluidas = models.JSONField(db_default={}, blank=True)
    plano = models.JSONField(db_default={}, blank=True)
    termina_em = models.DateTimeField(null=True, blank=True)
    pressure_points = models.PositiveSmallIntegerField(db_default=25)
    duplicada_de = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_by = models.CharField("criada por", max_length=150, db_default="", blank=True)
    correlation_id = models.CharField(max_length=64, db_default="", blank=True)
    created_at = models.DateTimeField("criada em", db_default=Agora(), editable=False)
    updated_at = models.DateTimeField(db_default=Agora(), editable=False)

    class Meta:
        db_table = "campanhas"
        verbose_name = "campanha"
        verbose_name_plural = "campanhas"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(status__in=CampanhaStatus.values), name="campanhas_status_is_lawful"),
            models.CheckConstraint(condition=Q(tipo_campanha__in=TipoCampanha.values), name="campanhas_tipo_is_known"),
        ]
        indexes: ClassVar = [
            # claim: WHERE status = 'ativa'; scheduled start: WHERE status = 'agendada' AND agendar_para <= agora()
            models.Index(fields=["status", "agendar_para"], name="campanhas_by_status"),
            # Rastro: WHERE correlation_id = …; its messages are then found by campanha_id
            models.Index(fields=["correlation_id"], condition=~Q(correlation_id=""), name="campanhas_by_correlation"),
        ]

    def __str__(self) -> str:
        return self.nome_template


class Destinatario(models.Model):
    """One person of one campaign's audience, frozen at start: selected, enqueued, or excluded with the reason."""

    id = models.BigAutoField(primary_key=True)
    campanha = models.ForeignKey(Campanha, on_delete=models.CASCADE, db_index=False, related_name="destinatarios")
    cliente = models.ForeignKey("core.Cliente", on_delete=models.PROTECT, db_index=False, related_name="+")
    ordem = models.PositiveIntegerField(db_default=0)
    estado = models.CharField(max_length=16, choices=DestinatarioEstado.choices)
    motivo_exclusao = models.CharField(max_length=24, choices=MotivoExclusao.choices, null=True)
    created_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "campanha_destinatarios"
        verbose_name = "destinatário"
        verbose_name_plural = "destinatários"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["campanha", "cliente"], name="destinatarios_once_per_campanha"),
            models.CheckConstraint(
                condition=Q(estado="excluido", motivo_exclusao__isnull=False)
                | (~Q(estado="excluido") & Q(motivo_exclusao__isnull=True)),
                name="destinatarios_excluded_has_reason",
            ),
        ]
        indexes: ClassVar = [
            # enqueue in batches: WHERE campanha_id = … AND estado = 'selecionado' ORDER BY ordem LIMIT …
            models.Index(
                fields=["campanha", "ordem"],
                condition=Q(estado="selecionado"),
                name="destinatarios_to_enqueue",
            ),
            # excluded, by reason: WHERE campanha_id = … AND estado = 'excluido' [AND motivo_exclusao = …]
            models.Index(
                fields=["campanha", "motivo_exclusao"],
                condition=Q(estado="excluido"),
                name="destinatarios_excluded",
            ),
            # a client's campaigns: WHERE cliente_id = …
            models.Index(fields=["cliente"], name="destinatarios_by_cliente"),
        ]

    def __str__(self) -> str:
        return f"{self.campanha_id}/{self.cliente_id}"
