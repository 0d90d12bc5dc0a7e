"""Taking a chip out on the spot when WhatsApp restricts it, and giving it back by a person's decision."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from uuid import UUID

from django.db import transaction

from chips.choices import ChipStatus
from core import correlation
from core.alerts.models import Severidade
from core.alerts.services import raise_alert, resolve
from core.audit import services as audit
from core.circuits import services as circuits
from core.circuits.names import of_chip
from core.database import rows
from core.logging import get_logger

log = get_logger("chips")

ALERT = "chip_degradado"
REST = timedelta(minutes=60)  # 403 and restriction words (chips reference §4.4)


class CannotRestore(Exception):
    """The chip is not degraded any more; the text is for the operator."""


def eject(
    chips: Mapping[UUID, str],
    *,
    now: datetime,
    rest: timedelta = REST,
    correlations: Mapping[UUID, str] = MappingProxyType({}),
) -> list[UUID]:
    """active → `degraded` for each, with its motivo: no more sends, a rest, an alert and an audit entry.

    Compare-and-set: a chip that somebody else took out, or that is not in production, is left alone; the ids returned
    are those taken out now. In the caller's transaction, which may hold the chips' locks already. Its limits grow back
    from the end of the rest (chips reference §4.5). `correlations`: by chip, the id of the work that brought it about.
    """
    if not chips:
        return []
    ids = sorted(chips)
    out = rows(
        """UPDATE chips c SET status = 'degraded', degradado_em = agora(), degradado_motivo = left(e.motivo, 100),
               cooldown_until = greatest(c.cooldown_until, %(ate)s), cooldown_motivo = left(e.motivo, 100),
               rampa_desde = greatest(c.cooldown_until, %(ate)s)
           FROM unnest(%(ids)s::uuid[], %(motivos)s::text[]) AS e(id, motivo)
           WHERE c.id = e.id AND c.status = 'active'
           RETURNING c.id, c.instance_name, right(c.telefone, 4) AS final, c.degradado_motivo AS motivo""",
        {"ids": ids, "motivos": [chips[chip] for chip in ids], "ate": now + rest},
    )
    for chip in out:
        with correlation.use(correlations.get(chip["id"]) or correlation.peek()):
            _tell(chip["id"], chip["instance_name"], chip["final"], chip["motivo"])
    return [chip["id"] for chip in out]


def _tell(chip_id: UUID, name: str, final: str, motivo: str) -> None:
    log.critical("chip retirado da produção", chip_id=str(chip_id), motivo=motivo)
    raise_alert(
        ALERT,
        of_chip(chip_id),
        severidade=Severidade.CRITICAL,
        titulo=f"Chip {name} fora de produção",
        mensagem=f"O WhatsApp restringiu o chip {name} (final {final}): ele não envia mais. Confira o número no "
        "celular; quando estiver bom, devolva-o à produção em Chips.",
        contexto={"motivo": motivo},
    )
    audit.record(
        "chip_degradado",
        "chip",
        chip_id,
        usuario="sistema",
        motivo=f"restrição do WhatsApp: {motivo}"[: audit.MOTIVO_MAX],
        detalhes={"antes": ChipStatus.ACTIVE.value, "depois": ChipStatus.DEGRADED.value},
    )


def restore(chip_id: UUID, *, actor: audit.Actor, motivo: str, now: datetime, ip: str | None = None) -> None:
    """degraded → active by a person: rest over, circuit closed, alert resolved, limits growing back from now.

    Raises CannotRestore and MotivoMissing.
    """
    motivo = audit.check_motivo(motivo)
    with transaction.atomic():
        back = rows(
            """UPDATE chips SET status = 'active', cooldown_until = NULL, cooldown_motivo = '', degradado_em = NULL,
                   degradado_motivo = '', rampa_desde = %s WHERE id = %s AND status = 'degraded' RETURNING id""",
            [now, chip_id],
        )
        if not back:
            raise CannotRestore("Este chip já não está degradado: atualize a página para ver o estado dele.")
        resolve(ALERT, of_chip(chip_id))
        detalhes = {"antes": ChipStatus.DEGRADED.value, "depois": ChipStatus.ACTIVE.value}
        audit.record("chip_devolvido", "chip", chip_id, usuario=actor, motivo=motivo, detalhes=detalhes, ip=ip, now=now)
        circuits.reset(of_chip(chip_id), actor=audit.name_of(actor), motivo=motivo)
