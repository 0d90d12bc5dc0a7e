"""What a person decides about a message whose result nobody knows: it was sent, or it was not and goes again.

One transaction each, audited, compare-and-set under the row's lock: of two people one wins, the other is told.
"""

from datetime import datetime
from uuid import UUID

from chips.choices import Evidencia, Resultado
from chips.providers.evolution import EvolutionProvider
from chips.providers.zapi import ZapiProvider
from core.audit import services as audit
from core.backoffice.moments import day_and_time
from core.database import rows
from core.outcomes import SendOutcome
from fila.choices import Status
from fila.reconciliacao import evidencia, retorno
from fila.reconciliacao.holding import Busy, Standing, held
from fila.reconciliacao.schedule import resend_unlocks_at

RESENT_BY_PERSON = "reenvio_por_operador"
SEARCHABLE = frozenset(
    provider.name.value
    for provider in (EvolutionProvider, ZapiProvider)
    if provider.capabilities.search_messages or provider.capabilities.cancel_queued
)

_IN_USE = "A mensagem está em uso neste instante. Espere alguns segundos e tente de novo."
_NO_ATTEMPT = "Esta mensagem não tem nenhum envio em aberto: não há o que decidir. Veja a situação dela abaixo."
_CALL_OPEN = "A chamada desta mensagem ainda está aberta: espere o provedor responder, no máximo dois minutos."
_REPROCESSED = (
    "Esta mensagem já foi reprocessada: outra foi criada no lugar dela. Reenviar esta também duplicaria o envio."
)


class Recusada(Exception):
    """Somebody was faster, or it is too early; the text is for the operator."""


def confirm_sent(mensagem_id: UUID, *, actor: str, motivo: str, now: datetime) -> str:
    """ "Foi enviada": → `enviada`, with all that follows a send. Returns the sentence to show.

    Raises Recusada, and MotivoMissing below 10 characters.
    """
    motivo = audit.check_motivo(motivo)
    attempt_id = _open_attempt(mensagem_id)
    try:
        with held([attempt_id]) as standing:
            one = _decidable(standing.get(attempt_id))
            if not evidencia.settle_by_evidence(one.id, evidencia=Evidencia.OPERADOR, accepted=True, by=actor):
                raise Recusada(_was_faster(one))
            _record("fila_incerta_enviada", one, actor, motivo, now)
    except Busy:
        raise Recusada(_IN_USE) from None
    return "Registrado: a mensagem conta como enviada e não será enviada de novo."


def resend(mensagem_id: UUID, *, actor: str, motivo: str, now: datetime) -> str:
    """ "Não foi: reenviar": its attempt counts as not sent and the message returns to the fila. The sentence to show.

    Locked until five minutes after its call must have ended and, where the provider can be asked, one answered search.
    Raises Recusada, and MotivoMissing below 10 characters.
    """
    motivo = audit.check_motivo(motivo)
    attempt_id = _open_attempt(mensagem_id)
    try:
        with held([attempt_id]) as standing:
            one = _decidable(standing.get(attempt_id))
            if missing := _missing(one, now) or _reprocessed(mensagem_id):
                raise Recusada(missing)
            back = retorno.Return(
                one.id,
                evidencia=Evidencia.OPERADOR,
                motivo=RESENT_BY_PERSON,
                outcome=None,
                counts=False,
                waits=True,
                release=True,
                by=actor,
            )
            done = retorno.write([back], standing)
            if not done or done[0].status is None:
                raise Recusada(_was_faster(one))
            _record("fila_incerta_reenviada", one, actor, motivo, now)
    except Busy:
        raise Recusada(_IN_USE) from None
    return _AFTERWARDS.get(done[0].status, f"A mensagem agora está como {Status(done[0].status).label.lower()}.")


_AFTERWARDS = {
    Status.PENDENTE.value: "A mensagem voltou para a fila e sai assim que um chip puder levá-la.",
    Status.CANCELADA.value: "A campanha dela foi cancelada: a mensagem não será enviada.",
    Status.BLOQUEADA.value: "O médico pediu para sair: a mensagem não será enviada.",
}


