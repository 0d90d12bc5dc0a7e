"""What each provider result means for chip, circuit and message: adjustable data, with history."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from chips.choices import ProviderName
from chips.vocabulario.choices import ContaEm, Culpa
from core.clock import Agora
from core.history import track_decisions

__all__ = ["ContaEm", "Culpa", "RegraErro"]


@track_decisions("culpa", "tentar_de_novo", "circuito", "descanso_s", "restricao", "frase", key="codigo")
class RegraErro(models.Model):
    """One result of the closed set. `pode_ter_saido` is the contract's word and nobody's to change."""

    codigo = models.CharField("resultado", max_length=60, primary_key=True)
    provider = models.CharField(max_length=16, choices=ProviderName.choices)
    pode_ter_saido = models.BooleanField("pode ter saído", default=False)
    culpa = models.CharField(max_length=16, choices=Culpa.choices)
    tentar_de_novo = models.BooleanField("tentar de novo", default=False)
    circuito = models.CharField("conta no circuito", max_length=10, choices=ContaEm.choices)
    descanso_s = models.PositiveIntegerField("descanso do chip (s)", default=0)
    restricao = models.BooleanField("restrição: tira o chip", default=False)
    frase = models.CharField("o que o operador lê", max_length=200)
    alterada_por = models.CharField(max_length=150, db_default="", blank=True)
    alterada_em = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "regras_de_erro"
        verbose_name = "resultado de envio"
        verbose_name_plural = "resultados de envio"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(culpa__in=Culpa.values), name="regras_culpa_is_lawful"),
            models.CheckConstraint(condition=Q(circuito__in=ContaEm.values), name="regras_circuito_is_lawful"),
            models.CheckConstraint(
                condition=Q(pode_ter_saido=False) | Q(tentar_de_novo=False), name="regras_unknown_is_never_repeated"
            ),
        ]

    def __str__(self) -> str:
        return self.codigo
