"""Z-API's own queue: what still waits there must not be fired at night, after an opt-out, or on a reconnection.

A 200 means queued by the vendor, and everything queued leaves when the phone comes back (contracts §2). What we take
out before it left was provably not sent, and its message may be tried again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import httpx

from chips import addresses
from chips.choices import Evidencia
from chips.providers.base import ChipAddress, ProviderError, State
from chips.providers.evidence import HoldsQueue, Queued
from chips.providers.registry import provider_for, queue_of
from chips.webhooks import connection
from core.circuits.services import snapshot
from core.clock import database_now
from core.database import execute, rows
from core.integrations.http import new_client
from core.logging import get_logger
from fila import policy
from fila.choices import Evento
from fila.policy import Rules
from fila.reconciliacao import acesso, retorno, schedule
from fila.reconciliacao.fila_zapi_regras import (
    Entry,
    InQueue,
    Why,
    assign,
    return_of,
    why_remove,
)
from fila.reconciliacao.holding import Busy, held
from fila.returns import Event, record_events

log = get_logger("fila.reconciliacao")

CHIPS_AT_ONCE = 50
CHIPS_IN_FLIGHT = 8
SEEN_FOR = timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class Look:
    """One chip whose queue is to be looked at. `hold` is the mark that a purge lifts; None: nothing holds the chip."""

    chip_id: UUID
    instance: str
    conectado: bool
    hold: datetime | None
    entries: tuple[Entry, ...]


@dataclass(slots=True)
class Seen:
    """What the vendor said. `before` and `after`: connected, not, or None where it did not say.

    `removed`: entries that we took out and that were gone afterwards; `left`: those that stayed all the same; `kept`:
    those that may wait, or whose own call is still open.
    """

    before: bool | None = None
    after: bool | None = None
    queued: list[Queued] = field(default_factory=list)
    removed: list[InQueue] = field(default_factory=list)
    left: list[InQueue] = field(default_factory=list)
    kept: list[InQueue] = field(default_factory=list)
    failure: ProviderError | None = None

    @property
    def proves(self) -> bool:
        """Disconnected before the listing and after the removal: nothing can have left in between."""
        return self.before is False and self.after is False


def run(*, now: datetime, deadline_s: float) -> dict[str, int]:
    """Look at the queues that may hold something that must not leave, and take it out. `now` is the database's.

    A chip that was disconnected stays ineligible (`connection_cooldown_until`) until its queue is free of ours.
    """
    counts = {"filas_zapi": 0, "apagadas": 0, "nao_enviadas": 0}
    rules = policy.read()
    looks = _due(now, rules)
    if not looks or not acesso.is_closed(snapshot(), "z-api"):
        return counts
    seen = asyncio.run(_look_at_all(looks, addresses.load({look.chip_id for look in looks}), rules, now, deadline_s))
    for look in looks:
        if (found := seen.get(look.chip_id)) is None:
            continue
        counts["filas_zapi"] += found.failure is None
        counts["apagadas"] += len(found.removed)
        counts["nao_enviadas"] += _write(look, found, rules, now)
    return counts


# Chips: few. Attempts: tentativas_newest_of_provider, two days of one provider.
_CHIPS = """
SELECT c.id AS chip_id, c.instance_name AS instance, c.evolution_connected AS conectado,
       CASE WHEN c.connection_cooldown_until > agora() THEN c.connection_cooldown_until END AS hold
FROM chips c WHERE c.provider = 'z-api' AND c.status NOT IN ('cancelled', 'banned', 'provisioned', 'pending')
ORDER BY c.connection_checked_at NULLS FIRST, c.id
"""
_ENTRIES = """
SELECT t.id, t.chip_id, t.origem, t.origem_id AS mensagem_id, t.resultado, t.evidencia,
       t.nao_entregue_em IS NOT NULL AS nao_entregue, coalesce(t.delivery_status, 'pending') AS entrega,
       t.iniciado_em, t.proxima_busca_em, t.buscas, t.destino, t.texto_hash,
       t.provider_message_id AS chave, t.queue_id AS fila_id, t.proativa, coalesce(m.tipo, '') AS tipo,
       coalesce(d.permission_state = 'opted_out', false) AS saiu, coalesce(c.fuso, 'America/Sao_Paulo') AS fuso
