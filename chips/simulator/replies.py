"""People who answer: which delivered messages get a reply, and how an inbound message reaches a chip."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from chips.simulator import evolution_events, zapi_events
from chips.simulator.inbound import Inbound
from chips.simulator.numbers import GROUP_SUFFIX, person_of
from chips.simulator.options import Span
from chips.simulator.state import Instance, Provider, State, World
from chips.simulator.truth import WireRecord

BETWEEN_CHIPS_S = Span(0.3, 2.5)


@dataclass(slots=True)
class ReplyPolicy:
    """Who answers what.

    `by_recipient` always answers, with that text; `opt_out_recipients` answer with an opt-out text, and so does the
    n-th message delivered since the policy was set for each n in `opt_out_on`. Everybody else answers with
    `probability`. `delay_s` is taken as it is, the general pace does not shrink it.
    """

    probability: float = 0.0
    delay_s: Span = field(default_factory=lambda: Span(5, 40))
    texts: list[str] = field(default_factory=lambda: ["Oi, tudo bem? Pode me mandar mais detalhes?"])
    opt_out_texts: list[str] = field(default_factory=lambda: ["não quero mais receber mensagens, pode me remover"])
    opt_out_recipients: set[str] = field(default_factory=set)
    opt_out_on: set[int] = field(default_factory=set)
    by_recipient: dict[str, str] = field(default_factory=dict)
    instance: str | None = None
    lid: bool = False
    delivered: int = 0
    per_person: Counter[str] = field(default_factory=Counter)


class Replies:
    """Listens to deliveries and injects what people write back."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.policy = ReplyPolicy()
        world.on_delivered = self.on_delivered

    def on_delivered(self, instance: Instance, record: WireRecord) -> None:
        """Called once per message that reached its recipient's phone."""
        if record.recipient.endswith(GROUP_SUFFIX):
            return
        colleague = self.world.chip_of(record.recipient)
        if colleague is not None:
            self.world.spawn(self._between_chips(instance, colleague, record))
            return
        text = self._answer_of(instance, record)
        if text is not None:
            self.world.spawn(self._later(instance, record.recipient, text))

    def inject(self, instance: Instance, inbound: Inbound) -> str:
        """Deliver an inbound message to a chip now, or when it is connected again. Returns its message id."""
        if instance.state is not State.OPEN:
            instance.held_inbound.append(inbound)
        elif instance.provider is Provider.EVOLUTION:
            evolution_events.announce_inbound(self.world, instance, inbound)
        else:
            zapi_events.announce_inbound(self.world, instance, inbound)
        return inbound.key_id

    def flush_held(self, instance: Instance) -> None:
        held, instance.held_inbound = instance.held_inbound, []
        for inbound in held:
            self.inject(instance, inbound)

    def _answer_of(self, instance: Instance, record: WireRecord) -> str | None:
        policy, person = self.policy, record.recipient
        if policy.instance not in (None, instance.name):
            return None
        policy.delivered += 1
        policy.per_person[person] += 1
        chance = self.world.rng(f"resposta:{person}:{policy.per_person[person]}")
        if person in policy.by_recipient:
            return policy.by_recipient[person]
        if person in policy.opt_out_recipients or policy.delivered in policy.opt_out_on:
            return chance.choice(policy.opt_out_texts)
        if policy.texts and chance.random() < policy.probability:
            return chance.choice(policy.texts)
        return None

    async def _later(self, instance: Instance, person: str, text: str) -> None:
        await asyncio.sleep(self.policy.delay_s.draw(self.world.stream("respostas")))
        self.inject(instance, Inbound.text_from(self.world, person, text, by_lid=self.policy.lid))

    async def _between_chips(self, sender: Instance, receiver: Instance, record: WireRecord) -> None:
        await asyncio.sleep(BETWEEN_CHIPS_S.draw(self.world.stream("respostas")) * self.world.pacing.pace)
        self.inject(receiver, Inbound.text_from(self.world, person_of(sender.phone), record.text))
