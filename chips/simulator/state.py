"""The simulated world: instances, their stored messages and queues, the people, and the seeded chance."""

import asyncio
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from chips.simulator import clock
from chips.simulator.faults import FaultBook
from chips.simulator.numbers import GROUP_SUFFIX, LID_SUFFIX, jid_for, lid_for, person_of
from chips.simulator.options import Options, Pacing
from chips.simulator.truth import WireRecord, WireTruth
from chips.simulator.webhooks import WebhookSender


def iso_now(offset_h: float = 0.0) -> str:
    """Evolution's timestamps: local time of the server written with a `Z`, wrong by its UTC offset."""
    local = datetime.fromtimestamp(clock.now() + offset_h * 3600, UTC)
    return local.strftime("%Y-%m-%dT%H:%M:%S.") + f"{local.microsecond // 1000:03d}Z"


class Provider(StrEnum):
    EVOLUTION = "evolution"
    ZAPI = "z-api"


class State(StrEnum):
    """`ABSENT` is Evolution's instance known to its database but not loaded: `connectionState` has no `state`."""

    OPEN = "open"
    CLOSE = "close"
    CONNECTING = "connecting"
    ABSENT = "ausente"


@dataclass(slots=True)
class Webhook:
    """`headers` go out with each post; an empty `events` means all. `by_kind` is Z-API's address per callback."""

    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    enabled: bool = True
    by_events: bool = False
    base64: bool = False
    by_kind: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Message:
    """A row of Evolution's message table. `at` is in whole seconds; `updates` are the status steps received."""

    row_id: str
    key: dict[str, Any]
    text: str
    at: int
    source: str
    push_name: str
    updates: list[str] = field(default_factory=list)
    context: dict[str, Any] = field(default_factory=dict)

    @property
    def key_id(self) -> str:
        return str(self.key["id"])


@dataclass(slots=True)
class Queued:
    """A message in Z-API's queue. `error` is what its delivery will report; `leaves` whether it goes out anyway."""

    zaap_id: str
    message_id: str
    phone: str
    text: str
    created_ms: int
    delay_s: float | None
    call_seq: int
    error: str = ""
    leaves: bool = True
    no_ack: bool = False


@dataclass(slots=True)
class Instance:
    """One chip. `never_connected` has no session at all; `reported` is the stale status of `fetchInstances`."""

    name: str
    provider: Provider
    phone: str
    token: str
    uuid: str
    state: State = State.OPEN
    reported: State = State.OPEN
    never_connected: bool = False
    client_token: str = ""
    leaks_apikey: bool = False
    acks_by_lid: bool = False
    phone_exists_as_list: bool = False
    notify_sent_by_me: bool = False
    session_lost: bool = False
    webhook: Webhook = field(default_factory=Webhook)
    settings: dict[str, Any] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    messages: dict[str, Message] = field(default_factory=dict)
    queue: deque[Queued] = field(default_factory=deque)
    draining: "asyncio.Task[None] | None" = None
    held_inbound: list[Any] = field(default_factory=list)
    qr_count: int = 0
    disconnection_code: int | None = None
    disconnection_at: str | None = None
    created: str = field(default_factory=iso_now)

    @property
    def jid(self) -> str:
        return jid_for(self.phone)


@dataclass(slots=True)
class Contact:
    """What the provider believes about a number when told so; `jid` may be somebody else's on purpose."""

    exists: bool = True
    jid: str = ""
    lid: str = ""
    name: str = ""


class World:
    """Everything one simulator process knows. All of it lives in one event loop and needs no lock."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._run = f"{int(time.time()):08X}"
        self._ids = 0
        self.on_delivered: Callable[[Instance, WireRecord], None] = lambda _instance, _record: None
        self.tasks: set[asyncio.Task[Any]] = set()
        self.reset()

    def reset(self) -> None:
        """Back to the state right after start: no instances, no faults, no truth, first seed and paces."""
        for task in self.tasks:
            task.cancel()
        clock.shift(0.0)
        self.seed = self.options.seed
        self._streams: dict[str, random.Random] = {}
        self.pacing: Pacing = replace(self.options.pacing)
        self.instances: dict[str, Instance] = {}
        self.contacts: dict[str, Contact] = {}
        self.people_by_lid: dict[str, str] = {}
        self.known_numbers: set[str] = set()
        self.truth = WireTruth(keep_calls=not self.options.fast)
        self.faults = FaultBook(self.rng, self.truth.ever_sent)
        self.webhooks = WebhookSender(self)

    # -- chance and time ------------------------------------------------------------------------------------------

    def rng(self, scope: str) -> random.Random:
        """A generator that depends on the seed and `scope` alone, not on the order of other calls."""
        return random.Random(f"{self.seed}:{scope}")

    def stream(self, name: str) -> random.Random:
        """The running generator of one concern."""
        if name not in self._streams:
            self._streams[name] = self.rng(name)
        return self._streams[name]

    def reseed(self, seed: int) -> None:
        self.seed = seed
        self._streams.clear()

    def new_id(self, prefix: str, width: int) -> str:
        """Hexadecimal id, unique over restarts (a database outlives this process), so not from the seed."""
        self._ids += 1
        tail = f"{self._run}{self._ids:010X}"
        return (prefix + tail.rjust(width - len(prefix), "0"))[:width]

    def instance_uuid(self, name: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"simulador:{name}"))

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    # -- people ---------------------------------------------------------------------------------------------------

    def contact(self, number: str) -> Contact:
        return self.contacts.get(person_of(number), _ORDINARY) if self.contacts else _ORDINARY

    def target_jid(self, number: str) -> str:
        """The jid that a send to `number` really goes to."""
        if number.endswith((GROUP_SUFFIX, LID_SUFFIX)):
            return number
        return self.contact(number).jid or jid_for(number)

    def reached(self, jid: str) -> str:
        """Who is behind a jid: canonical digits, or the jid itself for groups and unknown LIDs."""
        if jid.endswith(GROUP_SUFFIX):
            return jid
        if jid.endswith(LID_SUFFIX):
            return self.people_by_lid.get(jid, jid)
        return person_of(jid)

    def lid(self, person: str) -> str:
        lid = self.contact(person).lid or lid_for(person)
        self.people_by_lid[lid] = person
        return lid

    def exists(self, instance: Instance, number: str) -> bool:
        if not self.contact(number).exists:
            return False
        return not self.faults.number_is_missing(instance.provider, instance.name, self.reached(number))

    def chip_of(self, person: str) -> Instance | None:
        """The registered instance that owns this number: our chips also write to each other."""
        return next((chip for chip in self.instances.values() if person_of(chip.phone) == person), None)

    # -- the wire -------------------------------------------------------------------------------------------------

    def leave(self, instance: Instance, *, jid: str, text: str, key_id: str, delivered: bool = True) -> WireRecord:
        """Put a message on the wire. From here on it cannot be taken back."""
        return self.truth.left(
            chip=instance.name,
            provider=instance.provider,
            recipient=self.reached(jid),
            jid=jid,
            text=text,
            key_id=key_id,
            delivered=delivered,
        )


_ORDINARY = Contact()
