"""What one result of a send means: the facts of the contract, and the rule that people may adjust."""

from dataclasses import dataclass
from datetime import timedelta

from chips.providers.base import Code, ErrorKind, Fault, Verdict
from chips.vocabulario.choices import ContaEm

BOTH = ""  # the provider of a result that either of them may give


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done about a result. `cooldown` rests the chip, `restriction` takes it out of production.

    `may_have_left` is the contract's word and nobody's to change: what may have left is never tried again.
    """

    fault: Fault
    may_have_left: bool
    retryable: bool
    circuit: ContaEm
    cooldown: timedelta
    restriction: bool
    sentence: str

    def __post_init__(self) -> None:
        if self.may_have_left and self.retryable:
            raise ValueError("what may have left is never tried again")
        if self.cooldown < timedelta():
            raise ValueError("a rest is not negative")

    def rest(self, retry_after: timedelta | None) -> timedelta | None:
        """How long the chip rests: what the answer asked for, else the rule's own; a restriction at least its own."""
        if self.fault is Fault.DESTINATARIO or retry_after is None:
            rest = self.cooldown
        else:
            rest = max(retry_after, self.cooldown) if self.restriction else retry_after
        return rest or None


@dataclass(frozen=True, slots=True)
class Entry:
    """One result of the closed set. `reason`: why it may, or cannot, have left, for the operator."""

    codigo: str
    provider: str
    kind: ErrorKind
    code: Code
    rule: Rule
    reason: str

    @property
    def verdict(self) -> Verdict:
        return Verdict.DESCONHECIDA if self.rule.may_have_left else Verdict.NAO_ENVIADA


def not_sent(
    codigo: str,
    kind: ErrorKind,
    fault: Fault,
    code: Code,
    circuit: ContaEm,
    sentence: str,
    reason: str,
    *,
    provider: str = BOTH,
    retryable: bool = True,
    rest_s: int = 0,
    restriction: bool = False,
) -> Entry:
    rule = Rule(fault, False, retryable, circuit, timedelta(seconds=rest_s), restriction, sentence)
    return Entry(codigo, provider, kind, code, rule, reason)


def unknown(
    codigo: str,
    kind: ErrorKind,
    fault: Fault,
    code: Code,
    circuit: ContaEm,
    sentence: str,
    reason: str,
    *,
    provider: str = BOTH,
    rest_s: int = 0,
    restriction: bool = False,
) -> Entry:
    rule = Rule(fault, True, False, circuit, timedelta(seconds=rest_s), restriction, sentence)
    return Entry(codigo, provider, kind, code, rule, reason)
