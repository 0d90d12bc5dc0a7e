"""Asking the provider's message search about unknown attempts. Found once is proof; not found proves nothing."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from chips import addresses
from chips.choices import DeliveryStatus, Evidencia
from chips.providers.base import ChipAddress, Code, ErrorKind, ProviderError
from chips.providers.evidence import Ack, FoundMessage, SearchesMessages, SearchResult
from chips.providers.evolution_search import search_jids
from chips.providers.registry import search_of
from core.circuits.services import snapshot
from core.database import execute, rows
from core.integrations.http import new_client
from core.logging import get_logger
from fila import delivery
from fila.choices import Evento
from fila.facts import text_hash
from fila.reconciliacao import acesso, evidencia, schedule
from fila.reconciliacao.holding import Busy
from fila.returns import Event, record_events

log = get_logger("fila.reconciliacao")

AT_ONCE = 200
IN_FLIGHT = 8
IN_FLIGHT_PER_CHIP = 2
LEASE = timedelta(minutes=2)
POSTPONED = timedelta(seconds=60)
AFTER_FAILURE = timedelta(minutes=5)

STATUS_OF = {
    Ack.ERROR: DeliveryStatus.FAILED,
    Ack.SERVER_ACK: DeliveryStatus.SENT,
    Ack.DELIVERY_ACK: DeliveryStatus.DELIVERED,
    Ack.READ: DeliveryStatus.READ,
    Ack.PLAYED: DeliveryStatus.READ,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One attempt to look for. `chave`: an id that we chose ourselves, where a provider lets us."""

    id: int
    origem: str
    mensagem_id: UUID
    chip_id: UUID
    provider: str
    destino: str
    texto_hash: str
    chave: str
    jids: tuple[str, ...]
    correlation_id: str
    iniciado_em: datetime
    buscas: int


Answer = SearchResult | Ack | None
"""What the provider said; an Ack, or its absence, where it was asked for an id of ours."""


def plan_unknown() -> int:
    """Give every fresh unknown attempt its first date, and look again at the echoes that came before it was unknown.

    Once per attempt. Events that another consumer is handling come back by themselves.
    """
    planned = rows(_PLAN, {"evolution": schedule.steps("evolution")[0], "zapi": schedule.steps("z-api")[0]})
    if planned:
        execute(_WAKE, [[row["chip_id"] for row in planned]])
    return len(planned)


# tentativas_searches_due
_PLAN = """
UPDATE envios_tentativas t SET proxima_busca_em = t.iniciado_em
    + CASE WHEN t.provider = 'z-api' THEN %(zapi)s ELSE %(evolution)s END
WHERE t.id IN (SELECT id FROM envios_tentativas WHERE resultado = 'desconhecido' AND proxima_busca_em IS NULL
                   AND evidencia = '' ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED)
    AND t.resultado = 'desconhecido'
RETURNING t.chip_id
"""
# webhook_eventos_due
_WAKE = """
UPDATE webhook_eventos SET proxima_em = agora() WHERE id IN (
    SELECT e.id FROM webhook_eventos e JOIN chips c ON c.instance_name = e.instance
    WHERE c.id = ANY(%s) AND e.status = 'aguardando' AND (e.kind = 'eco' OR e.evento = 'DeliveryCallback')
    ORDER BY e.id FOR UPDATE OF e SKIP LOCKED)
"""


