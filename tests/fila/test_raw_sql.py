"""The statements that operators type: they run as they are, and what they ask for is honoured at once."""

import pytest
from django.db import IntegrityError, transaction

from chips.models import Tentativa
from chips.simulator.client import SimulatorProcess
from core.database import execute, rows
from fila.models import Mensagem
from tests import factories
from tests.conftest import connect
from tests.fila.drains import drain

pytestmark = pytest.mark.django_db(transaction=True)

RESET_STUCK = """UPDATE fila_mensagens SET status = 'pendente', tentativas = tentativas + 1
    WHERE status = 'processando' AND updated_at < NOW() - INTERVAL '5 minutes'"""


def claimed(**values: object) -> Mensagem:
    """A row as a consumer that stopped ten minutes ago left it."""
    message = factories.mensagem(campanha=factories.campanha())
    execute("ALTER TABLE fila_mensagens DISABLE TRIGGER fila_volta_guardada")
    execute(
        """UPDATE fila_mensagens SET status = 'processando', token = nextval('fila_token_seq'),
           processando_desde = agora() - interval '10 minutes', lease_ate = agora() + interval '1 hour',
           updated_at = agora() - interval '10 minutes' WHERE id = %s""",
        [message.id],
    )
    execute("ALTER TABLE fila_mensagens ENABLE TRIGGER fila_volta_guardada")
    if values:
        Mensagem.objects.filter(pk=message.pk).update(**values)
    return message


def open_attempt(message: Mensagem) -> Tentativa:
    chip = factories.chip()
    attempt = Tentativa.objects.create(
        origem_id=message.id,
        chip=chip,
        provider="evolution",
        cliente_id=message.cliente_id,
        destino=message.cliente.telefone,
        tipo_mensagem="prospeccao",
        proativa=True,
        balde_em=message.created_at,
        dia_local=message.created_at.date(),
        texto_hash="0" * 64,
        lote="00000000-0000-0000-0000-000000000001",
        consumidor="teste",
    )
    execute("ALTER TABLE fila_mensagens DISABLE TRIGGER fila_volta_guardada")
    execute("UPDATE fila_mensagens SET tentativa_aberta_id = %s WHERE id = %s", [attempt.id, message.id])
    execute("ALTER TABLE fila_mensagens ENABLE TRIGGER fila_volta_guardada")
    return attempt


def test_a_row_reset_by_hand_is_sent_by_the_next_look(simulator: SimulatorProcess, open_operation: None) -> None:
    connect(simulator, factories.chip())
    message = claimed()
    assert execute(RESET_STUCK) == 1
    message.refresh_from_db()
    assert (message.status, message.tentativas) == ("pendente", 1)
    drain()
    message.refresh_from_db()
    assert message.status == "enviada"
    assert simulator.truth().total == 1


def test_a_row_on_the_wire_that_is_reset_by_hand_becomes_uncertain(open_operation: None) -> None:
    message = claimed()
    open_attempt(message)
    assert execute(RESET_STUCK) == 1
    message.refresh_from_db()
    assert message.status == "incerta"
    execute("UPDATE fila_mensagens SET status = 'pendente'")
    message.refresh_from_db()
    assert message.status == "incerta"


def test_a_sent_row_cannot_be_put_back(open_operation: None) -> None:
    message = factories.mensagem(status="enviada", outcome="SENT")
    with pytest.raises(IntegrityError, match="já foi enviada"), transaction.atomic():
        execute("UPDATE fila_mensagens SET status = 'pendente' WHERE id = %s", [message.id])


def test_a_row_of_a_cancelled_campaign_that_is_reset_by_hand_is_cancelled(open_operation: None) -> None:
    message = claimed()
    execute("UPDATE campanhas SET status='cancelada' WHERE id=%s", [message.campanha_id])
    execute(RESET_STUCK)
    message.refresh_from_db()
    assert (message.status, message.outcome_reason_code) == ("cancelada", "campanha_cancelada")


def test_a_row_of_somebody_who_left_that_is_reset_by_hand_is_blocked(open_operation: None) -> None:
    message = claimed()
    execute("UPDATE doctor_state SET permission_state='opted_out' WHERE cliente_id=%s", [message.cliente_id])
    execute(RESET_STUCK)
    message.refresh_from_db()
    assert (message.status, message.outcome) == ("bloqueada", "BLOCKED_OPTED_OUT")


