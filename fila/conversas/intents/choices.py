from dataclasses import dataclass

from django.db import models


class Intent(models.TextChoices):
    """In order of precedence: of several in one message the first here counts."""

    OPT_OUT_WITH_ALERT = "opt_out_with_alert", "Pediu para sair, com ameaça ou acusação"
    DECEASED = "deceased", "Falecimento"
    WRONG_NUMBER = "wrong_number", "Número de outra pessoa"
    OPT_OUT = "opt_out", "Pediu para sair"
    PREFERENCE = "preference", "Quer receber menos ou de outro jeito"
    ASKS_HOW_TO_LEAVE = "asks_how_to_leave", "Perguntou como sair"
    COOLING_OFF = "cooling_off", "Sem interesse"
    NONE = "none", "Não pediu para parar"

    @property
    def is_final(self) -> bool:
        """The person, or the number, gets nothing proactive any more."""
        return self in (Intent.OPT_OUT, Intent.OPT_OUT_WITH_ALERT, Intent.WRONG_NUMBER, Intent.DECEASED)

    @property
    def needs_person(self) -> bool:
        return self in (Intent.OPT_OUT_WITH_ALERT, Intent.PREFERENCE, Intent.COOLING_OFF)


@dataclass(frozen=True, slots=True)
class Detection:
    """`rule` names what decided, in Portuguese for the audit entry; it is empty when nothing did."""

    intent: Intent
    rule: str = ""
