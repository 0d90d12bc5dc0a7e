"""What the rules about chips share: names of kinds, spans, the page of a chip."""

from datetime import timedelta

from core.alert_rules import page
from core.circuits.names import chip_of

WHATSAPP_AWAY, DISCONNECTED, POOL_EMPTY = "whatsapp_fora", "whatsapp_desconectado", "pool_vazio"
DAY, HOUR, HALF_AN_HOUR = timedelta(hours=24), timedelta(hours=1), timedelta(minutes=30)


def chip_page(chave: str) -> str:
    return page("chips_chip", str(chip_of(chave) or ""))
