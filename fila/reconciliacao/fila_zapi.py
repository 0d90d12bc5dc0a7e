"""Z-API's own queue: what still waits there must not be fired at night, after an opt-out, or on a reconnection.

A 200 means queued by the vendor, and everything queued leaves when the phone comes back (contracts §2). What we take
out before it left was provably not sent, and its message may be tried again. That takes all of this:

- a list of that moment had it, and the vendor answered our removal of it with 2xx;
- a later list has it no more;
- the phone was disconnected before the first list and after the removal; or five minutes since the confirmation
  brought no word of it, and no callback of its chip waits in our inbox to be read.

A removal that was meant and not confirmed (no answer, an error, a process that died) proves nothing, however long ago:
found in the queue it is taken out again; not found, its attempt stays accepted or unknown, and that is told.

What remains: the vendor answers 2xx for an entry that left between the list and the removal, too. While the phone is
connected such an entry would be sent twice if it left within that one round trip *and* its callback is more than five
minutes late. A positive proof that comes later still wins (`evidencia.revive`), and somebody is told. The other way
round, a process that dies between the vendor's answer and our note of it leaves a message as accepted that never left.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from chips import addresses
from chips.choices import DeliveryStatus, Evidencia
from chips.providers.evidence import Queued
from chips.webhooks import connection
from core.circuits.services import snapshot
from core.clock import database_now
from core.database import execute, rows
from fila import policy
from fila.choices import Evento
from fila.policy import Rules
from fila.reconciliacao import acesso, retorno, schedule
from fila.reconciliacao import fila_zapi_chamadas as chamadas
from fila.reconciliacao import fila_zapi_marcas as marcas
from fila.reconciliacao.fila_zapi_chamadas import Listed, Removal
from fila.reconciliacao.fila_zapi_marcas import Heard
from fila.reconciliacao.fila_zapi_regras import Entry, InQueue, Why, assign, return_of, why_remove
from fila.reconciliacao.holding import Busy, Standing, held
from fila.returns import Event, record_events
from guardrails.choices import SwitchState

CHIPS_AT_ONCE = 50
NOTHING = {"filas_zapi": 0, "apagadas": 0, "nao_enviadas": 0}
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
    """What a look found, and what came of it. `going` must not wait; `kept` may, or its own call is still open."""

    look: Look
    listed: Listed
    going: list[InQueue] = field(default_factory=list)
    kept: list[InQueue] = field(default_factory=list)
    removal: Removal | None = None

    @property
    def dropped(self) -> bool:
        """Disconnected now, or since then and not purged yet. Without an answer what we knew counts."""
        connected = self.listed.connected if self.listed.connected is not None else self.look.conectado
        return self.look.hold is not None or not connected

    @property
    def removed(self) -> list[InQueue]:
        """Confirmed, and not listed all the same where it was listed again."""
        gone = self.removal.taken - (self.removal.still or frozenset()) if self.removal else frozenset()
        return [each for each in self.going if each.queued.zaap_id in gone]

    @property
    def left(self) -> list[InQueue]:
        """Those that had to go and may be there all the same, or may have left: nobody confirmed their removal."""
        removed = {each.queued.zaap_id for each in self.removed}
        return [each for each in self.going if each.queued.zaap_id not in removed]

    @property
    def free(self) -> bool:
        """A list after the removal has nothing of ours."""
        listed_again = not self.going or (self.removal is not None and self.removal.still is not None)
        return listed_again and not self.left and not self.kept

    @property
    def proves(self) -> bool:
        """Disconnected before the listing and after the removal: nothing can have left in between."""
        return self.listed.connected is False and self.removal is not None and self.removal.connected is False


def run(*, now: datetime, deadline_s: float, again_after: timedelta = timedelta()) -> dict[str, int]:
    """Look at the queues that may hold something that must not leave, and take it out. `now` is the database's.

    What is to be taken out is due until it is settled, and counts as taken out only once the vendor confirmed it. A
    chip that was disconnected stays ineligible (`connection_cooldown_until`) until its queue is free of ours. Nothing
    is asked while the database belongs to another environment: the queues of a copy are the original's. A chip that
    somebody looked at less than `again_after` ago is left alone.
    """
    rules = policy.read()
    if rules.policy.switches.ambiente_travado is not SwitchState.OFF or not acesso.may_call(snapshot(), "z-api"):
        return dict(NOTHING)
    looks = _due(now, rules, again_after)
    known = addresses.load({look.chip_id for look in looks}) if looks else {}
    listed = chamadas.list_queues(known, deadline_s=deadline_s / 2) if known else {}
    seen = [_sort(look, listed[look.chip_id], rules, now) for look in looks if look.chip_id in listed]
    for each in seen:
        marcas.disproved([entry for one in (*each.kept, *each.going) for entry in one.entries])
        marcas.meant(each.going)
    ids = {each.look.chip_id: [one.queued.zaap_id for one in each.going] for each in seen}
    removals = chamadas.remove(known, ids, deadline_s=deadline_s / 2)
    for each in seen:
        each.removal = removals.get(each.look.chip_id)
    marcas.confirmed([one for each in seen for one in each.removed])
    not_sent = sum([_write(each, rules, now) for each in seen])
    return {
        "filas_zapi": len(seen),
        "apagadas": sum(len(each.removed) for each in seen),
        "nao_enviadas": not_sent,
    }


# Chips: few; those on hold first, then whoever was not looked at for the longest time. The stamp is the lease: of many
# consumers one takes each chip. Attempts: tentativas_newest_of_provider, two days of one provider.
_TAKE_CHIPS = """
UPDATE chips c SET fila_vista_em = agora() FROM (
    SELECT id FROM chips
    WHERE provider = 'z-api' AND status NOT IN ('cancelled', 'banned', 'provisioned', 'pending')
        AND (fila_vista_em IS NULL OR fila_vista_em <= agora() - %s)
    ORDER BY coalesce(connection_cooldown_until > agora() AND evolution_connected, false) DESC,
        fila_vista_em NULLS FIRST, id
    LIMIT %s FOR UPDATE SKIP LOCKED) t
