"""When the provider is asked about an unknown attempt, and for how long. Pure."""

from datetime import datetime, timedelta

from chips.choices import ProviderName

# Evolution resolves within 60 s and a row may still be missing until then (contracts §1.7).
_SEARCHES = (
    timedelta(seconds=75),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(minutes=60),
    timedelta(hours=6),
    timedelta(hours=12),
    timedelta(hours=18),
)
CALLBACK_PATIENCE = timedelta(minutes=5)  # Z-API, without a DeliveryCallback (decisions §6)
GIVE_UP_AFTER = timedelta(hours=24)
WINDOW = timedelta(minutes=15)  # of the provider's clock, and of our receipt time around an attempt
LONGEST_CALL = timedelta(seconds=95)  # after it nobody has the attempt's call open any more
STALE_AFTER = timedelta(seconds=150)  # an attempt still open then has lost its sender (fila/rescue.py)
RESEND_PATIENCE = timedelta(minutes=5)  # after the longest call (decisions §6)


def steps(provider: str) -> tuple[timedelta, ...]:
    """Ages of an attempt at which it is looked for; Z-API's queue is not worth a look before its callback is late."""
    if provider == ProviderName.ZAPI:
        return tuple(step for step in _SEARCHES if step >= CALLBACK_PATIENCE)
    return _SEARCHES


def first_search(provider: str, began: datetime) -> datetime:
    return began + steps(provider)[0]


def next_search(provider: str, began: datetime, now: datetime) -> datetime:
    """The first step after `now`; the end of the day when there is none, by when the message has ended."""
    age = now - began
    return began + next((step for step in steps(provider) if step > age), GIVE_UP_AFTER)


def resend_unlocks_at(began: datetime) -> datetime:
    """From when on a person may say "não foi": nobody can have the call open, and an echo had time to come."""
    return began + LONGEST_CALL + RESEND_PATIENCE
