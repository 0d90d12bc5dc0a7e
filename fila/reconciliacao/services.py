"""What time asks for: every few seconds in the worker (`look`), every minute in the job."""

from fila.reconciliacao.avisos_de_erro import apply_error_acks, eject_bursts
from fila.reconciliacao.buscas import plan_unknown
from fila.reconciliacao.evidencia import settle_by_evidence

__all__ = ["apply_error_acks", "look", "settle_by_evidence"]


def look() -> dict[str, int]:
    """Take out chips that WhatsApp refuses, give back what was not delivered, plan searches. Calls nobody outside.

    Cheap when there is nothing to do (three index probes), idempotent, for any number of processes at once. Raises
    django.db.Error.
    """
    out = eject_bursts()
    returned = apply_error_acks()
    return {"chips_retirados": len(out), "nao_entregues": len(returned), "planejadas": plan_unknown()}
