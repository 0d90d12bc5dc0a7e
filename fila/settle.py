"""After the wire: the attempt's result is always written, by attempt id, and the message follows it.

One transaction for a batch of results. Lock order: campanha, pessoa, chip, budget, mensagem, tentativa.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from chips.providers.base import Code, ErrorKind, Fault, SendResult, Verdict
from core.clock import database_now
from core.database import execute, rows, wait_briefly_for_locks
from core.logging import get_logger
from core.outcomes import SendOutcome
from fila import delivery, ledger
from fila.choices import Evento
from fila.dispatch import OpenAttempt
from fila.returns import Event, record_events, to_dlq

log = get_logger("fila.settle")

MISDELIVERED = "entregue_a_outro_numero"
BACKOFF_BASE_S = 60  # 60 · 2^n → 120 s, 240 s (fila reference §1.5)
ANOTHER_CHIP_S = 2
WITHDRAWN_PAUSE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Settled:
    """One attempt and what its call came to. `duracao_ms` from commit to answer."""

    attempt: OpenAttempt
    result: SendResult
    duracao_ms: int


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
    provably unsent one retries with penalty (120 s, 240 s ± 20 %), or once on another chip in seconds when its chip was
    at fault, and ends as `erro` with a row in the DLQ when its attempts are used up. An unknown one becomes `incerta`.
    Raises OperationalError when somebody holds one of its rows for longer than `lock_ms`.
    """
    if not results:
        return
    with transaction.atomic():
        wait_briefly_for_locks(lock_ms)
        _lock(results)
        now = database_now()
        attempts_used = _attempts_used(results)
        closed = _close_attempts(results)
        news = [one for one in results if one.attempt.id in closed]
        accepted = [one for one in results if one.result.verdict is Verdict.ACEITA]
        refused = [one for one in news if one.result.verdict is Verdict.NAO_ENVIADA]
        steps = [step_of(one, attempts_used.get(one.attempt.mensagem.id, (0, 3)), now, rng) for one in results]
        _chips_accepted([one for one in news if one.result.verdict is Verdict.ACEITA])
        _chips_failed([one for one in news if one.result.verdict is not Verdict.ACEITA], now)
        ledger.release([closed[one.attempt.id] for one in refused])
        _messages_accepted(accepted)
        _messages_follow([step for step in steps if step.status != "enviada"])
        _misdelivered([one for one in news if one.result.misdelivered])
        _invalid_numbers(refused)
        delivery.record_sent(accepted)
        delivery.wake_waiting([one.result.provider_message_id for one in accepted if one.result.provider_message_id])


def step_of(one: Settled, used: tuple[int, int], now: datetime, rng: random.Random) -> Step:
    """The message's next state. `used`: failed attempts so far and how many it may have."""
    message, result = one.attempt.mensagem, one.result
    motivo = result.reason_code
    if result.verdict is Verdict.ACEITA:
        return Step(message.id, message.token, "enviada", SendOutcome.SENT, "ok")
    if result.verdict is Verdict.DESCONHECIDA:
        return Step(message.id, message.token, "incerta", None, motivo)
    if result.code is Code.WITHDRAWN:
        return Step(message.id, message.token, "pendente", None, motivo, until=now + WITHDRAWN_PAUSE)
    outcome = outcome_of(result)
    failed, allowed = used[0] + 1, used[1]
    if not result.retryable or failed >= allowed:
        return Step(message.id, message.token, "erro", outcome, motivo, counts=True, dead=True)
    return Step(
        message.id, message.token, "pendente", outcome, motivo, until=_retry_at(result, failed, now, rng), counts=True
    )


def outcome_of(result: SendResult) -> SendOutcome:
    """The word for a provably unsent message (fila reference §1.7, §3.4)."""
    if result.kind is ErrorKind.DESTINO_INVALIDO:
        return SendOutcome.FAILED_VALIDATION
    if result.kind is ErrorKind.RESTRICAO:
        return SendOutcome.FAILED_BANNED
    return SendOutcome.FAILED_PROVIDER


