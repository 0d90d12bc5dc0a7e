"""Faults the simulator was told to commit: which call or webhook each one hits."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from chips.simulator.numbers import person_of


class Kind(StrEnum):
    """What goes wrong. The values are the control API's words."""

    LATENCIA = "latencia_ms"
    RECUSA = "recusa"
    RESET_ANTES = "reset_antes"
    RESET_DEPOIS = "reset_depois"
    RESET_NO_CORPO = "reset_no_corpo"
    BURACO_NEGRO = "buraco_negro"
    NAO_ENVIOU_400 = "400_nao_enviou"
    ENVIOU_400 = "400_enviou"
    NAO_ENVIOU_500 = "500_nao_enviou"
    LIMITE_429 = "429"
    ERRO_5XX = "5xx"
    HTML_502 = "html_502"
    MALFORMADO = "malformado"
    RESTRITO = "restrito"
    RESTRITO_400 = "restrito_400"
    RESTRITO_201_ERROR = "restrito_201_error"
    ERRO_NA_ENTREGA = "erro_na_entrega"
    DESCONECTADO = "desconectado"
    INEXISTENTE = "inexistente"
    BANCO_FORA = "banco_fora"
    SEM_ACK = "sem_ack"
    ACK_ANTES = "ack_antes_da_resposta"
    WEBHOOK_DUPLICADO = "webhook_duplicado"
    WEBHOOK_FORA_DE_ORDEM = "webhook_fora_de_ordem"
    WEBHOOK_ATRASADO = "webhook_atrasado"
    WEBHOOK_PERDIDO = "webhook_perdido"


class Calls(StrEnum):
    """Which requests a fault looks at."""

    SEND = "send"
    OTHER = "other"
    ANY = "any"


WEBHOOK_KINDS = frozenset(kind for kind in Kind if kind.startswith("webhook_"))
#: A dead socket, database or listener spoils every call, not only sends.
HITS_ANY_CALL = frozenset({Kind.DESCONECTADO, Kind.BANCO_FORA, Kind.RECUSA})
#: Looked up beside the fault that decides the answer, so they combine with any other.
SIDE_KINDS = frozenset({Kind.LATENCIA, Kind.SEM_ACK, Kind.ACK_ANTES})
SENDS_UNLESS_TOLD = frozenset(
    {Kind.RESET_DEPOIS, Kind.RESET_NO_CORPO, Kind.ENVIOU_400, Kind.MALFORMADO, Kind.RESTRITO_201_ERROR}
)

_ANSWER = frozenset({"sends", "evidence"})
_EVENTS = frozenset({"events"})
#: What each kind may be told beyond when it strikes. A misspelt order must not become a fault that does nothing.
PARAMETERS: dict[Kind, frozenset[str]] = {
    Kind.LATENCIA: frozenset({"ms", "min_ms", "max_ms"}),
    Kind.RESET_DEPOIS: _ANSWER,
    Kind.RESET_NO_CORPO: _ANSWER,
    Kind.BURACO_NEGRO: _ANSWER,
    Kind.NAO_ENVIOU_400: frozenset({"message"}),
    Kind.ENVIOU_400: frozenset({"message", "evidence"}),
    Kind.NAO_ENVIOU_500: frozenset({"message"}),
    Kind.LIMITE_429: _ANSWER | {"retry_after_s"},
    Kind.ERRO_5XX: _ANSWER | {"status"},
    Kind.HTML_502: _ANSWER,
    Kind.MALFORMADO: _ANSWER | {"variant"},
    Kind.RESTRITO: frozenset({"message"}),
    Kind.RESTRITO_400: _ANSWER | {"message"},
    Kind.RESTRITO_201_ERROR: frozenset({"message"}),
    Kind.ERRO_NA_ENTREGA: frozenset({"message", "sends"}),
    Kind.DESCONECTADO: frozenset({"variant"}),
    Kind.INEXISTENTE: frozenset({"numbers"}),
    Kind.WEBHOOK_DUPLICADO: _EVENTS | {"copies"},
    Kind.WEBHOOK_FORA_DE_ORDEM: _EVENTS | {"hold_s"},
    Kind.WEBHOOK_ATRASADO: _EVENTS | {"delay_s"},
    Kind.WEBHOOK_PERDIDO: _EVENTS,
}


