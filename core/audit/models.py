"""Who did what to which thing, and why: rows are only ever inserted."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from core.clock import Agora
from core.database import GenRandomUUID


class AuditEntry(models.Model):
    """One act of a person or of the system on an entity. `detalhes` holds before/after, never message text."""

    id = models.UUIDField(primary_key=True, db_default=GenRandomUUID(), editable=False)
    acao = models.CharField("ação", max_length=64)
    entidade = models.CharField(max_length=64)
    entidade_id = models.CharField(max_length=64, db_default="")
    motivo = models.CharField(max_length=500, db_default="", blank=True)
    detalhes = models.JSONField(db_default={}, blank=True)
    usuario = models.CharField("usuário", max_length=150)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    correlation_id = models.CharField(max_length=64, db_default="", blank=True)
    created_at = models.DateTimeField("quando", db_default=Agora())

    class Meta:
        db_table = "audit_trail"
        verbose_name = "registro de auditoria"
        verbose_name_plural = "auditoria"
        indexes: ClassVar = [
            # an entity's history: WHERE entidade = … AND entidade_id = … ORDER BY created_at DESC
            models.Index(fields=["entidade", "entidade_id", "-created_at"], name="audit_by_entity"),
            # newest acts: ORDER BY created_at DESC
            models.Index(fields=["-created_at"], name="audit_newest_first"),
            # Rastro: WHERE correlation_id = … ORDER BY created_at
            models.Index(
                fields=["correlation_id", "created_at"], condition=~Q(correlation_id=""), name="audit_by_correlation"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.acao} {self.entidade} {self.entidade_id}"
