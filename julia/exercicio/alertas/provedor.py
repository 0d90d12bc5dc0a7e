"""The provider of simulated time, as far as alerts see it: what it says of sessions, and the webhooks it posts."""

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from chips.monitor import asking
from chips.monitor.asking import Answer
from chips.providers.base import ChipAddress, ConnectionState, State
from julia.exercicio.alertas.correio import Enviada
from julia.exercicio.frota import ChipDoExercicio

#: In a crowd of sends one receipt in so many of a chip: fewer than the three silent ones that make it mute.
RECEIPT_EVERY = 2
CROWD = 6


class Sessoes:
    """What the provider answers about each session. Nobody else is asked: the calls themselves are other drills'."""

    def __init__(self) -> None:
        self.estados: dict[UUID, State] = {}

    def answer(self, addresses: Collection[ChipAddress], *, now: datetime, deadline_s: float) -> Mapping[UUID, Answer]:
        return {address.chip_id: Answer(self._state(address.chip_id), now) for address in addresses}

    def _state(self, chip: UUID) -> ConnectionState:
        state = self.estados.get(chip, State.OPEN)
        return ConnectionState(state is State.OPEN, state)

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """While the block lasts the monitor's calls come here; what it concludes and writes is its own."""
        before = asking.ask
        asking.ask = self.answer
        try:
            yield
        finally:
            asking.ask = before


class Recibos:
    """Which sends a receipt follows. A chip in `mudos` leaves no trace of any."""

    def __init__(self) -> None:
        self.mudos: set[UUID] = set()
        self._sent: dict[UUID, int] = defaultdict(int)

    def of(self, sent: Enviada, *, among: int) -> bool:
        """`among`: how many were sent in that moment."""
        if sent.chip in self.mudos:
            return False
        self._sent[sent.chip] += 1
        return among < CROWD or self._sent[sent.chip] % RECEIPT_EVERY == 0


def receipt(chip: ChipDoExercicio, sent: Enviada) -> dict[str, Any]:
    if chip.provider == "z-api":
        return {
            "type": "MessageStatusCallback",
            "instanceId": chip.instancia,
            "status": "RECEIVED",
            "ids": [sent.key_id],
            "phone": sent.destino,
        }
    data = {
        "keyId": sent.key_id,
        "fromMe": True,
        "status": "DELIVERY_ACK",
        "remoteJid": f"{sent.destino}@s.whatsapp.net",
    }
    return {"event": "messages.update", "instance": chip.instance_name, "data": data}


def inbound(chip: ChipDoExercicio, telefone: str, name: str, text: str, number: int, now: datetime) -> dict[str, Any]:
    """A text of a person, as Evolution tells it."""
    return {
        "event": "messages.upsert",
        "instance": chip.instance_name,
        "data": {
            "key": {"remoteJid": f"{telefone}@s.whatsapp.net", "fromMe": False, "id": f"EXIN{number:016d}"},
            "pushName": name,
            "message": {"conversation": text},
            "messageType": "conversation",
            "messageTimestamp": int(now.timestamp()),
        },
    }


def connection(chip: ChipDoExercicio, state: State, reason: int | None, number: int) -> dict[str, Any]:
    if chip.provider == "z-api":
        name = "ConnectedCallback" if state is State.OPEN else "DisconnectedCallback"
        return {"type": name, "instanceId": chip.instancia, "momment": number}
    data = {"state": state.value, "statusReason": reason or 200, "n": number}
    return {"event": "connection.update", "instance": chip.instance_name, "data": data}
