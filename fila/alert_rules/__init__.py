"""The alert rules of the fila; importing this package registers them."""

from fila.alert_rules import ambiente, falhas, movimento

__all__ = ["ambiente", "falhas", "movimento"]
