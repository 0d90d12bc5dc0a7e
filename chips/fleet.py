"""The fleet as facts: what `selection` decides over, read together with the circuits that stand in its way."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import UUID

from chips.choices import NULL_PROVIDER, ChipStatus, ChipTipo
from chips.selection import ChipFacts
from core.circuits import services as circuits
from core.circuits.names import of_chip, of_provider
from core.circuits.services import Gate, Snapshot
from core.database import rows

ILL_LIMIT_PCT = 70

# Candidates are few (tens to thousands); usage comes from the unique index of limites_minutos and the partial unique
# index of attempts in flight, one probe per chip each.
_FLEET = """
SELECT c.id, right(c.telefone, 4) AS final, c.provider, c.status, c.tipo, c.trust_score,
       c.evolution_connected AS conectado, c.webhook_secret <> '' AS tem_segredo, c.bloqueio_manual,
       c.pode_prospectar, c.pode_followup, c.pode_responder, c.cooldown_until, c.connection_cooldown_until,
       c.proximo_envio_em, c.delay_minimo_segundos, c.limite_hora, c.limite_dia, c.rampa_desde,
       t.id IS NOT NULL AS em_voo, t.iniciado_em AS em_voo_desde,
       coalesce((SELECT sum(l.peso) FROM limites_minutos l WHERE l.escopo = 'chip:' || c.id
                 AND l.minuto > date_trunc('minute', agora()) - interval '61 minutes'), 0)::int AS peso_hora,
       CASE WHEN c.contadores_data = (agora() AT TIME ZONE 'America/Sao_Paulo')::date
            THEN c.peso_dia ELSE 0 END AS peso_dia,
       coalesce(c.degradado_em > agora() - interval '24 hours', false)
           AND c.status IN ('degraded', 'banned') AS doente
FROM chips c LEFT JOIN envios_tentativas t ON t.chip_id = c.id AND t.resultado = 'iniciado'
WHERE c.status NOT IN ('cancelled', 'banned')
    OR (c.status = 'banned' AND c.degradado_em > agora() - interval '24 hours')
ORDER BY c.id
"""


def load(*, ill_limit_pct: int = ILL_LIMIT_PCT) -> list[ChipFacts]:
    """Every chip that is not banned or cancelled for good, without locks: good for deciding how much to claim.

    Two statements, whatever the fleet's size: the chips and the circuits that are not plainly closed.
    `ill_limit_pct`: above this share of chips fallen ill within a day, what Julia begins waits.
    """
    return _with_illness(_with_circuits([ChipFacts(**row) for row in rows(_FLEET)], circuits.snapshot()), ill_limit_pct)


def instance_names(ids: Collection[UUID]) -> dict[UUID, str]:
    found = rows("SELECT id, instance_name FROM chips WHERE id = ANY(%s)", [list(ids)])
    return {row["id"]: row["instance_name"] for row in found}


def lock(ids: Collection[UUID], *, ill_limit_pct: int = ILL_LIMIT_PCT) -> list[ChipFacts]:
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
    return [chip if chip.id in held else replace(chip, ocupado=True) for chip in load(ill_limit_pct=ill_limit_pct)]


def _with_circuits(chips: Sequence[ChipFacts], snapshot: Snapshot) -> list[ChipFacts]:
    return [_behind(chip, snapshot) for chip in chips]


def _behind(chip: ChipFacts, snapshot: Snapshot) -> ChipFacts:
    if chip.provider == NULL_PROVIDER:
        return chip
    gates = {name: snapshot.gate(name) for name in (of_provider(chip.provider), of_chip(chip.id))}
    if all(gate is Gate.PASS for gate in gates.values()):
        return chip
    return replace(
        chip,
        barreiras=tuple(name for name, gate in gates.items() if gate is Gate.CLOSED),
        sondas=tuple(name for name, gate in gates.items() if gate is Gate.PROBE),
        doente=chip.doente
        or (gates[of_chip(chip.id)] is Gate.CLOSED and gates[of_provider(chip.provider)] is Gate.PASS),
    )


def ill_share_pct(chips: Sequence[ChipFacts]) -> int:
    """Per cent of the conversing fleet that fell ill: taken out within a day, or with its own circuit open."""
    ill, healthy = _ill_and_healthy(chips)
    return 100 * ill // (ill + healthy) if ill + healthy else 0


def _ill_and_healthy(chips: Sequence[ChipFacts]) -> tuple[int, int]:
    ours = [chip for chip in chips if chip.tipo == ChipTipo.JULIA and chip.provider != NULL_PROVIDER]
    ill = sum(chip.doente for chip in ours)
    return ill, sum(chip.status == ChipStatus.ACTIVE and not chip.doente for chip in ours)


def _with_illness(chips: list[ChipFacts], limit_pct: int) -> list[ChipFacts]:
    if ill_share_pct(chips) <= limit_pct:
        return chips
    return [replace(chip, frota_doente=True) for chip in chips]
