"""The fleet as facts: what `selection` decides over, read in one statement."""

from collections.abc import Collection
from dataclasses import replace
from uuid import UUID

from chips.selection import ChipFacts
from core.database import rows

# Candidates are few (tens to thousands); usage comes from the unique index of limites_minutos and the partial unique
# index of attempts in flight, one probe per chip each.
_FLEET = """
SELECT c.id, right(c.telefone, 4) AS final, c.provider, c.status, c.tipo, c.trust_score,
       c.evolution_connected AS conectado, c.webhook_secret <> '' AS tem_segredo, c.bloqueio_manual,
       c.pode_prospectar, c.pode_followup, c.pode_responder, c.cooldown_until, c.connection_cooldown_until,
       c.proximo_envio_em, c.delay_minimo_segundos, c.limite_hora, c.limite_dia,
       EXISTS (SELECT 1 FROM envios_tentativas t WHERE t.chip_id = c.id AND t.resultado = 'iniciado') AS em_voo,
       coalesce((SELECT sum(l.peso) FROM limites_minutos l WHERE l.escopo = 'chip:' || c.id
                 AND l.minuto > date_trunc('minute', agora()) - interval '61 minutes'), 0)::int AS peso_hora,
       CASE WHEN c.contadores_data = (agora() AT TIME ZONE 'America/Sao_Paulo')::date
            THEN c.peso_dia ELSE 0 END AS peso_dia
FROM chips c
WHERE c.status NOT IN ('cancelled', 'banned')
"""


def load() -> list[ChipFacts]:
    """Every chip that is not banned or cancelled, without locks: good for deciding how much to claim."""
    return [ChipFacts(**row) for row in rows(_FLEET + " ORDER BY c.id")]


def lock(ids: Collection[UUID]) -> list[ChipFacts]:
    """The whole fleet, those of `ids` locked (`FOR NO KEY UPDATE`, by id) and read after the lock.

    Whatever is not locked here is `ocupado`: somebody else's for this instant, which is no reason to lower the trust
    bar or to let a reply change its number. Must run inside a transaction.
    """
    held = {
        row["id"]
        for row in rows(
            "SELECT id FROM chips WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED", [list(ids)]
        )
    }
    return [chip if chip.id in held else replace(chip, ocupado=True) for chip in load()]