WHERE c.id = t.id
RETURNING c.id AS chip_id, c.instance_name AS instance, c.evolution_connected AS conectado,
    CASE WHEN c.connection_cooldown_until > agora() THEN c.connection_cooldown_until END AS hold
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


def _due(now: datetime, rules: Rules, again_after: timedelta) -> list[Look]:
    """Chips that are held or disconnected, and those with a message that waits too long or must not leave now."""
    chips = {row["chip_id"]: row for row in rows(_TAKE_CHIPS, [again_after, CHIPS_AT_ONCE])}
    waiting = _entries_of(list(chips), whole=False) if chips else {}
    due = [
        chip_id
        for chip_id, row in chips.items()
        if row["hold"] is not None
        or not row["conectado"]
        or any(_asks_for_a_look(entry, rules, now) for entry in waiting.get(chip_id, ()))
    ]
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


def _sort(look: Look, listed: Listed, rules: Rules, now: datetime) -> Seen:
    found = Seen(look, listed)
    for each in assign(listed.queued, look.entries):
        why = [why_remove(entry, rules.policy, now=now, disconnected=found.dropped) for entry in each.entries]
        (found.going if any(why) and not each.in_flight else found.kept).append(each)
    return found


def _write(found: Seen, rules: Rules, now: datetime) -> int:
    """What the look proved, in transactions of their own; how many messages were provably not sent."""
    _connection(found)
    not_sent = 0
    looked_for: list[Entry] = []
    waiting = {entry.id for each in (*found.kept, *found.left) for entry in each.entries}
    listed = waiting | {entry.id for each in found.going for entry in each.entries}
    removed = {entry.id: each for each in found.removed for entry in each.entries if each.sure}
    for entry in found.look.entries:
        if not entry.may_wait or entry.id in waiting:
            continue
        why = why_remove(entry, rules.policy, now=now, disconnected=found.dropped) or Why.SEM_RETORNO
        if entry.id in removed and found.proves:
            not_sent += _give_back(entry, why, removed[entry.id].queued, rules, now)
        elif entry.id in removed:
            _tell(entry, "fila_zapi_retirada")
        elif entry.taken_out and entry.id not in listed:
            heard = marcas.heard(found.look.instance, entry) if entry.is_due(now) else Heard.UNREAD
            if heard is Heard.IT_LEFT:
                marcas.disproved([entry])
                looked_for.append(entry)
            elif heard is Heard.NOTHING:
                not_sent += _give_back(entry, why, None, rules, now)
        elif now - entry.iniciado_em >= schedule.LONGEST_CALL:
            looked_for.append(entry)
    _looked_for(looked_for, now)
    _lift_hold(found)
    return not_sent


def _connection(found: Seen) -> None:
    """A definite answer is news when it differs from what we believe: a webhook was lost."""
    after = found.removal.connected if found.removal else None
    connected = after if after is not None else found.listed.connected
    if connected is not None and connected is not found.look.conectado:
        state = "open" if connected else "close"
        connection.apply(found.look.chip_id, state, status_reason=None, at=database_now())


def _give_back(entry: Entry, why: Why, queued: Queued | None, rules: Rules, now: datetime) -> int:
    """Unless it was proved otherwise while we looked: what is read under the locks decides."""
    try:
        with held([entry.id]) as standing:
            if not _still_taken_out(standing[entry.id]):
                return 0
            back = return_of(entry, why, rules.policy, now=now, queued=queued)
            return len(retorno.write([back], standing))
    except Busy:
        return 0


def _still_taken_out(one: Standing) -> bool:
    silent = one.delivery_status in (None, DeliveryStatus.PENDING)
    return one.evidencia == Evidencia.FILA_ZAPI and not one.given_up and silent


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
        _tell(entry, "fila_zapi_consultada")


def _lift_hold(found: Seen) -> None:
    """The queue is free of ours: the chip may send again once it is connected, unless it dropped again meanwhile."""
    if found.look.hold is None or not found.free:
        return
    execute(
        "UPDATE chips SET connection_cooldown_until = NULL WHERE id = %s AND connection_cooldown_until = %s",
        [found.look.chip_id, found.look.hold],
    )


def _tell(entry: Entry, motivo: str) -> None:
    if entry.origem == "fila":
        record_events([Event(entry.mensagem_id, Evento.DECISAO, None, motivo, detalhes={"tentativa": entry.id})])
