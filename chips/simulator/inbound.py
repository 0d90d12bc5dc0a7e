"""A message that arrives at a chip, before it is written in a provider's words."""

from dataclasses import dataclass, field
from typing import Any

from chips.simulator import clock
from chips.simulator.state import World


@dataclass(slots=True, kw_only=True)
class Inbound:
    """`by_lid` addresses the sender by LID; `with_phone` says whether the telephone comes along beside it.

    `from_me` is a message that a person typed on the chip's own phone; `person` is then its recipient. `content`
    replaces the text of another kind of message (Evolution's `message` object or Z-API's field).
    """

    person: str
    text: str
    key_id: str
    by_lid: bool = False
    with_phone: bool = True
    from_me: bool = False
    push_name: str = ""
    quoted: str = ""
    message_type: str = "conversation"
    content: dict[str, Any] = field(default_factory=dict)
    at: float = field(default_factory=clock.now)

    @classmethod
    def text_from(cls, world: World, person: str, text: str, **values: Any) -> "Inbound":
        values.setdefault("push_name", world.contact(person).name or f"Contato {person[-4:]}")
        return cls(person=person, text=text, key_id=values.pop("key_id", "") or world.new_id("3A", 20), **values)
