"""The words of the rules about send results."""

from django.db import models


class Culpa(models.TextChoices):
    DESTINATARIO = "destinatario", "Destinatário"
    CHIP = "chip", "Chip"
    PROVEDOR = "provedor", "Provedor"
    NOS = "nos", "Nós"


class ContaEm(models.TextChoices):
    """On which circuit a result counts as a failure."""

    NENHUM = "nenhum", "Nenhum"
    CHIP = "chip", "Do chip"
    PROVEDOR = "provedor", "Do provedor"
