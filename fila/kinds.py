"""What a row's `tipo` means to the guardrails, to the chips and to the dedupe."""

from datetime import timedelta

from chips.choices import TipoMensagem
from guardrails.choices import Kind
from guardrails.policy import FOLLOWING_UP, REPLYING

REPLY_TIPOS = sorted(kind.value for kind in REPLYING)
# Proactive, outside campaigns, and in need of a chip that may prospect.
PROSPECTING_TIPOS = [Kind.DISCOVERY.value, Kind.OFERTA.value, Kind.TESTE.value]

# The canary of `manage.py smoke`: a message to nobody, through the null provider's chip. No rule concerns it.
CANARIO = "canario"

# Content dedupe: the same text to the same person within this time (fila reference §7.1, sliding by §7.2).
_DEDUPE_MINUTES = {
    Kind.CAMPANHA: 60,
    Kind.FOLLOWUP: 60,
    Kind.REATIVACAO: 120,
    Kind.RESPOSTA: 5,
    Kind.MANUAL: 10,
    Kind.TESTE: 0,
}
_DEDUPE_DEFAULT = 30


def kind_of(tipo: str) -> Kind:
    """An unknown `tipo` is treated as the proactive `lembrete`: the column is open, the rules are not."""
    return Kind(tipo) if tipo in Kind.values else Kind.LEMBRETE


def chip_type_of(kind: Kind) -> TipoMensagem:
    """The permission a chip needs. What is neither a reply nor a follow-up needs the strictest one."""
    if kind in REPLYING:
        return TipoMensagem.RESPOSTA
    if kind in FOLLOWING_UP:
        return TipoMensagem.FOLLOWUP
    return TipoMensagem.PROSPECCAO


def dedupe_window(kind: Kind) -> timedelta:
    return timedelta(minutes=_DEDUPE_MINUTES.get(kind, _DEDUPE_DEFAULT))


def tipos_of(kinds: frozenset[Kind]) -> list[str]:
    return sorted(kind.value for kind in kinds)
