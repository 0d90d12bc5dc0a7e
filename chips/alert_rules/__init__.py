"""The alert rules of the fleet; importing this package registers them."""

from chips.alert_rules import conexoes, pool, um_chip

__all__ = ["conexoes", "pool", "um_chip"]
