"""After the wire: the attempt's result is always written, by attempt id, and the message follows it.

One transaction for a batch of results. Lock order: campanha, pessoa, chip, mensagem, budget, circuit.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.db import transaction

from chips.providers.base import Code, ErrorKind, Fault, SendResult, Verdict
from chips.vocabulario import services as vocabulario
from core.clock import database_now
from core.database import execute, rows, wait_briefly_for_locks
from core.logging import get_logger
from core.outcomes import SendOutcome
from fila import aftermath, delivery, ledger, traces
from fila.choices import Evento
from fila.facts import BACKOFF_BASE_S, JITTER
from fila.results import Settled
from fila.returns import Event, record_events, to_dlq

log = get_logger("fila.settle")

MISDELIVERED = "entregue_a_outro_numero"
# What failed here may well go elsewhere at once; who already failed with the message is kept from it by its facts.
ELSEWHERE = frozenset({Fault.CHIP, Fault.PROVEDOR})
AT_ONCE = timedelta(seconds=1)
WITHDRAWN_PAUSE = timedelta(seconds=5)
NO_CARRIERS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Step:
    """What a result does to its message."""

    mensagem_id: UUID
    token: int
    status: str
    outcome: SendOutcome | None
    motivo: str
    until: datetime | None = None
    counts: bool = False
    dead: bool = False


def settle(results: Sequence[Settled], *, rng: random.Random, lock_ms: int = 500) -> None:
    """Write a batch of results. Safe to repeat: attempts only move forward, messages by their token.

    An accepted message becomes `enviada` even when somebody changed its row by hand while it was on the wire. A
    provably unsent one retries with penalty, at once on another chip (another provider's, where the provider was at
    fault) and otherwise after 120 s, 240 s (± 20 %); it ends as `erro` with a row in the DLQ when its attempts are used
    up. A half-open circuit's probe that fails costs its message nothing. An unknown one becomes `incerta`. What the
    result means for chip and circuits is written in the same transaction, circuits last.
    Raises OperationalError when somebody holds one of its rows for longer than `lock_ms`.
    """
    if not results:
        return
    failed = any(one.result.verdict is not Verdict.ACEITA for one in results)
    rules = vocabulario.current() if failed else {}
    results = [replace(one, result=vocabulario.apply(one.result, rules)) for one in results]
    with transaction.atomic():
        wait_briefly_for_locks(lock_ms)
        _lock(results)
        now = database_now()
        attempts_used = _attempts_used(results)
        closed = _close_attempts(results)
        news = [one for one in results if one.attempt.id in closed]
        accepted = [one for one in results if one.result.verdict is Verdict.ACEITA]
        refused = [one for one in news if one.result.verdict is Verdict.NAO_ENVIADA]
        carriers = aftermath.chips_by_provider() if failed else {}
        steps = [
            step_of(one, attempts_used.get(one.attempt.mensagem.id, (0, 3)), now, rng, carriers=carriers)
            for one in results
        ]
        out = aftermath.of_chips(news, rules, now)
        _messages_accepted(accepted)
        _messages_follow([step for step in steps if step.status != "enviada"])
        aftermath.release_affinity(out)
        _misdelivered([one for one in news if one.result.misdelivered])
        _invalid_numbers(refused)
        delivery.record_sent(accepted)
        delivery.wake_waiting([one.result.provider_message_id for one in accepted if one.result.provider_message_id])
        ledger.release([closed[one.attempt.id] for one in refused])
        aftermath.of_circuits(news, rules, carriers)
    traces.tell([(one, step) for one, step in zip(results, steps, strict=True) if one.attempt.id in closed])


def step_of(
    one: Settled,
    used: tuple[int, int],
    now: datetime,
    rng: random.Random,
    *,
    carriers: Mapping[str, int] = NO_CARRIERS,
) -> Step:
    """The message's next state.

    `used`: failed attempts so far and how many it may have. `carriers`: how many chips each provider has in production.
    """
    message, result = one.attempt.mensagem, one.result
    motivo = result.reason_code
    if result.verdict is Verdict.ACEITA:
        return Step(message.id, message.token, "enviada", SendOutcome.SENT, "ok")
    if result.verdict is Verdict.DESCONHECIDA:
        return Step(message.id, message.token, "incerta", None, motivo)
    if result.code is Code.WITHDRAWN:
        return Step(message.id, message.token, "pendente", None, motivo, until=now + WITHDRAWN_PAUSE)
    outcome = outcome_of(result)
    if one.attempt.sondas and result.fault in ELSEWHERE:
        return Step(message.id, message.token, "pendente", outcome, motivo, until=now + AT_ONCE)
    failed, allowed = used[0] + 1, used[1]
    if not result.retryable or failed >= allowed:
        return Step(message.id, message.token, "erro", outcome, motivo, counts=True, dead=True)
    until = _retry_at(failed, now, rng, elsewhere=_goes_elsewhere(one, carriers))
    return Step(message.id, message.token, "pendente", outcome, motivo, until=until, counts=True)


def _goes_elsewhere(one: Settled, carriers: Mapping[str, int]) -> bool:
    """Whether another chip can be asked at once; where the provider was at fault, only another provider's."""
    if one.result.fault is Fault.PROVEDOR:
        return any(provider != one.attempt.provider for provider in carriers)
    return (one.result.fault is Fault.CHIP or one.result.kind is ErrorKind.CREDENCIAL) and sum(carriers.values()) > 1


