"""Alerts: one open row per (rule, key), raised again and again until its condition is gone."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from core.clock import Agora
from core.database import GenRandomUUID


class Severidade(models.TextChoices):
    INFO = "info", "Informação"
    WARNING = "warning", "Atenção"
    ERROR = "error", "Erro"
    CRITICAL = "critical", "Crítico"


class Alerta(models.Model):
    """Something a person should know. `chave` says of what (`chip:<id>`, a job's name). `contexto` holds no phone."""

    id = models.UUIDField(primary_key=True, db_default=GenRandomUUID(), editable=False)
    tipo = models.CharField(max_length=60)
    chave = models.CharField(max_length=80, db_default="", blank=True)
    severidade = models.CharField(max_length=12, choices=Severidade.choices, db_default=Severidade.WARNING)
    titulo = models.CharField("título", max_length=160)
    mensagem = models.CharField(max_length=500)
    valor = models.DecimalField(max_digits=14, decimal_places=2, null=True)
    limite = models.DecimalField(max_digits=14, decimal_places=2, null=True)
    contexto = models.JSONField(db_default={}, blank=True)
    ocorrencias = models.PositiveIntegerField("ocorrências", db_default=1)
    primeira_ocorrencia_em = models.DateTimeField("desde", db_default=Agora())
    ultima_ocorrencia_em = models.DateTimeField("visto por último", db_default=Agora())
    notificado = models.BooleanField(db_default=False)
    notificado_em = models.DateTimeField(null=True)
    slack_ts = models.CharField(max_length=40, db_default="", blank=True)
    reconhecido = models.BooleanField(db_default=False)
    reconhecido_por = models.CharField(max_length=150, db_default="", blank=True)
    reconhecido_em = models.DateTimeField(null=True)
    resolvido_em = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "alertas"
        verbose_name = "alerta"
        verbose_name_plural = "alertas"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(severidade__in=Severidade.values), name="alertas_severidade_is_lawful"),
            # raise: INSERT … ON CONFLICT (tipo, chave) WHERE resolvido_em IS NULL
            models.UniqueConstraint(
                fields=["tipo", "chave"], condition=Q(resolvido_em__isnull=True), name="alertas_one_open_per_key"
            ),
        ]
        indexes: ClassVar = [
            # backoffice: ORDER BY primeira_ocorrencia_em DESC
            models.Index(fields=["-primeira_ocorrencia_em"], name="alertas_newest_first")
        ]

    def __str__(self) -> str:
        return self.titulo