def _retry_at(result: SendResult, failed: int, now: datetime, rng: random.Random) -> datetime:
    another_chip = result.fault is Fault.CHIP and failed == 1
    seconds = ANOTHER_CHIP_S if another_chip else BACKOFF_BASE_S * 2**failed
    return now + timedelta(seconds=seconds * rng.uniform(0.8, 1.2))


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
               provider_message_id = r.pid, remote_jid = r.jid,
               delivery_status = CASE WHEN r.resultado = 'enviado' THEN coalesce(t.delivery_status, 'pending')
                                 ELSE t.delivery_status END
           FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::int[], %s::text[], %s::int[], %s::text[],
                       %s::text[]) AS r(id, resultado, kind, codigo, http, erro, ms, pid, jid)
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
        ],
    )
    return {row["id"]: row for row in found}


def _chips_accepted(accepted: Sequence[Settled]) -> None:
    if not accepted:
        return
    execute(
        """UPDATE chips c SET msgs_enviadas_total = c.msgs_enviadas_total + e.n,
               msgs_enviadas_hoje = c.msgs_enviadas_hoje + e.n, ultimo_envio_em = agora()
           FROM (SELECT chip, count(*) AS n FROM unnest(%s::uuid[]) AS u(chip) GROUP BY chip) e WHERE c.id = e.chip""",
        [[one.attempt.chip_id for one in accepted]],
    )
    _interactions(accepted, sucesso=True)


def _chips_failed(failed: Sequence[Settled], now: datetime) -> None:
    """A recipient's fault leaves the chip alone; the chip's own is remembered and may send it to rest."""
    ours = [
        one for one in failed if one.result.fault is not Fault.DESTINATARIO and one.result.code is not Code.WITHDRAWN
    ]
    if not ours:
        return
    execute(
        """UPDATE chips c SET ultimo_erro_em = agora(), ultimo_erro_codigo = e.http, ultimo_erro_msg = e.erro,
               erros_ultimas_24h = c.erros_ultimas_24h + CASE WHEN e.do_chip THEN 1 ELSE 0 END,
               cooldown_until = CASE WHEN e.ate IS NOT NULL THEN greatest(c.cooldown_until, e.ate)
                                ELSE c.cooldown_until END,
               cooldown_motivo = CASE WHEN e.ate IS NOT NULL THEN e.motivo ELSE c.cooldown_motivo END
           FROM (SELECT DISTINCT ON (chip) * FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::bool[],
                     %s::timestamptz[], %s::text[]) AS u(chip, http, erro, do_chip, ate, motivo)
                 ORDER BY chip, ate DESC NULLS LAST) e
           WHERE c.id = e.chip""",
        [
            [one.attempt.chip_id for one in ours],
            [one.result.http_status for one in ours],
            [one.result.reason_code[:300] for one in ours],
            [one.result.fault is Fault.CHIP for one in ours],
            [now + one.result.cooldown if one.result.cooldown else None for one in ours],
            [_cooldown_motivo(one.result) for one in ours],
        ],
    )
    _interactions(ours, sucesso=False)


def _cooldown_motivo(result: SendResult) -> str:
    """`restricao:<code>` or `http_<status>` (chips reference §4.4)."""
    if result.kind is ErrorKind.RESTRICAO or result.http_status is None:
        return f"{result.kind}:{result.code}"[:100]
    return f"http_{result.http_status}"


def _interactions(settled: Sequence[Settled], *, sucesso: bool) -> None:
    execute(
        """INSERT INTO chip_interactions (chip_id, tipo, destinatario, sucesso, error_code, error_message,
               provider_message_id)
           SELECT chip, 'msg_enviada', destino, %s, http, erro, pid
           FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::text[], %s::text[])
               AS e(chip, destino, http, erro, pid)""",
        [
            sucesso,
            [one.attempt.chip_id for one in settled],
            [one.attempt.mensagem.telefone_destino for one in settled],
            [None if sucesso else one.result.http_status for one in settled],
            ["" if sucesso else one.result.reason_code[:300] for one in settled],
            [one.result.provider_message_id or "" for one in settled],
        ],
    )


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
