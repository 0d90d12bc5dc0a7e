"""What people do to messages: with a motivo, on the record, and only while nothing is on its way."""

from datetime import UTC, datetime

import pytest

from core.audit.models import AuditEntry
from fila.choices import Status
from fila.models import Mensagem, MensagemEvento
from fila.services import MotivoInsuficiente, cancel
from tests import factories
from tests.fila.attempts import accept, look, open_one

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
MOTIVO = "campanha com o texto errado"


@pytest.mark.parametrize("status", [status for status in Status if status != Status.PENDENTE])
def test_only_what_is_still_pending_is_cancelled(status: Status) -> None:
    waiting, other = factories.mensagem(), factories.mensagem(status=status)
    assert cancel([waiting.id, other.id], actor="ana", motivo=MOTIVO, now=NOW) == 1
    waiting.refresh_from_db()
    other.refresh_from_db()
    assert (waiting.status, waiting.outcome_reason_code) == ("cancelada", "cancelada_por_operador")
    assert waiting.outcome_at == NOW
    assert other.status == status


def test_only_the_named_messages_are_cancelled() -> None:
    named, unnamed = factories.mensagem(), factories.mensagem()
    cancel([named.id], actor="ana", motivo=MOTIVO, now=NOW)
    unnamed.refresh_from_db()
    assert unnamed.status == "pendente"


def test_cancelling_twice_cancels_once() -> None:
    message = factories.mensagem()
    assert [cancel([message.id], actor="ana", motivo=MOTIVO, now=NOW) for _ in range(2)] == [1, 0]
    assert MensagemEvento.objects.filter(tipo="cancelada").count() == 1


def test_what_is_on_the_wire_finishes(open_operation: None) -> None:
    factories.chip()
    message = factories.mensagem(campanha=factories.campanha())
    attempt = open_one()
    assert cancel([message.id], actor="ana", motivo=MOTIVO, now=NOW) == 0
    accept(attempt, "3EB0OK")
    message.refresh_from_db()
    assert message.status == "enviada"


def test_a_cancelled_message_is_not_taken(open_operation: None) -> None:
    factories.chip()
    message = factories.mensagem(campanha=factories.campanha())
    cancel([message.id], actor="ana", motivo=MOTIVO, now=NOW)
    assert look() == []


def test_the_record_says_who_why_and_how_many() -> None:
    messages = [factories.mensagem(), factories.mensagem(), factories.mensagem(status="erro")]
    cancel([each.id for each in messages], actor="ana", motivo=MOTIVO, now=NOW)
    entry = AuditEntry.objects.get()
    assert (entry.acao, entry.usuario, entry.motivo) == ("fila_limpa", "ana", MOTIVO)
    assert entry.detalhes == {"canceladas": 2, "pedidas": 3}


def test_each_message_tells_who_cancelled_it() -> None:
    message = factories.mensagem()
    cancel([message.id], actor="ana", motivo=MOTIVO, now=NOW)
    line = MensagemEvento.objects.get(mensagem=message)
    assert (line.tipo, line.motivo, line.detalhes) == ("cancelada", "cancelada_por_operador", {"por": "ana"})


@pytest.mark.parametrize("motivo", ["", "errado", "         x          "])
def test_without_a_motivo_nothing_changes(motivo: str) -> None:
    message = factories.mensagem()
    with pytest.raises(MotivoInsuficiente, match="pelo menos 10 caracteres"):
        cancel([message.id], actor="ana", motivo=motivo, now=NOW)
    assert Mensagem.objects.get().status == "pendente"
    assert not AuditEntry.objects.exists()


def test_cancelling_nothing_is_no_error() -> None:
    assert cancel([], actor="ana", motivo=MOTIVO, now=NOW) == 0
