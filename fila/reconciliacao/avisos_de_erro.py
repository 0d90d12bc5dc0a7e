"""ERROR acknowledgements: accepted by the provider, refused by WhatsApp.

One without a positive acknowledgement within 60 s is a failed attempt, provably not delivered, and its message goes to
another chip. A burst of them is the only sign that WhatsApp restricted a chip (contracts §0.8).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from chips import ejection
from chips.choices import Evidencia, Resultado
from chips.providers.base import Fault, SendResult
from chips.vocabulario import catalogo
from chips.vocabulario import services as vocabulario
from chips.vocabulario.services import Rule
from core.circuits import services as circuits
from core.circuits.names import of_chip
from core.clock import database_now
from core.database import rows
from core.logging import get_logger
from fila import aftermath
from fila.reconciliacao import retorno
from fila.reconciliacao.holding import Busy, Standing, held
from fila.reconciliacao.retorno import Return, Returned
from fila.settle import outcome_of

log = get_logger("fila.reconciliacao")

GRACE_S = 60
AT_ONCE = 200
BURST = 3
BURST_WINDOW_MIN = 30
EVOLUTION_RULE = "evolution.ack_erro"

# tentativas_error_acks. A positive acknowledgement that waits in the inbox unread is not passed over.
_DUE = f"""
SELECT t.id FROM envios_tentativas t
WHERE t.delivery_status = 'failed' AND t.nao_entregue_em IS NULL AND t.resultado = 'enviado'
    AND t.delivery_status_at <= agora() - interval '{GRACE_S} seconds'
    AND NOT EXISTS (SELECT 1 FROM webhook_eventos e WHERE e.status IN ('pendente', 'aguardando') AND e.kind = 'recibo'
                    AND e.key_id = t.provider_message_id)
ORDER BY t.delivery_status_at LIMIT {AT_ONCE}
"""  # noqa: S608 (constants of this module only)


def apply_error_acks() -> list[Returned]:
    """Give back what WhatsApp refused at least 60 s ago: `enviada` → `pendente`, counting one failed try.

    Ends as `erro`, with a row in the DLQ, after the last try or where nobody could deliver it. Set-based; attempts
    whose rows somebody holds have their turn at the next call. Safe to call from any number of processes.
    """
    due = [row["id"] for row in rows(_DUE)]
    if not due:
        return []
    rules = vocabulario.current()
    try:
        return _give_back(due, rules)
    except Busy:
        return [each for attempt_id in due for each in _alone(attempt_id, rules)]


def _alone(attempt_id: int, rules: Mapping[str, Rule]) -> list[Returned]:
    try:
        return _give_back([attempt_id], rules)
    except Busy:
        return []


def _give_back(due: list[int], rules: Mapping[str, Rule]) -> list[Returned]:
    with held(due) as standing:
        refused = [
            one
            for one in standing.values()
            if one.delivery_status == "failed" and one.resultado == Resultado.ENVIADO and one.nao_entregue_em is None
        ]
        done = retorno.write([_return_of(one, rules) for one in refused], standing)
    if done:
        log.warning("aceitas e não entregues", tentativas=len(done))
    return done


def _return_of(one: Standing, rules: Mapping[str, Rule]) -> Return:
    result = refusal_of(one.regra, one.erro, rules)
    return Return(
        one.id,
        evidencia=Evidencia.RECIBO,
        motivo=result.reason_code,
        outcome=outcome_of(result),
        permanent=not result.retryable,
        regra=result.rule,
        chip_fault=result.fault is Fault.CHIP,
    )


def refusal_of(regra: str, detail: str, rules: Mapping[str, Rule]) -> SendResult:
    """What a refusal after acceptance means: Z-API names it in its callback, Evolution has only the bare ERROR."""
    named = regra if regra in catalogo.ENTRIES else EVOLUTION_RULE
    return vocabulario.apply(catalogo.result(named, detail), rules)


# Only chips with a fresh, undecided ERROR are looked at; their newest attempts come from tentativas_newest_of_provider.
# Consecutive: in the order of sending, with no delivered one behind them. What was sent before the chip was given back
# to production says nothing about it any more.
_BURSTS = f"""
WITH suspeitos AS (
    SELECT DISTINCT t.chip_id FROM envios_tentativas t
    WHERE t.delivery_status = 'failed' AND t.nao_entregue_em IS NULL
        AND t.delivery_status_at > agora() - interval '{BURST_WINDOW_MIN} minutes'),
recentes AS (
    SELECT t.chip_id, t.id, t.iniciado_em, t.delivery_status, t.delivery_status_at
    FROM suspeitos s JOIN chips c ON c.id = s.chip_id AND c.status = 'active'
    JOIN envios_tentativas t ON t.provider = c.provider AND t.chip_id = c.id
    WHERE t.iniciado_em > agora() - interval '{2 * BURST_WINDOW_MIN} minutes'
        AND t.iniciado_em > coalesce(CASE WHEN c.rampa_desde <= agora() THEN c.rampa_desde END, '-infinity')
        AND t.delivery_status IN ('failed', 'delivered', 'read'))
SELECT r.chip_id, count(*) AS n FROM recentes r
WHERE r.delivery_status = 'failed' AND r.delivery_status_at > agora() - interval '{BURST_WINDOW_MIN} minutes'
    AND NOT EXISTS (SELECT 1 FROM recentes p WHERE p.chip_id = r.chip_id AND p.delivery_status <> 'failed'
                    AND (p.iniciado_em, p.id) > (r.iniciado_em, r.id))
GROUP BY r.chip_id HAVING count(*) >= {BURST} ORDER BY r.chip_id
"""  # noqa: S608 (constants of this module only)


def eject_bursts(*, now: datetime | None = None) -> list[UUID]:
    """Take out every chip whose last three sends or more were all refused within 30 min; the ids taken out now."""
    found = rows(_BURSTS)
    if not found:
        return []
    return restrict({row["chip_id"]: _burst_motivo(row) for row in found}, now=now or database_now())


def _burst_motivo(row: Mapping[str, Any]) -> str:
    return f"{row['n']} envios seguidos aceitos e depois recusados (ERROR)"


def restrict(chips: Mapping[UUID, str], *, now: datetime) -> list[UUID]:
    """Chip out of production, its circuit open, its waiting messages free for others. In a transaction of its own."""
    with transaction.atomic():
        rows("SELECT id FROM chips WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [sorted(chips)])
        out = ejection.eject(chips, now=now)
        aftermath.release_affinity(out)
        circuits.record(
            [
                circuits.Call(
                    of_chip(chip), circuits.CallResult.TRIP, scope=str(chip), kind="restricao", started_at=now,
                    only_scope=True,
                )
                for chip in out
            ]
        )  # fmt: skip
    return out
