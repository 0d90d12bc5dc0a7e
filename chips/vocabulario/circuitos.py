"""What a result says to the circuits: one decision for the sender that reports it and the preview that replays it."""

from collections.abc import Mapping

from chips.providers.base import Code, ErrorKind, Fault
from chips.vocabulario.catalogo import ENTRIES
from chips.vocabulario.choices import ContaEm
from chips.vocabulario.rules import Rule
from core.circuits.services import CallResult

Told = tuple[CallResult, CallResult]

_ACCEPTED = (CallResult.SUCCESS, CallResult.SUCCESS)
_NOTHING = (CallResult.NEUTRAL, CallResult.NEUTRAL)


def told(codigo: str, rules: Mapping[str, Rule]) -> Told:
    """(to the provider's circuit, to the chip's). Without a name it was accepted; a name nobody knows says nothing.

    A recipient's fault proves the provider healthy, a restriction opens the chip at once, a timeout counts nowhere
    (decisions §7, §14). A provider's failure that may have left counts on the chip too: where one chip alone meets
    them, each would burn a message while the others carry on.
    """
    if not codigo:
        return _ACCEPTED
    rule, entry = rules.get(codigo), ENTRIES.get(codigo)
    if rule is None or entry is None or entry.code is Code.WITHDRAWN:
        return _NOTHING
    if rule.fault is Fault.DESTINATARIO:
        return CallResult.SUCCESS, CallResult.NEUTRAL
    if rule.restriction:
        return CallResult.NEUTRAL, CallResult.TRIP
    match rule.circuit:
        case ContaEm.PROVEDOR:
            return CallResult.FAILURE, CallResult.FAILURE if rule.may_have_left else CallResult.NEUTRAL
        case ContaEm.CHIP:
            return CallResult.NEUTRAL, CallResult.FAILURE
    timed_out = entry.kind is ErrorKind.TIMEOUT
    return (CallResult.TIMEOUT, CallResult.TIMEOUT) if timed_out else _NOTHING