def may_decide(status: str, outcome: str | None) -> bool:
    """Whether the buttons are shown: nobody knows whether it was sent."""
    return status == Status.INCERTA or (status == Status.ERRO and outcome == SendOutcome.FAILED_UNKNOWN)


def what_is_missing(mensagem_id: UUID, *, now: datetime) -> str:
    """Why "não foi: reenviar" is still locked, for the page that asks; empty when it is not."""
    try:
        attempt_id = _open_attempt(mensagem_id)
    except Recusada as refusal:
        return str(refusal)
    found = rows(
        "SELECT resultado, provider, iniciado_em, buscas, proxima_busca_em FROM envios_tentativas WHERE id = %s",
        [attempt_id],
    )
    if not found:
        return _NO_ATTEMPT
    row = found[0]
    if row["resultado"] == Resultado.INICIADO:
        return _CALL_OPEN
    return _locked(row["provider"], row["iniciado_em"], row["buscas"], row["proxima_busca_em"], now) or _reprocessed(
        mensagem_id
    )


def _missing(one: Standing, now: datetime) -> str:
    return _locked(one.provider, one.iniciado_em, one.buscas, one.proxima_busca_em, now)


def _locked(provider: str, began: datetime, searches: int, upcoming: datetime | None, now: datetime) -> str:
    """Pure: "libera às 14:35, depois da busca"."""
    unlocks, searched = resend_unlocks_at(began), searches > 0 or provider not in SEARCHABLE
    if now < unlocks:
        after = "" if searched else ", depois da busca no provedor"
        return f"Ainda é cedo para reenviar: libera {day_and_time(unlocks, now)}{after}. Até lá a prova pode chegar."
    if not searched:
        when = f" A próxima é {day_and_time(upcoming, now)}." if upcoming and upcoming > now else ""
        return f"Ainda falta uma busca respondida pelo provedor: sem ela o reenvio poderia duplicar a mensagem.{when}"
    return ""


def _open_attempt(mensagem_id: UUID) -> int:
    found = rows("SELECT tentativa_aberta_id, status FROM fila_mensagens WHERE id = %s", [mensagem_id])
    if not found:
        raise Recusada("Esta mensagem não existe mais.")
    attempt_id: int | None = found[0]["tentativa_aberta_id"]
    if attempt_id is None:
        status = Status(found[0]["status"])
        raise Recusada(_decided(status) if status is not Status.INCERTA else _NO_ATTEMPT)
    return attempt_id


def _decidable(one: Standing | None) -> Standing:
    """Read under the locks: whoever came first has changed it by now."""
    if one is None or one.status is None:
        raise Recusada(_NO_ATTEMPT)
    if not may_decide(one.status, one.outcome) or one.tentativa_aberta_id != one.id:
        raise Recusada(_decided(Status(one.status)))
    if one.resultado == Resultado.INICIADO:
        raise Recusada(_CALL_OPEN)
    if one.resultado != Resultado.DESCONHECIDO:
        raise Recusada(_NO_ATTEMPT)
    return one


def _was_faster(one: Standing) -> str:
    return _decided(Status(one.status or Status.INCERTA))


def _decided(status: Status) -> str:
    return (
        f"Outra pessoa, ou uma prova do provedor, decidiu antes: a mensagem está como {status.label.lower()}. "
        "Nada foi mudado agora; veja o histórico abaixo."
    )


def _reprocessed(mensagem_id: UUID) -> str:
    return _REPROCESSED if rows("SELECT 1 FROM fila_mensagens WHERE reprocessa_de_id = %s", [mensagem_id]) else ""


def _record(acao: str, one: Standing, actor: str, motivo: str, now: datetime) -> None:
    detalhes = {"antes": one.status, "tentativa": one.id, "buscas": one.buscas}
    audit.record(acao, "fila_mensagens", one.mensagem_id, usuario=actor, motivo=motivo, detalhes=detalhes, now=now)
