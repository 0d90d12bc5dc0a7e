"""The manual block: a person's word about a chip, which no recalculation of trust undoes."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from chips.models import Chip
from core.audit import services as audit


class BlockConflict(Exception):
    """Somebody was faster; the text is for the operator."""


def block(chip_id: UUID, *, motivo: str, actor: audit.Actor, now: datetime, ip: str | None = None) -> Chip:
    """No new attempt commits on this chip; what is on the wire finishes. Raises BlockConflict and MotivoMissing."""
    motivo = audit.check_motivo(motivo)
    with transaction.atomic():
        chip = Chip.objects.select_for_update().get(pk=chip_id)
        if chip.bloqueio_manual:
            raise BlockConflict(f"O chip já estava bloqueado por {chip.bloqueado_por or 'outra pessoa'}.")
        chip.bloqueio_manual, chip.bloqueio_motivo = True, motivo
        chip.bloqueado_por, chip.bloqueado_em = audit.name_of(actor)[:150], now
        chip.save(update_fields=["bloqueio_manual", "bloqueio_motivo", "bloqueado_por", "bloqueado_em"])
        audit.record("chip_bloqueado", "chip", chip.pk, usuario=actor, motivo=motivo, ip=ip, now=now)
    return chip


def unblock(chip_id: UUID, *, motivo: str, actor: audit.Actor, now: datetime, ip: str | None = None) -> Chip:
    """Back to what status, trust and connection say. Raises BlockConflict and MotivoMissing."""
    motivo = audit.check_motivo(motivo)
    with transaction.atomic():
        chip = Chip.objects.select_for_update().get(pk=chip_id)
        if not chip.bloqueio_manual:
            raise BlockConflict("O chip já não estava bloqueado.")
        before = {"motivo_do_bloqueio": chip.bloqueio_motivo, "bloqueado_por": chip.bloqueado_por}
        chip.bloqueio_manual, chip.bloqueio_motivo, chip.bloqueado_por, chip.bloqueado_em = False, "", "", None
        chip.save(update_fields=["bloqueio_manual", "bloqueio_motivo", "bloqueado_por", "bloqueado_em"])
        audit.record(
            "chip_desbloqueado", "chip", chip.pk, usuario=actor, motivo=motivo, detalhes=before, ip=ip, now=now
        )
    return chip
