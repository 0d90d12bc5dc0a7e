"""Echoes as evidence: the provider tells, unasked, of every message that it sent for us."""

from chips.choices import DeliveryStatus, Evidencia, Resultado
from chips.webhooks.outcomes import Done, Outcome, Received, Wait
from fila.facts import text_hash
from fila.reconciliacao import evidencia
from fila.reconciliacao.evidencia import Revival
from fila.reconciliacao.holding import Busy, brief_locks
from fila.reconciliacao.matching import Keyed, Match, by_key, candidates, choose, person
from fila.reconciliacao.recibos import IN_USE, NO_ATTEMPT_YET, STILL_OPEN

ECHO = "eco de envio"
CONFIRMED = "eco confirmou um envio desconhecido"
TWO_POSSIBLE = "mais de um envio igual a esta pessoa está desconhecido: o eco não diz qual, e nenhum foi confirmado"
ONLY_LID = "destinatário só conhecido por LID"
SENT_AGAIN = "saiu afinal, depois de a mensagem ser enviada de novo"


def handle(received: Received) -> Outcome:
    """By instance and key, ids that we chose included; else by chip, recipient, text and our receipt time.

    One echo settles at most one attempt. What matches nothing yet waits: the worker may still be writing its result.
    """
    try:
        with brief_locks():
            found = by_key(received.chip.pk, {received.event.key_id})
            return _known(received, found) if found else _unknown(received)
    except Busy:
        return Wait(IN_USE)


def _known(received: Received, found: Keyed) -> Outcome:
    key_id, jid = received.event.key_id, received.parsed.remote_jid
    if found.unknown:
        evidencia.settle_by_evidence(
            found.id, evidencia=Evidencia.ECO, accepted=True, provider_message_id=key_id, remote_jid=jid
        )
        return Done(CONFIRMED)
    if found.resultado == Resultado.INICIADO:
        return Wait(STILL_OPEN)
    if found.given_up and found.evidencia == Evidencia.FILA_ZAPI:
        revived = evidencia.revive(
            found.id, evidencia=Evidencia.ECO, status=DeliveryStatus.SENT.value, provider_message_id=key_id
        )
        return Done(SENT_AGAIN if revived is Revival.SENT_AGAIN else CONFIRMED)
    return Done(ECHO)


def _unknown(received: Received) -> Outcome:
    parsed, event = received.parsed, received.event
    whom = person(parsed.pessoa or event.pessoa, parsed.lid)
    if not whom.known:
        return Wait(ONLY_LID)
    if not parsed.text.strip():
        return Wait(NO_ATTEMPT_YET)
    possible = candidates(received.chip.pk, whom, text_hash(parsed.text), at=event.recebido_em)
    match choose(possible):
        case Match.ONE:
            settled = evidencia.settle_by_evidence(
                possible[0].id,
                evidencia=Evidencia.ECO,
                accepted=True,
                provider_message_id=event.key_id,
                remote_jid=parsed.remote_jid,
            )
            return Done(CONFIRMED) if settled else Wait(NO_ATTEMPT_YET)
        case Match.CONFIRMED:
            return Done(ECHO) if evidencia.learn_key(possible[0].id, event.key_id) else Wait(NO_ATTEMPT_YET)
        case Match.SEVERAL:
            return Wait(TWO_POSSIBLE)
        case Match.OPEN:
            return Wait(STILL_OPEN)
    return Wait(NO_ATTEMPT_YET)
