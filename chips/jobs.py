"""Jobs of the fleet."""

from datetime import datetime, timedelta
from typing import Any

from chips.monitor import services, sync
from chips.providers.base import ProviderError
from core.jobs.deadline import Deadline
from core.jobs.registry import job

WITHIN_S = 50.0
LONGEST = timedelta(seconds=90)  # among the long jobs: two silent providers must not hold up the heartbeat


@job("verificar_whatsapp", cron="*/5 * * * *", sla=timedelta(minutes=15), critical=True, longest=LONGEST)
def verificar_whatsapp(now: datetime, deadline: Deadline) -> dict[str, int]:
    """Asks the provider of every chip whether its WhatsApp session is open, and compares that with echoes and sends.

    A disconnection is told after two checks in a row; a provider that does not answer says nothing about its chips.
    Changes connection fields only, never the chip's status. `processados`: chips asked for.
    """
    return services.tally(services.check(deadline_s=min(WITHIN_S, deadline.remaining_s)))


@job("sincronizar_chips", cron="*/5 * * * *", sla=timedelta(minutes=15), longest=LONGEST)
def sincronizar_chips(now: datetime, deadline: Deadline) -> dict[str, Any]:
    """Compares Evolution's list of instances with the registered chips: what is unknown becomes a blocked chip.

    Where the list and our knowledge differ, the instance itself is asked. An empty list changes nothing. `processados`:
    chips changed or created.
    """
    try:
        return sync.synchronise(deadline_s=min(WITHIN_S, deadline.remaining_s))
    except sync.NotAsked as why:
        return {"status": "skipped", "reason": str(why), "processados": 0}
    except ProviderError as error:
        message = f"A Evolution não disse que instâncias tem ({error.code}): nada foi mudado. {error.detail}"
        return {"status": "error", "message": message, "processados": 0, "erros": 1}
