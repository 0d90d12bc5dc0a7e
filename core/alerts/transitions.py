"""What a look at the facts does to one alert, and what is worth saying of it. Pure: time comes in as an argument.

Life of a condition: quiet → pending (until it held for `segura`) → open → clearing (until gone for `solta`) → quiet.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from core.alerts.models import Especie, Severidade
from core.alerts.rules import Rule

GRAVITY = {severity: rank for rank, severity in enumerate(Severidade)}
BELIEVED_GAP = timedelta(minutes=5)  # looks farther apart than this prove nothing about the time between them


class Move(Enum):
    """What happens to the row of the alert."""

    NONE = auto()
    OPEN = auto()
    SEEN = auto()
    RESOLVE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is known of one (tipo, chave) from earlier looks. `is_open`: its alert is."""

    is_open: bool = False
    presente_desde: datetime | None = None
    visto_em: datetime | None = None
    ausente_desde: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the outside knows of an open alert, and what keeps it from being told more.

    `avisado_em` and `avisada` are of the (tipo, chave), also from an earlier alert of it. `dito_em`: when the channel
    took the announcement. `esperando`: an earlier message about it has not left yet.
    """

    severidade: Severidade
    anunciado_em: datetime | None = None
    dito_em: datetime | None = None
    escalado_em: datetime | None = None
    avisado_em: datetime | None = None
    avisada: Severidade | None = None
    reconhecido: bool = False
    inibido: bool = False
    silenciado: bool = False
    esperando: bool = False


def step(memory: Memory, *, present: bool, rule: Rule, now: datetime) -> tuple[Memory, Move]:
    """One look. Its own alert opens in the look that finds it to have held long enough."""
    if present:
        return _present(memory, rule, now)
    if not memory.is_open:
        return Memory(), Move.NONE
    since = memory.ausente_desde or now
    if now - since >= rule.solta:
        return Memory(), Move.RESOLVE
    return replace(memory, ausente_desde=since, presente_desde=None), Move.NONE


def _present(memory: Memory, rule: Rule, now: datetime) -> tuple[Memory, Move]:
    gap = max(2 * rule.segura, BELIEVED_GAP)
    is_continuous = memory.visto_em is not None and now - memory.visto_em <= gap
    since = memory.presente_desde if memory.presente_desde is not None and is_continuous else now
    seen = replace(memory, presente_desde=since, visto_em=now, ausente_desde=None)
    if memory.is_open:
        return seen, Move.SEEN
    if now - since >= rule.segura:
        return replace(seen, is_open=True), Move.OPEN
    return seen, Move.NONE


def word(said: Said, rule: Rule, now: datetime) -> Especie | None:
    """What to say of an open alert now, if anything.

    Announced once; then a reminder after each `descanso` while nobody took it, and one escalation. Only a graver
    severity than the one last told of breaks the rest, also for its owner. A held-back announcement is not lost: it is
    said as soon as nothing holds it any more.
    """
    if not rule.notifica or said.silenciado or said.inibido:
        return None
    rested = said.avisado_em is None or now - said.avisado_em >= rule.descanso
    worse = is_worse(said)
    if said.anunciado_em is None:
        return Especie.ABERTO if (rested or worse) and not said.reconhecido else None
    if worse:
        return Especie.ESCALADO
    if said.reconhecido or said.esperando:
        return None
    told_at = said.dito_em or said.anunciado_em
    if rule.escala_apos is not None and said.escalado_em is None and now - told_at >= rule.escala_apos:
        return Especie.ESCALADO
    return Especie.LEMBRETE if rested else None


def is_worse(said: Said) -> bool:
    """Graver than what was last told of; what was told of without a record of how is not."""
    if said.avisada is None:
        return said.anunciado_em is None
    return GRAVITY[said.severidade] > GRAVITY[said.avisada]


def may_speak_at(said: Said, rule: Rule) -> datetime | None:
    """Until when the rest holds the announcement of an alert back; None when it does not."""
    if said.anunciado_em is not None or said.avisado_em is None:
        return None
    return said.avisado_em + rule.descanso
