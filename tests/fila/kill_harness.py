"""Real worker processes that die by SIGKILL: forked from a process that has Django loaded, so that 60 deaths are quick.

Run as `python -m tests.fila.kill_harness`; speaks JSON lines. Each order forks one worker and kills it: at a step of
its code, or from outside after a while. The parent never opens a database connection of its own.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connections  # noqa: E402

from fila import claim, dispatch, facts  # noqa: E402
from fila.worker import loop, steps  # noqa: E402
from fila.worker.loop import Drain  # noqa: E402


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying_before(function: Callable[..., Any]) -> Callable[..., Any]:
    def killed(*args: Any, **kwargs: Any) -> Any:
        die()
        return function(*args, **kwargs)

    return killed


def dying_after(function: Callable[..., Any]) -> Callable[..., Any]:
    def killed(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        die()
        return result

    return killed


def dying_of_poison(function: Callable[..., Any]) -> Callable[..., Any]:
    """As a message that brings down whoever decides over it."""

    def killed(batch: Any, *args: Any, **kwargs: Any) -> Any:
        if any("veneno" in message.conteudo for message in batch):
            die()
        return function(batch, *args, **kwargs)

    return killed


def wrap(module: Any, name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    setattr(module, name, wrapper(getattr(module, name)))


def arm(step: str) -> None:
    """Make this process kill itself at one step of a send."""
    match step:
        case "before_claim":
            wrap(claim, "claim", dying_before)
        case "after_claim":
            wrap(claim, "claim", dying_after)
        case "inside_attempt_transaction":
            wrap(dispatch, "write_verdicts", dying_before)
        case "poison":
            wrap(facts, "load", dying_of_poison)
        case "after_attempt_row":
            wrap(steps, "open_attempts", dying_after)
        case "before_settle":
            wrap(loop, "settle", dying_before)
        case "after_settle":
            wrap(loop, "settle", dying_after)


def work(order: dict[str, Any]) -> None:
    settings.FILA_LEASE_S = order["lease_s"]
    loop.RESCUE_EVERY_S = order.get("rescue_every_s", 0.2)
    arm(order.get("step", ""))

    async def main() -> None:
        drain = Drain(f"morre:{os.getpid()}", senders=order["senders"], rng=random.Random(order["seed"]))
        await drain.run(deadline_s=order.get("deadline_s", 30.0), until_empty=order.get("until_empty", False))

    asyncio.run(main())


def fork(order: dict[str, Any]) -> dict[str, Any]:
    """One worker, from birth to death. `killed`: whether SIGKILL ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            work(order)
        finally:
            os._exit(0)
    if "kill_after_s" in order:
        time.sleep(order["kill_after_s"])
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return {"killed": os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL}


def main() -> None:
    connections.close_all()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(fork(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
