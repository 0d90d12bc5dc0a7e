"""Receipts as evidence: one step of delivery of a message we know, or the proof that an unknown one left."""

from chips import ejection
from chips.choices import DeliveryStatus, Evidencia, Resultado
from chips.providers.base import SendResult, Verdict
from chips.providers.zapi_contract import delivery_failed
from chips.selection import RAMP_AFTER
from chips.vocabulario import services as vocabulario
from chips.webhooks.outcomes import Done, Ignore, Outcome, Received, Wait
from core.circuits import services as circuits
from core.circuits.names import of_chip
from core.clock import database_now
from core.database import execute, rows
from fila import aftermath, delivery
from fila.choices import Evento
from fila.reconciliacao import evidencia, retorno
from fila.reconciliacao.evidencia import Revival
from fila.reconciliacao.holding import Busy, brief_locks, held
from fila.reconciliacao.matching import Keyed, Match, by_key, candidates, choose, person
from fila.reconciliacao.retorno import Return
from fila.returns import Event, record_events
from fila.settle import outcome_of

NO_ATTEMPT_YET = "ainda não há tentativa com este código de mensagem"
STILL_OPEN = "a chamada desta mensagem ainda está aberta"
IN_USE = "a mensagem está em uso neste instante"
PROVES_NOTHING = "recibo que não prova nada"
TWO_POSSIBLE = "mais de um envio desconhecido combina: nenhum foi confirmado"
DELIVERY_CALLBACK = "DeliveryCallback"
UNKNOWN_DELIVERY = "entrega_desconhecida"


def handle(received: Received) -> Outcome:
    """Matched by instance and key (the number in it may be a LID), or by Z-API's own queue id."""
    try:
        with brief_locks():
            return _handle(received)
    except Busy:
        return Wait(IN_USE)


def _handle(received: Received) -> Outcome:
    parsed, chip = received.parsed, received.chip
    found = by_key(chip.pk, {received.event.key_id}, queue_id=parsed.queue_id)
    if parsed.event == DELIVERY_CALLBACK:
        if found is None:
            return _callback_without_key(received)
        if parsed.error:
            return _not_delivered(received, found)
    if parsed.status is None:
        return Ignore(PROVES_NOTHING)
    if found is None:
        return Wait(NO_ATTEMPT_YET)
    return _step(received, found, parsed.status)


def _step(received: Received, found: Keyed, status: DeliveryStatus) -> Outcome:
    """The status applies to the attempt that carries the key, which it settles first where that is still unknown."""
    key_id = received.event.key_id
    if found.unknown:
        evidencia.settle_by_evidence(found.id, evidencia=Evidencia.RECIBO, accepted=True, provider_message_id=key_id)
    elif found.resultado == Resultado.INICIADO:
        return Wait(STILL_OPEN)
    elif found.given_up and _is_positive(found, status):
        revived = evidencia.revive(
            found.id, evidencia=Evidencia.RECIBO, status=status.value, provider_message_id=key_id
        )
        if revived is Revival.SENT_AGAIN:
            return Done("chegou depois de a mensagem ser enviada de novo")
    applied = _apply(received, found, status)
    return Done(status.value) if applied else Wait(NO_ATTEMPT_YET)


def _apply(received: Received, found: Keyed, status: DeliveryStatus) -> bool:
    """Under the key that the attempt carries, which may be another than the event's (it was found by its queue id)."""
    carried = rows("SELECT provider_message_id AS key FROM envios_tentativas WHERE id = %s", [found.id])[0]["key"]
    if not carried:
        carried = received.event.key_id
        if not evidencia.learn_key(found.id, carried):
            return False
    return delivery.apply_receipt(chip_id=received.chip.pk, key_id=carried, status=status.value)


def _is_positive(found: Keyed, status: DeliveryStatus) -> bool:
    """Whether it overturns "not sent". `sent` does for what we deleted from a queue: it had left before."""
    if status.value in delivery.ARRIVED:
        return True
    return status is DeliveryStatus.SENT and found.evidencia == Evidencia.FILA_ZAPI


