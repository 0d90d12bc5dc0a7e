"""Evidence settles an attempt that its own call did not, and the message follows. Each attempt once, forward only."""

from enum import Enum, auto
from uuid import UUID

from chips.choices import Evidencia
from core.alerts.models import Severidade
from core.alerts.services import raise_alert
from core.database import execute, rows
from core.outcomes import SendOutcome
from fila import delivery
from fila.choices import Evento
from fila.reconciliacao import retorno
from fila.reconciliacao.holding import Standing, held
from fila.returns import Event, record_events

CONFIRMED_BY_PERSON = "confirmada_por_operador"
NOT_SENT = "evidencia_nao_enviada"
BY = {
    Evidencia.ECO: "evidencia_eco",
    Evidencia.RECIBO: "evidencia_recibo",
    Evidencia.BUSCA: "evidencia_busca",
    Evidencia.FILA_ZAPI: "evidencia_fila_zapi",
    Evidencia.OPERADOR: CONFIRMED_BY_PERSON,
}
SENT_TWICE = "entregue_apos_reenvio"


def settle_by_evidence(
    attempt_id: int,
    *,
    evidencia: Evidencia,
    accepted: bool,
    provider_message_id: str = "",
    remote_jid: str = "",
    queue_id: str = "",
    by: str = "",
) -> bool:
    """The attempt was `accepted`, or was provably not sent. False when that is no news, or contradicts what is proved.

    Accepted: the message becomes `enviada` with all that follows a send. Not sent: it returns to `pendente`, or ends
    where campaign, opt-out or its last try say so. `by` names the person who decided. One transaction, everything
    locked in order; raises Busy when somebody holds a row of it.
    """
    with held([attempt_id]) as standing:
        one = standing.get(attempt_id)
        if one is None:
            return False
        if not one.undecided:
            return False
        if accepted:
            return _accept(one, evidencia, provider_message_id, remote_jid, queue_id, by)
        back = retorno.Return(
            attempt_id,
            evidencia=evidencia,
            motivo=NOT_SENT,
            release=True,
            provider_message_id=provider_message_id,
            queue_id=queue_id,
            by=by,
        )
        return bool(retorno.write([back], standing))


class Revival(Enum):
    REVIVED = auto()
    SENT_AGAIN = auto()
    """The message was sent again meanwhile: it may have arrived twice, and that is shown."""
    NO_NEWS = auto()


def revive(attempt_id: int, *, evidencia: Evidencia, status: str, provider_message_id: str = "") -> Revival:
    """A positive proof of an attempt that counted as not sent or not delivered: it wins. Raises Busy.

    The message becomes `enviada` again, unless it was sent again: then the proof is recorded as its delivery `status`,
    and somebody is told.
    """
    with held([attempt_id]) as standing:
        one = standing.get(attempt_id)
        if one is None or not one.given_up:
            return Revival.NO_NEWS
        if one.mensagem_id is not None and _sent_again(one):
            _tell_sent_twice(one, one.mensagem_id, status)
            return Revival.SENT_AGAIN
        return Revival.REVIVED if _accept(one, evidencia, provider_message_id, "", "", "") else Revival.NO_NEWS


def learn_key(attempt_id: int, key_id: str) -> bool:
    """The provider's key of an attempt that a person confirmed: from now on its receipts are understood."""
    with held([attempt_id]) as standing:
        one = standing.get(attempt_id)
        if one is None or one.provider_message_id or one.undecided or _carried_by_another(one, key_id):
            return False
        execute("UPDATE envios_tentativas SET provider_message_id = %s WHERE id = %s", [key_id, attempt_id])
        if one.mensagem_id is not None:
            params = [key_id, one.mensagem_id]
            execute(
                """UPDATE fila_mensagens SET provider_message_id = %s
                   WHERE id = %s AND status = 'enviada' AND provider_message_id IS NULL""",
                params,
            )
            execute(
                "UPDATE interacoes SET provider_message_id = %s WHERE mensagem_id = %s AND provider_message_id = ''",
                params,
            )
        delivery.wake_waiting([key_id])
    return True


def _sent_again(one: Standing) -> bool:
    return bool(
        rows(
            """SELECT 1 FROM envios_tentativas WHERE origem = %s AND origem_id = %s AND id <> %s
               AND resultado <> 'rejeitado' AND nao_entregue_em IS NULL LIMIT 1""",
            [one.origem, one.origem_id, one.id],
        )
    )


def _tell_sent_twice(one: Standing, mensagem_id: UUID, status: str) -> None:
    """Once per attempt, however many receipts follow."""
    first = rows(
        """UPDATE envios_tentativas SET delivery_status = %s, delivery_status_at = agora()
           WHERE id = %s AND coalesce(delivery_status, 'pending') IN ('pending', 'failed') RETURNING id""",
        [status, one.id],
    )
    if not first:
        return
    record_events([Event(mensagem_id, Evento.FALHA, None, SENT_TWICE, detalhes={"tentativa": one.id})])
    raise_alert(
        SENT_TWICE,
        str(mensagem_id),
        severidade=Severidade.ERROR,
        titulo="Uma mensagem pode ter chegado duas vezes",
        mensagem="O provedor confirmou uma tentativa que constava como não entregue, e a mensagem já tinha sido "
        "enviada de novo. Abra a mensagem na fila e, se for o caso, avise o médico.",
        contexto={"mensagem": str(mensagem_id), "tentativa": one.id},
    )


def _carried_by_another(one: Standing, key_id: str) -> bool:
    """The chip is locked: no other attempt of it can take the key at this moment."""
    found = rows(
        "SELECT 1 FROM envios_tentativas WHERE provider_message_id = %s AND chip_id = %s AND id <> %s LIMIT 1",
        [key_id, one.chip_id, one.id],
    )
    return bool(key_id and found)