FROM envios_tentativas t
LEFT JOIN fila_mensagens m ON t.origem = 'fila' AND m.id = t.origem_id
LEFT JOIN clientes c ON c.id = t.cliente_id
LEFT JOIN doctor_state d ON d.cliente_id = t.cliente_id
WHERE t.provider = 'z-api' AND t.iniciado_em > agora() - %(vistas)s AND t.chip_id = ANY(%(chips)s)
    AND (%(todas)s OR t.resultado = 'desconhecido' OR (t.resultado = 'enviado' AND t.nao_entregue_em IS NULL
         AND coalesce(t.delivery_status, 'pending') = 'pending'))
ORDER BY t.id
"""


def _due(now: datetime, rules: Rules) -> list[Look]:
    """Chips that are held or disconnected, and those with a message that waits too long or must not leave now."""
    chips = {row["chip_id"]: row for row in rows(_CHIPS)}
    waiting = _entries_of(list(chips), whole=False) if chips else {}
    due = [
        chip_id
        for chip_id, row in chips.items()
        if row["hold"] is not None
        or not row["conectado"]
        or any(_asks_for_a_look(entry, rules, now) for entry in waiting.get(chip_id, ()))
    ][:CHIPS_AT_ONCE]
    entries = _entries_of(due, whole=True) if due else {}
    return [Look(**chips[chip_id], entries=tuple(entries.get(chip_id, ()))) for chip_id in due]


def _entries_of(chip_ids: Sequence[UUID], *, whole: bool) -> dict[UUID, list[Entry]]:
    """The attempts that may still wait there; `whole`: all of two days, to recognise every entry of ours."""
    of_chip: dict[UUID, list[Entry]] = {}
    for row in rows(_ENTRIES, {"vistas": SEEN_FOR, "chips": list(chip_ids), "todas": whole}):
        chip_id = row.pop("chip_id")
        of_chip.setdefault(chip_id, []).append(Entry(**row))
    return of_chip


def _asks_for_a_look(entry: Entry, rules: Rules, now: datetime) -> bool:
    """What was not in the queue once is not there later: only its callback, or the next step, matters from then on."""
    if entry.buscas or entry.taken_out:
        return entry.is_due(now)
    return why_remove(entry, rules.policy, now=now, disconnected=False) is not None


async def _look_at_all(
    looks: Sequence[Look], known: Mapping[UUID, ChipAddress], rules: Rules, now: datetime, deadline_s: float
) -> dict[UUID, Seen]:
    seen: dict[UUID, Seen] = {}
    flights = asyncio.Semaphore(CHIPS_IN_FLIGHT)
    async with new_client() as client:
        allowed = await acesso.may_ask(client, known.values())

        async def look_at(look: Look) -> None:
            address = known.get(look.chip_id)
            if address is None or address.base_url not in allowed:
                return
            async with flights:
                seen[look.chip_id] = await _look_at(client, address, look, rules, now)

        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.gather(*(look_at(look) for look in looks))
        except TimeoutError:
            log.warning("filas da Z-API sem tempo", chips=len(looks), vistas=len(seen))
    return seen


async def _look_at(client: httpx.AsyncClient, address: ChipAddress, look: Look, rules: Rules, now: datetime) -> Seen:
    """State, list, remove what must go, list and state again: together they prove what a removal alone does not."""
    found = Seen()
    provider, queue = provider_for(address.provider, client), queue_of(address.provider, client)
    if queue is None:
        return found
    try:
        found.before = _connected((await provider.connection_state(address)).state)
        found.queued = await queue.list_queue(address)
        going: list[InQueue] = []
        for each in assign(found.queued, look.entries):
            gone = any(
                why_remove(entry, rules.policy, now=now, disconnected=_dropped(look, found)) for entry in each.entries
            )
            (going if gone and not each.in_flight else found.kept).append(each)
        await _remove(queue, address, going, found)
        found.after = _connected((await provider.connection_state(address)).state)
    except ProviderError as error:
        found.failure = error
    return found


def _dropped(look: Look, found: Seen) -> bool:
    """Disconnected now, or since then and not purged yet. Without an answer what we knew counts."""
    known = found.before if found.before is not None else look.conectado
    return look.hold is not None or not known


async def _remove(queue: HoldsQueue, address: ChipAddress, going: Sequence[InQueue], found: Seen) -> None:
    if not going:
        return
    for each in going:
        await queue.remove_queued(address, each.queued.zaap_id)
    still = {queued.zaap_id for queued in await queue.list_queue(address)}
    for each in going:
        (found.left if each.queued.zaap_id in still else found.removed).append(each)


def _connected(state: State) -> bool | None:
    return {State.OPEN: True, State.CLOSE: False}.get(state)


def _write(look: Look, found: Seen, rules: Rules, now: datetime) -> int:
    """What the look proved, in transactions of their own; how many messages were provably not sent."""
    if found.failure is not None:
        log.warning("fila da Z-API sem resposta", chip_id=str(look.chip_id), codigo=found.failure.code.value)
        return 0
    _connection(look, found)
    not_sent = 0
    looked_for: list[Entry] = []
    waiting = {entry.id for each in (*found.kept, *found.left) for entry in each.entries}
    removed = {entry.id: each for each in found.removed for entry in each.entries if each.sure}
    for entry in look.entries:
        if not entry.may_wait or entry.id in waiting:
            continue
        why = why_remove(entry, rules.policy, now=now, disconnected=_dropped(look, found)) or Why.SEM_RETORNO
        if entry.id in removed and found.proves:
            not_sent += _give_back(entry, why, removed[entry.id].queued, rules, now)
        elif entry.id in removed:
            _remember_removal(entry, removed[entry.id].queued)
        elif entry.taken_out:
            not_sent += _give_back(entry, why, None, rules, now) if entry.is_due(now) else 0
        elif now - entry.iniciado_em >= schedule.LONGEST_CALL:
            looked_for.append(entry)
    _looked_for(looked_for, now)
    _lift_hold(look, found)
    return not_sent


def _connection(look: Look, found: Seen) -> None:
    """A definite answer is news when it differs from what we believe: a webhook was lost."""
    if found.after is not None and found.after is not look.conectado:
        state = "open" if found.after else "close"
        connection.apply(look.chip_id, state, status_reason=None, at=database_now())


def _give_back(entry: Entry, why: Why, queued: Queued | None, rules: Rules, now: datetime) -> int:
    try:
        with held([entry.id]) as standing:
            back = return_of(entry, why, rules.policy, now=now, queued=queued)
            return len(retorno.write([back], standing))
    except Busy:
        return 0


def _remember_removal(entry: Entry, queued: Queued) -> None:
    """Taken out while connected: it may have left a moment before. Its callback has five minutes to say so."""
    execute(
        """UPDATE envios_tentativas SET evidencia = %s, proxima_busca_em = agora() + %s,
               provider_message_id = coalesce(nullif(provider_message_id, ''), %s),
               queue_id = coalesce(nullif(queue_id, ''), %s)
           WHERE id = %s AND (resultado = 'desconhecido' OR (resultado = 'enviado' AND nao_entregue_em IS NULL
               AND coalesce(delivery_status, 'pending') = 'pending'))""",
        [
            Evidencia.FILA_ZAPI.value,
            schedule.CALLBACK_PATIENCE,
            queued.message_id[:100],
            queued.zaap_id[:100],
            entry.id,
        ],
    )
    _tell(entry, "fila_zapi_retirada")


def _looked_for(entries: Sequence[Entry], now: datetime) -> None:
    """Not in the queue: it left, or it never came in. Neither is proved; the look counts as a search."""
    for entry in entries:
        end = entry.iniciado_em + schedule.GIVE_UP_AFTER
        upcoming = schedule.next_search("z-api", entry.iniciado_em, now) if entry.unknown else end
        if not entry.is_due(now) and entry.buscas:
            continue
        execute(
            """UPDATE envios_tentativas SET buscas = buscas + 1, proxima_busca_em = %s
               WHERE id = %s AND resultado = %s AND nao_entregue_em IS NULL""",
            [upcoming, entry.id, entry.resultado],
        )
        if entry.unknown:
            _tell(entry, "fila_zapi_consultada")


def _lift_hold(look: Look, found: Seen) -> None:
    """The queue is free of ours: the chip may send again once it is connected, unless it dropped again meanwhile."""
    if look.hold is None or found.left or found.kept:
        return
    execute(
        "UPDATE chips SET connection_cooldown_until = NULL WHERE id = %s AND connection_cooldown_until = %s",
        [look.chip_id, look.hold],
    )


def _tell(entry: Entry, motivo: str) -> None:
    if entry.origem == "fila":
        record_events([Event(entry.mensagem_id, Evento.DECISAO, None, motivo, detalhes={"tentativa": entry.id})])
