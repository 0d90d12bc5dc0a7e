"""Reserving capacity and opening attempts, set-based: chip counters, minute buckets, global budget, attempt rows."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from chips.choices import NULL_PROVIDER, PROACTIVE, TipoMensagem
from chips.selection import ChipFacts, Choice, Shortlist
from core.circuits.names import of_chip, of_provider
from core.database import execute, rows
from fila.claim import Claimed
from fila.facts import Known
from fila.kinds import kind_of
from fila.policy import Rules

MOST_NAMED = 50  # chips named one by one in a selection; beyond that the counts tell
REPLY_PAUSE_S = (2.0, 6.0)
_GLOBAL = "global"
_GLOBAL_LOCK = 7_406_001  # advisory lock of the global budget: its check and its consumption are one step


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt to be inserted. `pausa_s`: how long its chip rests after it (database clock).

    `circuitos`: those its call goes through; `sondas`: the half-open ones among them that it would probe.
    """

    mensagem_id: UUID
    token: int
    cliente_id: UUID
    chip_id: UUID
    provider: str
    destino: str
    tipo_mensagem: str
    proativa: bool
    peso: int
    dia_local: date
    texto_hash: str
    tentativa_no: int
    motivo: str
    correlation_id: str
    pausa_s: float
    sondas: tuple[str, ...] = ()
    circuitos: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        message: Claimed,
        choice: Choice,
        known: Known,
        tipo: TipoMensagem,
        chips: Sequence[ChipFacts],
        rules: Rules,
        rng: random.Random,
    ) -> "Entry":
        chip = next(each for each in chips if each.id == choice.chip)
        return cls(
            mensagem_id=message.id,
            token=message.token,
            cliente_id=message.cliente_id,
            chip_id=chip.id,
            provider=chip.provider,
            destino=message.telefone_destino,
            tipo_mensagem=tipo.value,
            proativa=tipo in PROACTIVE,
            peso=rules.policy.weight_of(kind_of(message.tipo)),
            dia_local=known.dia_local,
            texto_hash=known.texto_hash,
            tentativa_no=known.tentativa_no,
            motivo=choice.motivo,
            correlation_id=message.correlation_id,
            pausa_s=pause_after(tipo, chip, rules, rng),
            sondas=chip.sondas,
            circuitos=() if chip.provider == NULL_PROVIDER else (of_provider(chip.provider), of_chip(chip.id)),
        )


def pause_after(tipo: TipoMensagem, chip: ChipFacts, rules: Rules, rng: random.Random) -> float:
    """Seconds until the chip's next proactive send: jittered, and never below its own minimum (S-36 T04.3)."""
    if tipo == TipoMensagem.CANARIO:
        return 0.0
    if tipo == TipoMensagem.RESPOSTA:
        return rng.uniform(*REPLY_PAUSE_S)
    least = max(rules.pacing.min_s, float(chip.delay_minimo_segundos))
    return rng.uniform(least, max(least, rules.pacing.max_s))


def record_selection(lists: Mapping[str, Shortlist], tipos: Iterable[TipoMensagem]) -> int:
    """One row that says who was eligible and why the others were not, for the types that this batch asked for."""
    asked = sorted({tipo.value for tipo in tipos})
    candidates = [
        {
            "tipo": tipo,
            "emergencia": lists[tipo].emergency,
            "elegiveis": [chip.final for chip in lists[tipo].eligible][:MOST_NAMED],
            "recusados": {
                str(chip): [str(reason) for reason in reasons]
                for chip, reasons in list(lists[tipo].refused.items())[:MOST_NAMED]
            },
            "recusas": refusal_counts(lists[tipo]),
        }
        for tipo in asked
    ]
    found = rows(
        """INSERT INTO chip_selection_log (tipo_mensagem, chips_elegiveis_count, candidatos, motivo, fallback_mode)
           VALUES (%s, %s, %s, 'escolhido', %s) RETURNING id""",
        [
            asked[0],
            len(lists[asked[0]].eligible),
            json.dumps(candidates),
            any(lists[tipo].emergency for tipo in asked),
        ],
    )
    return int(found[0]["id"])


def refusal_counts(short: Shortlist) -> dict[str, int]:
    """How many chips each reason keeps from carrying this type."""
    return dict(Counter(str(reason) for reasons in short.refused.values() for reason in reasons))


def global_left(hour: int | None, day: int | None) -> int | None:
    """Weight left in the global budget at this instant, without a lock: enough to know how much to claim."""
    if hour is None and day is None:
        return None
    limits = zip((hour, day), global_used(), strict=True)
    return max(0, min(limit - used for limit, used in limits if limit is not None))


def global_used() -> tuple[int, int]:
    """Weight spent in the rolling hour and on Brasília's day."""
    used = rows(_GLOBAL_USED, [_GLOBAL])[0]
    return int(used["hora"]), int(used["dia"])


