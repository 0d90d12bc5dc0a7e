"""The provider's own clock: unix time, moved by drills that let hours pass in seconds. Delays stay in real seconds."""

import time

_offset_s = 0.0


def now() -> float:
    """Unix time, as this provider believes it to be."""
    return time.time() + _offset_s


def shift(offset_s: float) -> None:
    """Run `offset_s` ahead of the machine's clock; 0 is the machine's own time."""
    global _offset_s
    _offset_s = offset_s