def run(*, now: datetime, deadline_s: float, limit: int = AT_ONCE) -> dict[str, int]:
    """Ask about what is due and settle what the answers prove. `now` is the database's.

    Each attempt asked about is leased for two minutes, so that two runs do not ask twice; a provider whose circuit is
    not closed is left alone and its attempts wait a minute. Every answer leaves a line in the message's story.
    """
    counts = {"buscas": 0, "confirmadas": 0, "adiadas": 0}
    gates = snapshot()
    asked = _take(limit)
    open_to_us = [each for each in asked if acesso.may_call(gates, each.provider)]
    counts["adiadas"] += _postpone([each for each in asked if each not in open_to_us], POSTPONED)
    answers = asyncio.run(_ask_all(open_to_us, addresses.load({each.chip_id for each in open_to_us}), deadline_s))
    for each in open_to_us:
        if each.id not in answers:
            counts["adiadas"] += _postpone([each], POSTPONED)
        elif isinstance(failure := answers[each.id], ProviderError):
            _failed(each, failure, now)
            counts["adiadas"] += 1
        else:
            counts["buscas"] += 1
            counts["confirmadas"] += _resolve(each, failure, now)
    return counts


_TAKE = """
WITH devidas AS (
    SELECT id FROM envios_tentativas
    WHERE resultado = 'desconhecido' AND proxima_busca_em <= agora() AND provider <> 'z-api'
        AND iniciado_em > agora() - %(desistir)s
    ORDER BY proxima_busca_em LIMIT %(limite)s FOR UPDATE SKIP LOCKED)
UPDATE envios_tentativas t SET proxima_busca_em = agora() + %(lease)s FROM devidas d WHERE t.id = d.id
RETURNING t.id, t.origem, t.origem_id AS mensagem_id, t.chip_id, t.provider, t.destino, t.texto_hash,
    t.provider_message_id AS chave, t.correlation_id, t.iniciado_em, t.buscas,
    ARRAY(SELECT j.jid FROM clientes_jids j WHERE j.cliente_id = t.cliente_id) AS jids
"""


def _take(limit: int) -> list[Asked]:
    params = {"desistir": schedule.GIVE_UP_AFTER, "limite": limit, "lease": LEASE}
    return [Asked(**(row | {"jids": tuple(row["jids"])})) for row in rows(_TAKE, params)]


async def _ask_all(
    asked: Sequence[Asked], known: Mapping[UUID, ChipAddress], deadline_s: float
) -> dict[int, Answer | ProviderError]:
    """Answers by attempt id. Absent: there was no time, no address, or nobody to ask."""
    if not asked:
        return {}
    answers: dict[int, Answer | ProviderError] = {}
    flights = asyncio.Semaphore(IN_FLIGHT)
    per_chip: defaultdict[UUID, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(IN_FLIGHT_PER_CHIP))
    async with new_client() as client:
        allowed = await acesso.may_ask(client, known.values())

        async def ask(each: Asked) -> None:
            address, search = known.get(each.chip_id), search_of(each.provider, client)
            if address is None or search is None or address.base_url not in allowed:
                return
            async with per_chip[each.chip_id], flights:
                answers[each.id] = await _ask(search, address, each)

        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.gather(*(ask(each) for each in asked))
        except TimeoutError:
            log.warning("buscas sem tempo", pedidas=len(asked), respondidas=len(answers))
    return answers


async def _ask(search: SearchesMessages, address: ChipAddress, each: Asked) -> Answer | ProviderError:
    """The window is the provider's clock, which may be wrong by a quarter of an hour."""
    jids = search_jids(each.destino, each.jids)
    try:
        if each.chave:
            return await search.find_status(address, key_id=each.chave, jid=jids[0], correlation_id=each.correlation_id)
        return await search.find_messages(
            address,
            jids=jids,
            since=each.iniciado_em - schedule.WINDOW,
            until=each.iniciado_em + schedule.LONGEST_CALL + schedule.WINDOW,
            correlation_id=each.correlation_id,
        )
    except ProviderError as error:
        return error
    except ValueError as error:  # a recipient that no jid can be made of: the query would silently match nothing
        return ProviderError(ErrorKind.INTERNO, Code.REQUEST_INVALID, str(error))