def test_pausing_by_hand_stops_the_next_claim_and_resuming_sends_the_same_rows(
    simulator: SimulatorProcess, open_operation: None
) -> None:
    connect(simulator, factories.chip(), factories.chip())
    campanha = factories.campanha()
    messages = factories.mensagens(10, campanha=campanha)
    execute("UPDATE campanhas SET status='pausada' WHERE id=%s", [campanha.id])
    drain()
    assert simulator.truth().total == 0
    assert Mensagem.objects.filter(status="pendente").count() == 10
    execute("UPDATE campanhas SET status='ativa' WHERE id=%s", [campanha.id])
    drain()
    assert {record.recipient for record in simulator.truth().records} == {each.telefone_destino for each in messages}


def test_a_chip_without_permission_by_hand_carries_no_campaign(
    simulator: SimulatorProcess, open_operation: None
) -> None:
    blocked, other = factories.chip(), factories.chip()
    connect(simulator, blocked, other)
    execute("UPDATE chips SET pode_prospectar=false, pode_followup=false WHERE telefone=%s", [blocked.telefone])
    factories.mensagens(6, campanha=factories.campanha())
    drain()
    assert {record.chip for record in simulator.truth().records} == {other.instance_name}


def test_history_keeps_who_paused_a_campaign_by_hand(open_operation: None) -> None:
    campanha = factories.campanha()
    execute("UPDATE campanhas SET status='pausada' WHERE id=%s", [campanha.id])
    newest = rows("SELECT status, db_user, db_application FROM campanhas_history ORDER BY pgh_id DESC LIMIT 1")[0]
    assert newest["status"] == "pausada"
    assert newest["db_user"]


@pytest.mark.parametrize(
    ("sql", "constraint"),
    [
        ("UPDATE fila_mensagens SET status = 'sent'", "fila_status_is_lawful"),
        ("UPDATE fila_mensagens SET outcome = 'SENTE'", "fila_outcome_is_known"),
        ("UPDATE fila_mensagens SET prioridade = 11", "fila_prioridade_0_to_10"),
        ("UPDATE fila_mensagens SET tentativas = -1", "tentativas"),
        ("UPDATE chips SET status = 'connected'", "chips_status_is_lawful"),
        ("UPDATE campanhas SET status = 'paused'", "campanhas_status_is_lawful"),
        ("UPDATE clientes SET telefone = '+55 11'", "clientes_telefone_is_e164_digits"),
        ("UPDATE doctor_state SET permission_state = 'optout'", "doctor_state_permission_is_lawful"),
    ],
)
def test_the_database_refuses_what_must_never_be(open_operation: None, sql: str, constraint: str) -> None:
    factories.mensagem(campanha=factories.campanha())
    factories.chip()
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        execute(sql)


def test_one_attempt_in_flight_per_chip_and_one_that_may_have_left_per_message(open_operation: None) -> None:
    attempt = open_attempt(claimed())
    copy = {
        field.attname: getattr(attempt, field.attname)
        for field in Tentativa._meta.concrete_fields
        if field.attname != "id"
    }
    other = claimed()
    with pytest.raises(IntegrityError, match="one_in_flight_per_chip"), transaction.atomic():
        Tentativa.objects.create(**(copy | {"origem_id": other.id}))
    with pytest.raises(IntegrityError, match="at_most_one_that_may_have_left"), transaction.atomic():
        Tentativa.objects.create(**(copy | {"chip_id": factories.chip().id, "tentativa_no": 2}))


@pytest.mark.parametrize("backwards", ["iniciado", "rejeitado", "desconhecido"])
def test_an_accepted_attempt_never_moves_away(open_operation: None, backwards: str) -> None:
    attempt = open_attempt(claimed())
    execute("UPDATE envios_tentativas SET resultado = 'enviado' WHERE id = %s", [attempt.id])
    with pytest.raises(IntegrityError, match="não volta"), transaction.atomic():
        execute("UPDATE envios_tentativas SET resultado = %s WHERE id = %s", [backwards, attempt.id])