# Conservative: 61 minute buckets for a rolling hour; Brasília's day.
_GLOBAL_USED = """
SELECT coalesce(sum(peso) FILTER (WHERE minuto > date_trunc('minute', agora()) - interval '61 minutes'), 0) AS hora,
       coalesce(sum(peso) FILTER (WHERE minuto >= hoje.inicio), 0) AS dia
FROM limites_minutos,
     (SELECT date_trunc('day', agora() AT TIME ZONE 'America/Sao_Paulo')
          AT TIME ZONE 'America/Sao_Paulo' AS inicio) hoje
WHERE escopo = %s AND minuto >= least(hoje.inicio, date_trunc('minute', agora()) - interval '61 minutes')
"""


def lock_global_budget(hour: int | None, day: int | None) -> int | None:
    """Weight left in the global budget, held until the transaction ends; None when there is no limit."""
    if hour is None and day is None:
        return None
    execute("SELECT pg_advisory_xact_lock(%s)", [_GLOBAL_LOCK])
    return global_left(hour, day)


def reserve(entries: Sequence[Entry], *, now: datetime) -> None:
    """Take the weight of each from its chip and from the minute buckets. The chips are locked by the caller."""
    _reserve_chips(entries)
    _reserve_buckets(entries, _minute(now))


def give_back(entries: Sequence[Entry], *, now: datetime) -> None:
    """Undo `reserve` of the same transaction: weight and pace."""
    rest_no_longer([entry.chip_id for entry in entries])
    release(
        [
            {"chip_id": entry.chip_id, "peso": entry.peso, "balde_em": _minute(now), "proativa": entry.proativa}
            for entry in entries
        ]
    )


def rest_no_longer(chips: Sequence[UUID]) -> None:
    """Nothing was written through these chips: the pace that was reserved for it is theirs again."""
    if chips:
        execute(
            "UPDATE chips SET proximo_envio_em = least(proximo_envio_em, agora()) WHERE id = ANY(%s)", [list(chips)]
        )


def _minute(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0)


def insert(entries: Sequence[Entry], *, lote: UUID, owner: str, selecao: int | None, now: datetime) -> dict[UUID, int]:
    """Open what is reserved: attempts, then the messages' `tentativa_aberta_id`. Attempt ids by message.

    A second attempt in flight on one chip, or a second that may have left for one message, is refused by a unique
    index.
    """
    found = rows(
        """INSERT INTO envios_tentativas (origem, origem_id, tentativa_no, chip_id, provider, cliente_id, destino,
               tipo_mensagem, proativa, peso, balde_em, dia_local, texto_hash, lote, consumidor, selecao_id,
               motivo_escolha, correlation_id, sondas)
           SELECT 'fila', e.mensagem_id, e.no, e.chip_id, e.provider, e.cliente_id, e.destino, e.tipo, e.proativa,
               e.peso, %(minuto)s, e.dia, e.hash, %(lote)s, %(owner)s, %(selecao)s, e.motivo, e.corr,
               string_to_array(e.sondas, ',')
           FROM unnest(%(mensagens)s::uuid[], %(nos)s::int[], %(chips)s::uuid[], %(providers)s::text[],
               %(clientes)s::uuid[], %(destinos)s::text[], %(tipos)s::text[], %(proativas)s::bool[], %(pesos)s::int[],
               %(dias)s::date[], %(hashes)s::text[], %(motivos)s::text[], %(corrs)s::text[],
               %(sondas)s::text[])
               AS e(mensagem_id, no, chip_id, provider, cliente_id, destino, tipo, proativa, peso, dia, hash, motivo,
                    corr, sondas)
           RETURNING id, origem_id""",
        _columns(entries) | {"lote": lote, "owner": owner, "selecao": selecao, "minuto": _minute(now)},
    )
    ids = {row["origem_id"]: int(row["id"]) for row in found}
    execute(
        """UPDATE fila_mensagens m SET tentativa_aberta_id = e.attempt, chip_id = e.chip
           FROM unnest(%s::uuid[], %s::bigint[], %s::uuid[]) AS e(id, attempt, chip) WHERE m.id = e.id""",
        [
            [entry.mensagem_id for entry in entries],
            [ids[entry.mensagem_id] for entry in entries],
            [entry.chip_id for entry in entries],
        ],
    )
    return ids


