"""Connection changes of an instance, whoever causes them, and what follows from each."""

import asyncio

from chips.simulator import evolution_events, zapi_events
from chips.simulator.evolution_events import ANNOUNCED_CLOSE_CODES
from chips.simulator.replies import Replies
from chips.simulator.state import Instance, Provider, State, World, iso_now

RECONNECT_S = 1.0


def set_state(
    world: World,
    replies: Replies,
    instance: Instance,
    state: State,
    *,
    code: int | None = None,
    burst: int = 1,
    silent: bool = False,
) -> None:
    """Change the live state and announce it as the provider would.

    `code` is why it closed (Evolution; default 401, which loses the session). A close with a code that the server
    retries itself shows only as `connecting`, and `fetchInstances` goes on saying `open`.
    """
    evolution = instance.provider is Provider.EVOLUTION
    if state is State.CLOSE and evolution and code is None:
        code = 401
    instance.state = state
    if state is State.OPEN:
        instance.reported, instance.never_connected, instance.session_lost = State.OPEN, False, False
    elif state is State.CLOSE and (code in ANNOUNCED_CLOSE_CODES or not evolution):
        instance.reported = State.CLOSE
        instance.disconnection_code, instance.disconnection_at = code, iso_now()
    if not silent and evolution:
        evolution_events.announce_state(world, instance, code=code, burst=burst)
    elif not silent:
        zapi_events.announce_state(world, instance)
    if state is State.OPEN:
        replies.flush_held(instance)
        zapi_events.ensure_draining(world, instance)


async def reconnect(world: World, replies: Replies, instance: Instance) -> None:
    """A restart with a healthy session: close, connecting, open within about a second."""
    instance.state = State.CLOSE
    await asyncio.sleep(RECONNECT_S * 0.3 * world.pacing.pace)
    set_state(world, replies, instance, State.CONNECTING)
    await asyncio.sleep(RECONNECT_S * 0.7 * world.pacing.pace)
    if instance.state is State.CONNECTING:
        set_state(world, replies, instance, State.OPEN)