def _accept(one: Standing, evidencia: Evidencia, key_id: str, remote_jid: str, queue_id: str, by: str) -> bool:
    if _carried_by_another(one, key_id):
        return False
    moved = rows(
        """UPDATE envios_tentativas SET resultado = 'enviado', encerrado_em = coalesce(encerrado_em, agora()),
               evidencia = %(evidencia)s, nao_entregue_em = NULL, proxima_busca_em = NULL,
               provider_message_id = coalesce(nullif(%(key)s, ''), provider_message_id),
               remote_jid = coalesce(nullif(%(jid)s, ''), remote_jid),
               queue_id = coalesce(nullif(%(fila)s, ''), queue_id),
               delivery_status = coalesce(delivery_status, 'pending')
           WHERE id = %(id)s RETURNING provider_message_id""",
        {"evidencia": evidencia.value, "key": key_id[:100], "jid": remote_jid[:80], "fila": queue_id[:100],
         "id": one.id},
    )  # fmt: skip
    known_key = moved[0]["provider_message_id"]
    _chip_sent(one, known_key)
    if one.mensagem_id is not None:
        _message_sent(one, one.mensagem_id, evidencia, known_key, by)
        _stop_replacement(one, one.mensagem_id)
    if known_key:
        delivery.wake_waiting([known_key])
    return True


def _stop_replacement(one: Standing, mensagem_id: UUID) -> None:
    """It left after all: what was to be sent instead is not needed; where that left too, somebody is told.

    A replacement that is claimed at this moment is stopped by its facts: they see the attempt that is `enviado` now.
    """
    stopped = rows(
        """UPDATE fila_mensagens SET status = 'cancelada', outcome_reason_code = 'original_entregue',
               outcome_at = agora()
           WHERE reprocessa_de_id = %s AND status = 'pendente' AND tentativa_aberta_id IS NULL RETURNING id""",
        [mensagem_id],
    )
    record_events([Event(row["id"], Evento.CANCELADA, None, "original_entregue") for row in stopped])
    left = rows(
        """SELECT 1 FROM fila_mensagens n JOIN envios_tentativas t ON t.origem = 'fila' AND t.origem_id = n.id
           WHERE n.reprocessa_de_id = %s AND t.resultado <> 'rejeitado' AND t.nao_entregue_em IS NULL LIMIT 1""",
        [mensagem_id],
    )
    if left:
        _tell_sent_twice(one, mensagem_id, "sent")


def _chip_sent(one: Standing, key_id: str) -> None:
    """Counted on the day it left; a revived attempt was counted when it was accepted the first time."""
    if one.nao_entregue_em is not None:
        return
    execute(
        """UPDATE chips SET msgs_enviadas_total = msgs_enviadas_total + 1,
               msgs_enviadas_hoje = msgs_enviadas_hoje + CASE
                   WHEN contadores_data = (%(em)s AT TIME ZONE 'America/Sao_Paulo')::date THEN 1 ELSE 0 END,
               ultimo_envio_em = greatest(ultimo_envio_em, %(em)s)
           WHERE id = %(chip)s""",
        {"em": one.iniciado_em, "chip": one.chip_id},
    )
    execute(
        """INSERT INTO chip_interactions (chip_id, tipo, destinatario, sucesso, provider_message_id)
           SELECT chip_id, 'msg_enviada', destino, true, %s FROM envios_tentativas WHERE id = %s""",
        [key_id, one.id],
    )


def _message_sent(one: Standing, mensagem_id: UUID, evidencia: Evidencia, key_id: str, by: str) -> None:
    """`enviada` from whatever somebody made of the row meanwhile: the attempt is true. Sent when its call began."""
    changed = rows(
        """UPDATE fila_mensagens m SET status = 'enviada', outcome = 'SENT', outcome_reason_code = %(motivo)s,
               outcome_at = agora(),
               enviada_em = coalesce(CASE WHEN m.status = 'enviada' THEN m.enviada_em END, %(em)s),
               provider_message_id = nullif(%(key)s, ''), tentativa_aberta_id = NULL, chip_id = %(chip)s,
               delivery_status = (SELECT delivery_status FROM envios_tentativas WHERE id = %(tentativa)s),
               tentativas = CASE WHEN %(renasce)s THEN greatest(m.tentativas - 1, 0) ELSE m.tentativas END,
               lease_ate = NULL, lease_owner = '', erro = NULL
           WHERE m.id = %(id)s AND (m.status <> 'enviada' OR m.tentativa_aberta_id = %(tentativa)s)
           RETURNING m.id""",
        {
            "motivo": CONFIRMED_BY_PERSON if evidencia is Evidencia.OPERADOR else "ok",
            "em": one.iniciado_em,
            "key": key_id,
            "chip": one.chip_id,
            "tentativa": one.id,
            "renasce": one.given_up,
            "id": mensagem_id,
        },
    )
    if not changed:
        return
    retorno.leave_dlq([mensagem_id])
    delivery.record_sent_ids([mensagem_id])
    if one.given_up:
        delivery.touch([mensagem_id])
        execute(
            "UPDATE interacoes SET delivery_status = %s WHERE mensagem_id = %s AND delivery_status = 'failed'",
            [one.delivery_status or "pending", mensagem_id],
        )
    detalhes = {"tentativa": one.id, "evidencia": evidencia.value} | ({"por": by} if by else {})
    motivo = "evidencia_tardia" if one.given_up else BY[evidencia]
    record_events([Event(mensagem_id, Evento.DECISAO, SendOutcome.SENT, motivo, detalhes=detalhes)])
