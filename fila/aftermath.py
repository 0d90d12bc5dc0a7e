"""What a result means for its chip and for the circuits: counters, rest, ejection, failures that count."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from chips import ejection
from chips.choices import NULL_PROVIDER
from chips.providers.base import Code, ErrorKind, Fault, SendResult, Verdict
from chips.selection import RAMP_AFTER
from chips.vocabulario import alertas
from chips.vocabulario.circuitos import Told, told
from chips.vocabulario.services import Rule
from core.circuits import services as circuits
from core.circuits.bulkhead import SLOW_S
from core.circuits.names import of_chip, of_provider
from core.circuits.services import Call, CallResult
from core.database import execute, rows
from fila import ledger
from fila.results import Settled

UNNAMED = "sem_nome"


def of_chips(news: Sequence[Settled], rules: Mapping[str, Rule], now: datetime) -> list[UUID]:
    """Counters and interactions of each chip; its own fault sends it to rest, a restriction out of production.

    In settle's transaction, which holds the chips' locks. Returns the chips taken out now.
    """
    accepted = [one for one in news if one.result.verdict is Verdict.ACEITA]
    failed = [one for one in news if one.result.verdict is not Verdict.ACEITA]
    _accepted(accepted)
    _failed(failed, now)
    ledger.rest_no_longer([one.attempt.chip_id for one in failed if one.result.code is Code.WITHDRAWN])
    alertas.raise_for([(one.attempt.chip_id, one.result) for one in failed], rules, correlations=_origins(failed))
    alertas.resolve_for({one.attempt.chip_id for one in accepted})
    restricted = {
        one.attempt.chip_id: (one.result.code.value, one.result.cooldown or ejection.REST)
        for one in news
        if one.result.rule in rules and rules[one.result.rule].restriction
    }
    out: list[UUID] = []
    for rest in sorted({rest for _, rest in restricted.values()}):
        motivos = {chip: motivo for chip, (motivo, its_rest) in restricted.items() if its_rest == rest}
        out += ejection.eject(motivos, now=now, rest=max(rest, RAMP_AFTER), correlations=_origins(failed))
    return out


def _origins(failed: Sequence[Settled]) -> dict[UUID, str]:
    """Under which correlation id each chip's newest failure happened."""
    return {one.attempt.chip_id: one.attempt.mensagem.correlation_id for one in failed}


def release_affinity(chips: Sequence[UUID]) -> int:
    """Waiting messages no longer remember a chip that is out of production."""
    if not chips:
        return 0
    return execute(
        """UPDATE fila_mensagens SET chip_id = NULL WHERE id IN (
               SELECT id FROM fila_mensagens WHERE chip_id = ANY(%s) AND status = 'pendente'
               ORDER BY id FOR UPDATE SKIP LOCKED)""",
        [list(chips)],
    )


def of_circuits(news: Sequence[Settled], rules: Mapping[str, Rule], carriers: Mapping[str, int]) -> None:
    """Report every call to the circuits it concerns; nothing is written while all of them succeed.

    `carriers`: how many chips each provider has in production.
    """
    lonely = frozenset(provider for provider, chips in carriers.items() if chips == 1)
    real = [one for one in news if one.attempt.provider != NULL_PROVIDER]
    if calls := [call for one in real for call in calls_of(one, rules, lonely)]:
        circuits.record(calls)


def chips_by_provider() -> dict[str, int]:
    found = rows(
        "SELECT provider, count(*) AS n FROM chips WHERE status = 'active' AND tipo = 'julia' GROUP BY provider"
    )
    return {row["provider"]: row["n"] for row in found}


def calls_of(one: Settled, rules: Mapping[str, Rule], lonely: frozenset[str]) -> list[Call]:
    """What one result says to its provider's circuit and to its chip's. `lonely`: providers with a single chip.

    A recipient's fault proves the provider healthy. A timeout counts only where the call was a probe. What says
    nothing gives a probe's permit back.
    """
    provider, chip = of_provider(one.attempt.provider), of_chip(one.attempt.chip_id)
    of_its_provider, of_its_chip = _told(one, rules)
    found = []
    for name, word in ((provider, of_its_provider), (chip, of_its_chip)):
        probe = name in one.attempt.sondas
        if word is CallResult.NEUTRAL and not probe:
            continue
        found.append(
            Call(
                name,
                word,
                scope=str(one.attempt.chip_id),
                kind=one.result.kind.value if one.result.kind else "",
                started_at=one.attempt.iniciado_em,
                probe=probe,
                token=one.attempt.sondas.get(name),
                only_scope=name != provider or one.attempt.provider in lonely,
                correlation_id=one.attempt.mensagem.correlation_id,
                cause=f"mensagem:{one.attempt.mensagem.id}",
            )
        )
    return found


def _told(one: Settled, rules: Mapping[str, Rule]) -> Told:
    """(to the provider's circuit, to the chip's). A failure that names no rule says nothing.

    A connection that broke after it had hung says no more than the timeout it was about to become.
    """
    if one.result.verdict is Verdict.ACEITA:
        return told("", rules)
    if one.result.kind is ErrorKind.REDE and one.duracao_ms >= SLOW_S * 1000:
        return CallResult.TIMEOUT, CallResult.TIMEOUT
    return told(one.result.rule or UNNAMED, rules)


def _accepted(accepted: Sequence[Settled]) -> None:
    if not accepted:
        return
    execute(
        """UPDATE chips c SET msgs_enviadas_total = c.msgs_enviadas_total + e.n,
               msgs_enviadas_hoje = c.msgs_enviadas_hoje + e.n, ultimo_envio_em = agora()
           FROM (SELECT chip, count(*) AS n FROM unnest(%s::uuid[]) AS u(chip) GROUP BY chip) e WHERE c.id = e.chip""",
        [[one.attempt.chip_id for one in accepted]],
    )
    _interactions(accepted, sucesso=True)


def _failed(failed: Sequence[Settled], now: datetime) -> None:
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
               cooldown_motivo = CASE WHEN e.ate IS NOT NULL THEN e.motivo ELSE c.cooldown_motivo END,
               rampa_desde = CASE WHEN e.longo THEN greatest(c.cooldown_until, e.ate) ELSE c.rampa_desde END
           FROM (SELECT DISTINCT ON (chip) * FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::bool[],
                     %s::timestamptz[], %s::text[], %s::bool[]) AS u(chip, http, erro, do_chip, ate, motivo, longo)
                 ORDER BY chip, ate DESC NULLS LAST) e
           WHERE c.id = e.chip""",
        [
            [one.attempt.chip_id for one in ours],
            [one.result.http_status for one in ours],
            [one.result.reason_code[:300] for one in ours],
            [one.result.fault is Fault.CHIP for one in ours],
            [now + one.result.cooldown if one.result.cooldown else None for one in ours],
            [_cooldown_motivo(one.result) for one in ours],
            [(one.result.cooldown or timedelta()) >= RAMP_AFTER for one in ours],
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