@dataclass(slots=True, kw_only=True)
class Fault:
    """One standing order.

    It skips the first `after` matching calls, starts only once its chip has `after_sent` more records on the wire,
    then strikes with `probability`, at most `count` times, until `duration_s` from its creation.
    """

    id: int
    kind: Kind
    instance: str | None = None
    provider: str | None = None
    calls: Calls = Calls.SEND
    count: int | None = None
    after: int = 0
    after_sent: int = 0
    probability: float = 1.0
    duration_s: float | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    created: float = field(default_factory=time.monotonic)
    sent_at_creation: dict[str, int] = field(default_factory=dict)
    matched: int = 0
    struck: int = 0
    lifted: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def sends(self) -> bool:
        """Whether the message leaves although the caller is not told so."""
        return bool(self.parameters.get("sends", self.kind in SENDS_UNLESS_TOLD))

    @property
    def expired(self) -> bool:
        worn_out = self.count is not None and self.struck >= self.count
        return worn_out or (self.duration_s is not None and time.monotonic() - self.created >= self.duration_s)

    def concerns(self, provider: str, instance: str) -> bool:
        return self.instance in (None, instance) and self.provider in (None, provider)

    def strikes(self, rng: Callable[[str], random.Random]) -> bool:
        """Count one matching call and say whether this one is hit. Chance depends on the call's ordinal only."""
        self.matched += 1
        if self.matched <= self.after or self.expired:
            return False
        if self.probability < 1 and rng(f"falha:{self.id}:{self.matched}").random() >= self.probability:
            return False
        self.struck += 1
        return True

    def described(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "instance": self.instance,
            "provider": self.provider,
            "calls": self.calls,
            "count": self.count,
            "after": self.after,
            "after_sent": self.after_sent,
            "probability": self.probability,
            "duration_s": self.duration_s,
            "matched": self.matched,
            "struck": self.struck,
            "expired": self.expired,
            **self.parameters,
        }


@dataclass(frozen=True, slots=True)
class Strike:
    """The faults that hit one call: at most one decides its answer."""

    answer: Fault | None = None
    latency: Fault | None = None
    no_ack: bool = False
    ack_first: bool = False


NO_STRIKE = Strike()


class FaultBook:
    """All standing faults, oldest first.

    `rng` makes a seeded generator for a scope name; `ever_sent` is the live count of messages that left, by chip.
    """

    def __init__(self, rng: Callable[[str], random.Random], ever_sent: Mapping[str, int]) -> None:
        self._rng = rng
        self._ever_sent = ever_sent
        self._next_id = 0
        self.faults: list[Fault] = []

    def add(self, **values: Any) -> Fault:
        self._next_id += 1
        fault = Fault(id=self._next_id, sent_at_creation=dict(self._ever_sent), **values)
        self.faults.append(fault)
        return fault

    def lift(self, fault_id: int | None = None) -> list[Fault]:
        """Remove one fault, or all. Calls held by it are let go (their connections are reset)."""
        lifted = [fault for fault in self.faults if fault_id in (None, fault.id)]
        self.faults = [fault for fault in self.faults if fault not in lifted]
        for fault in lifted:
            fault.lifted.set()
        return lifted

    def on_call(self, provider: str, instance: str, calls: Calls) -> Strike:
        if not self.faults:
            return NO_STRIKE
        found: dict[str, Fault] = {}
        for fault in self.faults:
            slot = fault.kind.value if fault.kind in SIDE_KINDS else "answer"
            if slot not in found and self._hits(fault, provider, instance, calls):
                found[slot] = fault
        return Strike(
            answer=found.get("answer"),
            latency=found.get(Kind.LATENCIA.value),
            no_ack=Kind.SEM_ACK.value in found,
            ack_first=Kind.ACK_ANTES.value in found,
        )

    def on_webhook(self, provider: str, instance: str, event: str) -> dict[Kind, Fault]:
        return {
            fault.kind: fault
            for fault in self.faults
            if fault.kind in WEBHOOK_KINDS
            and fault.concerns(provider, instance)
            and event in fault.parameters.get("events", [event])
            and fault.strikes(self._rng)
        }

    def stands(self, kind: Kind, provider: str, instance: str) -> bool:
        """Whether such a fault concerns the instance now, without counting a call."""
        return any(
            fault.kind is kind and fault.concerns(provider, instance) and not fault.expired for fault in self.faults
        )

    def number_is_missing(self, provider: str, instance: str, person: str) -> bool:
        for fault in self.faults:
            if fault.kind is Kind.INEXISTENTE and fault.concerns(provider, instance):
                numbers = fault.parameters.get("numbers", [])
                if person in {person_of(str(number)) for number in numbers} and fault.strikes(self._rng):
                    return True
        return False

    def _hits(self, fault: Fault, provider: str, instance: str, calls: Calls) -> bool:
        if fault.kind in WEBHOOK_KINDS or fault.kind is Kind.INEXISTENTE:
            return False
        if fault.calls not in (Calls.ANY, calls) or not fault.concerns(provider, instance):
            return False
        if fault.after_sent and self._sent_since(fault, instance) < fault.after_sent:
            return False
        return fault.strikes(self._rng)

    def _sent_since(self, fault: Fault, instance: str) -> int:
        return self._ever_sent.get(instance, 0) - fault.sent_at_creation.get(instance, 0)