def release(closed: Sequence[Mapping[str, Any]]) -> None:
    """Give weight back to the chips and to the buckets it came from: rows of (chip_id, peso, balde_em, proativa)."""
    if not closed:
        return
    params = {
        "chips": [row["chip_id"] for row in closed],
        "pesos": [row["peso"] for row in closed],
        "baldes": [row["balde_em"] for row in closed],
        "proativas": [row["proativa"] for row in closed],
    }
    execute(
        """UPDATE chips c SET peso_dia = greatest(c.peso_dia - e.peso, 0)
           FROM (SELECT chip, (balde AT TIME ZONE 'America/Sao_Paulo')::date AS dia, sum(peso) AS peso FROM
                 unnest(%(chips)s::uuid[], %(pesos)s::int[], %(baldes)s::timestamptz[]) AS u(chip, peso, balde)
                 GROUP BY chip, dia) e
           WHERE c.id = e.chip AND c.contadores_data = e.dia""",
        params,
    )
    rows(
        """SELECT id FROM limites_minutos WHERE (escopo, minuto) IN (
               SELECT 'chip:' || chip, balde FROM unnest(%(chips)s::uuid[], %(baldes)s::timestamptz[]) AS u(chip, balde)
               UNION ALL SELECT %(global)s, balde FROM unnest(%(baldes)s::timestamptz[]) AS u(balde))
           ORDER BY id FOR UPDATE""",
        params | {"global": _GLOBAL},
    )
    execute(
        """UPDATE limites_minutos l SET peso = greatest(l.peso - e.peso, 0)
           FROM (SELECT escopo, minuto, sum(peso) AS peso FROM (
                     SELECT 'chip:' || chip AS escopo, balde AS minuto, peso FROM
                         unnest(%(chips)s::uuid[], %(pesos)s::int[], %(baldes)s::timestamptz[]) AS u(chip, peso, balde)
                     UNION ALL
                     SELECT %(global)s, balde, peso FROM
                         unnest(%(baldes)s::timestamptz[], %(pesos)s::int[], %(proativas)s::bool[])
                         AS u(balde, peso, proativa) WHERE proativa) s
                 GROUP BY escopo, minuto) e
           WHERE l.escopo = e.escopo AND l.minuto = e.minuto""",
        params | {"global": _GLOBAL},
    )


def _reserve_chips(entries: Sequence[Entry]) -> None:
    execute(
        """UPDATE chips c SET
               peso_dia = CASE WHEN c.contadores_data = hoje.dia THEN c.peso_dia ELSE 0 END + e.peso,
               msgs_enviadas_hoje = CASE WHEN c.contadores_data = hoje.dia THEN c.msgs_enviadas_hoje ELSE 0 END,
               msgs_recebidas_hoje = CASE WHEN c.contadores_data = hoje.dia THEN c.msgs_recebidas_hoje ELSE 0 END,
               contadores_data = hoje.dia,
               proximo_envio_em = greatest(c.proximo_envio_em, agora() + e.pausa * interval '1 second')
           FROM unnest(%s::uuid[], %s::int[], %s::float[]) AS e(chip, peso, pausa),
                (SELECT (agora() AT TIME ZONE 'America/Sao_Paulo')::date AS dia) hoje
           WHERE c.id = e.chip""",
        [
            [entry.chip_id for entry in entries],
            [entry.peso for entry in entries],
            [entry.pausa_s for entry in entries],
        ],
    )


def _reserve_buckets(entries: Sequence[Entry], minute: datetime) -> None:
    """The global scope is counted always, so that a limit that is switched on knows the last hour."""
    weights: dict[str, int] = {}
    for entry in entries:
        scope = f"chip:{entry.chip_id}"
        weights[scope] = weights.get(scope, 0) + entry.peso
        if entry.proativa:
            weights[_GLOBAL] = weights.get(_GLOBAL, 0) + entry.peso
    scopes = sorted(weights)
    execute(
        """INSERT INTO limites_minutos (escopo, minuto, peso)
           SELECT escopo, %s, peso FROM unnest(%s::text[], %s::int[]) AS e(escopo, peso)
           ORDER BY escopo
           ON CONFLICT (escopo, minuto) DO UPDATE SET peso = limites_minutos.peso + excluded.peso""",
        [minute, scopes, [weights[scope] for scope in scopes]],
    )


def _columns(entries: Sequence[Entry]) -> dict[str, list[Any]]:
    return {
        "mensagens": [entry.mensagem_id for entry in entries],
        "nos": [entry.tentativa_no for entry in entries],
        "chips": [entry.chip_id for entry in entries],
        "providers": [entry.provider for entry in entries],
        "clientes": [entry.cliente_id for entry in entries],
        "destinos": [entry.destino for entry in entries],
        "tipos": [entry.tipo_mensagem for entry in entries],
        "proativas": [entry.proativa for entry in entries],
        "pesos": [entry.peso for entry in entries],
        "dias": [entry.dia_local for entry in entries],
        "hashes": [entry.texto_hash for entry in entries],
        "motivos": [entry.motivo for entry in entries],
        "corrs": [entry.correlation_id for entry in entries],
        "sondas": [",".join(entry.sondas) for entry in entries],
    }