def outcome_of(result: SendResult) -> SendOutcome:
    """The word for a provably unsent message (fila reference §1.7, §3.4)."""
    if result.kind is ErrorKind.DESTINO_INVALIDO:
        return SendOutcome.FAILED_VALIDATION
    if result.kind is ErrorKind.RESTRICAO:
        return SendOutcome.FAILED_BANNED
    return SendOutcome.FAILED_PROVIDER


def _retry_at(failed: int, now: datetime, rng: random.Random, *, elsewhere: bool) -> datetime:
    if elsewhere:
        return now + AT_ONCE
    return now + timedelta(seconds=BACKOFF_BASE_S * 2**failed * rng.uniform(1 - JITTER, 1 + JITTER))


def _lock(results: Sequence[Settled]) -> None:
    messages = sorted({one.attempt.mensagem.id for one in results})
    campaigns = sorted({one.attempt.mensagem.campanha_id for one in results if one.attempt.mensagem.campanha_id})
    people = sorted({one.attempt.mensagem.cliente_id for one in results})
    chips = sorted({one.attempt.chip_id for one in results})
    rows("SELECT id FROM campanhas WHERE id = ANY(%s) ORDER BY id FOR SHARE", [campaigns])
    rows(
        "SELECT cliente_id FROM doctor_state WHERE cliente_id = ANY(%s) ORDER BY cliente_id FOR NO KEY UPDATE", [people]
    )
    rows("SELECT id FROM chips WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [chips])
    rows("SELECT id FROM fila_mensagens WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [messages])


def _attempts_used(results: Sequence[Settled]) -> dict[UUID, tuple[int, int]]:
    found = rows(
        "SELECT id, tentativas, max_tentativas FROM fila_mensagens WHERE id = ANY(%s)",
        [[one.attempt.mensagem.id for one in results]],
    )
    return {row["id"]: (row["tentativas"], row["max_tentativas"]) for row in found}


_RESULTADO = {Verdict.ACEITA: "enviado", Verdict.NAO_ENVIADA: "rejeitado", Verdict.DESCONHECIDA: "desconhecido"}


def _close_attempts(results: Sequence[Settled]) -> dict[int, dict[str, Any]]:
    """Forward only: what a later proof already settled stays as it is. The rows that this call moved, by attempt id."""
    found = rows(
        """UPDATE envios_tentativas t SET resultado = r.resultado, encerrado_em = agora(), error_kind = r.kind,
               codigo = r.codigo, http_status = r.http, erro = r.erro, duracao_ms = r.ms,
               provider_message_id = r.pid, remote_jid = r.jid, regra = r.regra, queue_id = r.fila,
               delivery_status = CASE WHEN r.resultado = 'enviado' THEN coalesce(t.delivery_status, 'pending')
                                 ELSE t.delivery_status END
           FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::int[], %s::text[], %s::int[], %s::text[],
                       %s::text[], %s::text[], %s::text[])
               AS r(id, resultado, kind, codigo, http, erro, ms, pid, jid, regra, fila)
           WHERE t.id = r.id AND (t.resultado = 'iniciado'
               OR (t.resultado = 'desconhecido' AND r.resultado <> 'desconhecido')
               OR (t.resultado = 'rejeitado' AND r.resultado = 'enviado'))
           RETURNING t.id, t.chip_id, t.peso, t.balde_em, t.proativa""",
        [
            [one.attempt.id for one in results],
            [_RESULTADO[one.result.verdict] for one in results],
            [one.result.kind.value if one.result.kind else "" for one in results],
            [one.result.code.value for one in results],
            [one.result.http_status for one in results],
            [one.result.detail[:300] for one in results],
            [one.duracao_ms for one in results],
            [one.result.provider_message_id or "" for one in results],
            [one.result.remote_jid or "" for one in results],
            [one.result.rule for one in results],
            [one.result.queue_id or "" for one in results],
        ],
    )
    return {row["id"]: row for row in found}


def _messages_accepted(accepted: Sequence[Settled]) -> None:
    if not accepted:
        return
    execute(
        """UPDATE fila_mensagens m SET status = 'enviada', outcome = 'SENT', outcome_reason_code = 'ok',
               outcome_at = agora(), enviada_em = agora(), provider_message_id = e.pid,
               delivery_status = coalesce(m.delivery_status, 'pending'), tentativa_aberta_id = NULL, chip_id = e.chip,
               lease_ate = NULL, lease_owner = '', erro = NULL
           FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::uuid[]) AS e(id, token, pid, chip)
           WHERE m.id = e.id AND m.token = e.token AND m.status <> 'enviada'""",
        [
            [one.attempt.mensagem.id for one in accepted],
            [one.attempt.mensagem.token for one in accepted],
            [one.result.provider_message_id for one in accepted],
            [one.attempt.chip_id for one in accepted],
        ],
    )


def _messages_follow(steps: Sequence[Step]) -> None:
    """Returns, ends and unknowns.

    A row that somebody ended by hand while it was on the wire keeps that end when nothing left; when nobody knows
    whether it left, it becomes `incerta`: its attempt may be true.
    """
    if not steps:
        return
    changed = rows(
        """UPDATE fila_mensagens m SET status = s.status, outcome = coalesce(s.outcome, m.outcome),
               outcome_reason_code = s.motivo,
               outcome_at = CASE WHEN s.outcome IS NULL THEN m.outcome_at ELSE agora() END,
               agendar_para = coalesce(s.ate, m.agendar_para),
               tentativas = m.tentativas + CASE WHEN s.conta THEN 1 ELSE 0 END,
               erro = s.motivo, lease_ate = NULL, lease_owner = '',
               processando_desde = CASE WHEN s.status = 'pendente' THEN NULL ELSE m.processando_desde END,
               tentativa_aberta_id = CASE WHEN s.status = 'incerta' THEN m.tentativa_aberta_id END
           FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::bool[])
               AS s(id, token, status, outcome, motivo, ate, conta)
           WHERE m.id = s.id AND m.token = s.token AND m.status <> s.status AND (m.status IN ('processando', 'incerta')
               OR (s.status = 'incerta' AND m.status <> 'enviada' AND m.tentativa_aberta_id IS NOT NULL))
           RETURNING m.id, m.status""",
        [
            [step.mensagem_id for step in steps],
            [step.token for step in steps],
            [step.status for step in steps],
            [step.outcome.value if step.outcome else None for step in steps],
            [step.motivo[:160] for step in steps],
            [step.until for step in steps],
            [step.counts for step in steps],
        ],
    )
    execute(
        """UPDATE fila_mensagens SET tentativa_aberta_id = NULL
           WHERE id = ANY(%s) AND status IN ('cancelada', 'bloqueada', 'erro') AND tentativa_aberta_id IS NOT NULL""",
        [[step.mensagem_id for step in steps if step.status != "incerta"]],
    )
    became = {row["id"]: row["status"] for row in changed}
    to_dlq([step.mensagem_id for step in steps if step.dead and became.get(step.mensagem_id) == "erro"])
    record_events(
        [
            Event(step.mensagem_id, _TOLD[became[step.mensagem_id]], step.outcome, step.motivo, step.until)
            for step in steps
            if step.mensagem_id in became
        ]
    )


_TOLD = {
    "incerta": Evento.INCERTA,
    "erro": Evento.FALHA,
    "pendente": Evento.RETOMADA,
    "cancelada": Evento.CANCELADA,
    "bloqueada": Evento.BLOQUEADA,
}


def _misdelivered(accepted: Sequence[Settled]) -> None:
    """Accepted, but addressed to a number that is not the recipient's (contracts §1.11): somebody must look at it."""
    for one in accepted:
        log.error("entregue a outro número", mensagem_id=str(one.attempt.mensagem.id), tentativa=one.attempt.id)
    execute(
        "UPDATE fila_mensagens SET erro = 'o provedor endereçou a mensagem a outro número' WHERE id = ANY(%s)",
        [[one.attempt.mensagem.id for one in accepted]],
    )
    record_events([Event(one.attempt.mensagem.id, Evento.FALHA, None, MISDELIVERED) for one in accepted])


def _invalid_numbers(refused: Sequence[Settled]) -> None:
    """The provider said that the number has no WhatsApp: nobody tries it again."""
    ids = [one.attempt.mensagem.cliente_id for one in refused if one.result.code is Code.NOT_ON_WHATSAPP]
    if ids:
        execute(
            """UPDATE clientes SET status_telefone = 'invalido', telefone_erro = 'fora do WhatsApp',
               telefone_validado_em = agora() WHERE id = ANY(%s)""",
            [ids],
        )
