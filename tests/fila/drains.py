"""Running a real drain inside a test, until the fila is empty."""

import asyncio
import random

from fila.worker.loop import Drain


def drain(*, senders: int = 16, seconds: float = 20.0) -> Drain:
    """Drain until a look brings nothing and nothing is open; the drain, for its counts."""

    async def main() -> Drain:
        one = Drain("teste", senders=senders, rng=random.Random(1))
        await one.run(deadline_s=seconds, until_empty=True)
        return one

    return asyncio.run(main())