def _resolve(each: Asked, answer: Answer, now: datetime) -> bool:
    """Settle what the answer proves, and write down that it was asked. True when it proved something."""
    if isinstance(answer, SearchResult):
        motivo, found = _verdict(each, answer)
    elif answer is None:
        motivo, found = "busca_sem_resultado", None
    else:
        motivo, found = "busca_achou", FoundMessage(each.chave, "", "", each.iniciado_em, answer)
    try:
        settled = found is not None and evidencia.settle_by_evidence(
            each.id,
            evidencia=Evidencia.BUSCA,
            accepted=True,
            provider_message_id=found.key_id,
            remote_jid=found.jid,
        )
    except Busy:
        _postpone([each], POSTPONED)
        return False
    if settled and found is not None:
        if found.status in STATUS_OF:
            delivery.apply_receipt(chip_id=each.chip_id, key_id=found.key_id, status=STATUS_OF[found.status].value)
        return True
    asked_again = execute(
        """UPDATE envios_tentativas SET buscas = buscas + %s, proxima_busca_em = %s
           WHERE id = %s AND resultado = 'desconhecido'""",
        [int(motivo != "busca_incompleta"), schedule.next_search(each.provider, each.iniciado_em, now), each.id],
    )
    if asked_again:  # else something settled it meanwhile, and has told so
        _tell(each, "busca_varias" if found is not None else motivo)
    return False


def _verdict(each: Asked, answer: SearchResult) -> tuple[str, FoundMessage | None]:
    """One message with this text that no attempt carries, and one attempt that it can belong to; else it is unclear."""
    same = [message for message in answer.found if text_hash(message.text) == each.texto_hash]
    taken = {row["key"] for row in rows(_CARRIED, [[message.key_id for message in same], each.chip_id])}
    free = [message for message in same if message.key_id not in taken]
    if not answer.complete:
        return "busca_incompleta", None
    if not free:
        return "busca_sem_resultado", None
    if len(free) > 1 or rows(_RIVALS, _rivals_of(each)):
        return "busca_varias", None
    return "busca_achou", free[0]


_CARRIED = """
SELECT provider_message_id AS key FROM envios_tentativas
WHERE provider_message_id = ANY(%s) AND provider_message_id <> '' AND chip_id = %s
"""
# tentativas_not_settled
_RIVALS = """
SELECT 1 FROM envios_tentativas t
WHERE t.resultado IN ('iniciado', 'desconhecido') AND t.chip_id = %(chip)s AND t.texto_hash = %(hash)s
    AND t.destino = %(destino)s AND t.id <> %(id)s AND t.provider_message_id = ''
    AND t.iniciado_em BETWEEN %(em)s - %(janela)s AND %(em)s + %(janela)s LIMIT 1
"""


def _rivals_of(each: Asked) -> dict[str, Any]:
    """Attempts whose windows overlap this one's: the message found may be theirs."""
    return {
        "chip": each.chip_id,
        "hash": each.texto_hash,
        "destino": each.destino,
        "id": each.id,
        "em": each.iniciado_em,
        "janela": 2 * schedule.WINDOW,
    }


def _failed(each: Asked, failure: ProviderError, now: datetime) -> None:
    """No answer is no search: it does not count, and it is tried again in minutes, later and later."""
    _postpone([each], max(AFTER_FAILURE, (now - each.iniciado_em) / 4))
    log.warning("busca sem resposta", tentativa=each.id, codigo=failure.code.value, http=failure.http_status)
    _tell(each, f"busca_falhou:{failure.code}")


def _postpone(asked: Sequence[Asked], pause: timedelta) -> int:
    if not asked:
        return 0
    return execute(
        """UPDATE envios_tentativas SET proxima_busca_em = agora() + %s
           WHERE id = ANY(%s) AND resultado = 'desconhecido'""",
        [pause, [each.id for each in asked]],
    )


def _tell(each: Asked, motivo: str) -> None:
    if each.origem == "fila":
        detalhes = {"tentativa": each.id, "busca": each.buscas + 1}
        record_events([Event(each.mensagem_id, Evento.DECISAO, None, motivo, detalhes=detalhes)])
