"""Settings that operators change at run time. What exists and of which type is declared in `registry`."""

from django.db import models

from core.clock import Agora
from core.history import track_decisions


@track_decisions("value", "updated_by", key="key")
class AppSetting(models.Model):
    """One value by key. Switches are rows from the first migration on, so that setting one can never miss."""

    key = models.CharField("chave", primary_key=True, max_length=100)
    value = models.JSONField("valor", db_default=None, null=True)
    description = models.CharField("descrição", max_length=300, db_default="", blank=True)
    updated_at = models.DateTimeField("alterada em", db_default=Agora())
    updated_by = models.CharField("alterada por", max_length=150, db_default="", blank=True)

    class Meta:
        db_table = "app_settings"
        verbose_name = "ajuste"
        verbose_name_plural = "ajustes"

    def __str__(self) -> str:
        return self.key
