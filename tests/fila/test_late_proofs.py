"""Proofs that come after a message was given up and replaced: it never goes out twice, and a double is told of."""

import random
from uuid import UUID

import pytest

from chips.choices import Evidencia
from chips.providers.base import Code, ErrorKind, Fault
from chips.providers.classification import accepted
from core.alerts.models import Alerta
from core.clock import database_now
from core.database import execute
from fila.models import Mensagem, MensagemDlq
from fila.reconciliacao import evidencia, prazo
from fila.reconciliacao.avisos_de_erro import apply_error_acks
from fila.reconciliacao.evidencia import revive
from fila.reprocessar.services import reprocess_one
from tests import factories
from tests.chips.results import unknown
from tests.fila.attempts import look, open_one, settle_as
from tests.fila.reconciling import age, attempt_of, status_of

pytestmark = pytest.mark.django_db

UNKNOWN = unknown(ErrorKind.TIMEOUT, Fault.PROVEDOR, Code.TIMEOUT, "sem resposta em 70 s")
OLD_KEY = "3EBOLD"


@pytest.fixture
def given_up(open_operation: None) -> Mensagem:
    """A message whose result nobody learned in 24 hours."""
    factories.chip(), factories.chip()
    message = factories.mensagem(campanha=factories.campanha())
    settle_as(UNKNOWN, open_one())
    age(message, hours=25)
    assert prazo.end_overdue() == 1
    return message


def replace(message: Mensagem, *, forcar: bool = False) -> UUID:
    failure = MensagemDlq.objects.get(mensagem_original=message)
    new = reprocess_one(
        failure.pk, actor="ana", motivo="confirmado com o médico", rng=random.Random(1), now=database_now(),
        forcar=forcar,
    )  # fmt: skip
    execute("UPDATE fila_mensagens SET agendar_para = agora() WHERE id = %s", [new])
    return new


def send_replacement(message: Mensagem) -> None:
    new = replace(message, forcar=True)
    attempt = open_one()
    assert attempt.mensagem.id == new
    settle_as(accepted("3EBNEW", status=201), attempt)


def prove(message: Mensagem, *, accepted: bool) -> bool:
    return evidencia.settle_by_evidence(
        attempt_of(message).id,
        evidencia=Evidencia.ECO if accepted else Evidencia.FILA_ZAPI,
        accepted=accepted,
        provider_message_id=OLD_KEY if accepted else "",
    )


def test_a_message_whose_replacement_was_sent_never_returns(given_up: Mensagem) -> None:
    send_replacement(given_up)
    prove(given_up, accepted=False)
    assert status_of(given_up) == "erro"


def test_nor_does_it_by_an_operators_sql(given_up: Mensagem) -> None:
    send_replacement(given_up)
    prove(given_up, accepted=False)
    execute("UPDATE fila_mensagens SET status = 'pendente' WHERE id = %s", [given_up.id])
    given_up.refresh_from_db()
    assert (given_up.status, given_up.outcome_reason_code) == ("erro", "reprocessada")


def test_nor_does_it_after_an_error_acknowledgement(given_up: Mensagem) -> None:
    send_replacement(given_up)
    prove(given_up, accepted=True)
    execute(
        """UPDATE envios_tentativas SET delivery_status = 'failed', delivery_status_at = agora() - interval '2 minutes'
           WHERE provider_message_id = %s""",
        [OLD_KEY],
    )
    apply_error_acks()
    assert status_of(given_up) == "erro"


def test_a_late_proof_beside_a_sent_replacement_tells_of_the_double(given_up: Mensagem) -> None:
    send_replacement(given_up)
    prove(given_up, accepted=True)
    assert Alerta.objects.filter(tipo="entregue_apos_reenvio").exists()


def test_a_late_proof_stops_a_replacement_that_still_waits(given_up: Mensagem) -> None:
    new = replace(given_up, forcar=True)
    prove(given_up, accepted=True)
    stopped = Mensagem.objects.get(pk=new)
    assert (stopped.status, stopped.outcome_reason_code) == ("cancelada", "original_entregue")
    assert status_of(given_up) == "enviada"
    assert look() == []


def test_a_late_receipt_stops_the_replacement_of_a_message_that_whatsapp_had_refused(open_operation: None) -> None:
    factories.chip(), factories.chip()
    message = factories.mensagem(campanha=factories.campanha(), max_tentativas=1)
    settle_as(accepted("3EBA", status=201), open_one())
    execute(
        """UPDATE envios_tentativas SET iniciado_em = iniciado_em - interval '2 hours', delivery_status = 'failed',
           delivery_status_at = agora() - interval '2 minutes'"""
    )
    apply_error_acks()
    assert status_of(message) == "erro"
    new = replace(message)
    revive(attempt_of(message).id, evidencia=Evidencia.RECIBO, status="delivered")
    assert look() == []
    assert Mensagem.objects.get(pk=new).status == "cancelada"


def test_a_replacement_claimed_at_that_moment_is_stopped_by_what_it_reads(given_up: Mensagem) -> None:
    new = replace(given_up, forcar=True)
    execute(
        """UPDATE envios_tentativas SET resultado = 'enviado', provider_message_id = %s WHERE origem_id = %s""",
        [OLD_KEY, given_up.id],
    )
    assert look() == []
    assert Mensagem.objects.get(pk=new).outcome == "DEDUPED"