def _callback_without_key(received: Received) -> Outcome:
    """Z-API handed over something to this person and repeats no text: the one unknown attempt to them, if it is one."""
    parsed, event = received.parsed, received.event
    whom = person(parsed.pessoa or event.pessoa, parsed.lid)
    if not whom.known:
        return Wait(NO_ATTEMPT_YET)
    possible = candidates(received.chip.pk, whom, "", at=event.recebido_em)
    match = choose(possible)
    if match is Match.SEVERAL:
        return Wait(TWO_POSSIBLE)
    if match is not Match.ONE:
        return Wait(STILL_OPEN if match is Match.OPEN else NO_ATTEMPT_YET)
    if not parsed.error:
        evidencia.settle_by_evidence(
            possible[0].id,
            evidencia=Evidencia.RECIBO,
            accepted=True,
            provider_message_id=event.key_id,
            queue_id=parsed.queue_id,
        )
        delivery.apply_receipt(chip_id=received.chip.pk, key_id=event.key_id, status=DeliveryStatus.SENT.value)
        return Done(DeliveryStatus.SENT.value)
    execute(
        "UPDATE envios_tentativas SET provider_message_id = %s, queue_id = %s WHERE id = %s AND resultado <> 'enviado'",
        [event.key_id[:100], parsed.queue_id[:100], possible[0].id],
    )
    found = by_key(received.chip.pk, {event.key_id})
    return _not_delivered(received, found) if found else Wait(NO_ATTEMPT_YET)


def _not_delivered(received: Received, found: Keyed) -> Outcome:
    """The vendor's own word that the send failed. After a 200 it waits 60 s for a positive receipt, as any ERROR does.

    A restriction takes the chip out at once.
    """
    if found.resultado == Resultado.INICIADO:
        return Wait(STILL_OPEN)
    rules = vocabulario.current()
    result = vocabulario.apply(
        delivery_failed(received.parsed.error, str(received.event.payload.get("errorCode") or "")), rules
    )
    if result.verdict is Verdict.DESCONHECIDA:
        if found.origem == "fila":
            record_events([Event(found.mensagem_id, Evento.DECISAO, None, UNKNOWN_DELIVERY)])
        return Done(PROVES_NOTHING)
    with held([found.id]) as standing:
        if found.unknown:
            retorno.write([_not_sent(found, result)], standing)
        told = _chip_out(received, result)
        if not found.unknown:
            execute(_WHY, [result.rule, result.detail[:300], _kind(result), result.code.value, found.id])
            _apply(received, found, DeliveryStatus.FAILED)
        circuits.record(told)
    return Done(result.code.value)


_WHY = """UPDATE envios_tentativas SET regra = %s, erro = %s, error_kind = %s, codigo = %s
    WHERE id = %s AND resultado = 'enviado' AND nao_entregue_em IS NULL"""


def _kind(result: SendResult) -> str:
    return result.kind.value if result.kind else ""


def _not_sent(found: Keyed, result: SendResult) -> Return:
    return Return(
        found.id,
        evidencia=Evidencia.RECIBO,
        motivo=result.reason_code,
        outcome=outcome_of(result),
        permanent=not result.retryable,
        release=True,
        regra=result.rule,
        chip_fault=result.restriction,
    )


def _chip_out(received: Received, result: SendResult) -> list[circuits.Call]:
    """A restriction: the chip, which the caller holds, leaves production now; what its circuit is to be told last."""
    if not result.restriction:
        return []
    chip_id, now = received.chip.pk, database_now()
    rest = max(result.cooldown or ejection.REST, RAMP_AFTER)
    out = ejection.eject({chip_id: result.code.value}, now=now, rest=rest)
    aftermath.release_affinity(out)
    return [
        circuits.Call(
            of_chip(chip), circuits.CallResult.TRIP, scope=str(chip), kind="restricao", started_at=now, only_scope=True
        )
        for chip in out
    ]
