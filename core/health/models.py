"""Signs of life of the roles, written by the roles themselves and read by health, diagnosis and the backoffice."""

from typing import ClassVar

from django.db import models

from core.clock import Agora


class RoleBeat(models.Model):
    """The newest beat of one process of one role. `detalhe` says what it was doing (looks taken, open calls)."""

    id = models.BigAutoField(primary_key=True)
    papel = models.CharField(max_length=16)
    instancia = models.CharField(max_length=80, unique=True)
    started_at = models.DateTimeField(db_default=Agora())
    beat_at = models.DateTimeField(db_default=Agora())
    encerrado_em = models.DateTimeField(null=True)
    detalhe = models.JSONField(db_default={})

    class Meta:
        db_table = "role_beats"
        indexes: ClassVar = [
            # newest beat of a role: WHERE papel = … ORDER BY beat_at DESC LIMIT 1
            models.Index(fields=["papel", "-beat_at"], name="role_beats_by_papel")
        ]

    def __str__(self) -> str:
        return f"{self.papel} {self.instancia}"
