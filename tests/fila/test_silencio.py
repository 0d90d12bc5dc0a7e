"""Julia is silent with one person: by the button as by the manual's SQL, and until somebody lifts it."""

from datetime import UTC, datetime
from threading import Thread
from uuid import uuid4

import pytest
from django.db import connection

from core.audit.models import AuditEntry
from core.audit.services import MotivoMissing
from core.clientes.models import Cliente
from core.clock import database_now
from core.database import execute
from fila.conversas import silencio
from fila.conversas.models import ConversaContexto
from fila.conversas.opt_out import PersonNotFound
from fila.models import Mensagem
from tests import factories
from tests.fila.attempts import look

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
MOTIVO = "pediu para falar só com uma pessoa"


@pytest.fixture
def doctor(open_operation: None) -> Cliente:
    factories.chip()
    return factories.cliente()


def silence(person: Cliente) -> bool:
    return silencio.silence(person.pk, actor="ana", motivo=MOTIVO, now=NOW)


def outcome_of(person: Cliente) -> str | None:
    message: Mensagem = factories.mensagem(cliente=person)
    look()
    message.refresh_from_db()
    return message.outcome


def test_what_julia_begins_ends_as_handed_over_until_it_is_lifted(doctor: Cliente) -> None:
    assert silence(doctor)
    assert outcome_of(doctor) == "BLOCKED_HANDOFF"
    assert silencio.lift(doctor.pk, actor="caio", motivo="conversa resolvida pela equipe")
    assert outcome_of(doctor) != "BLOCKED_HANDOFF"


def test_it_keeps_what_else_is_known_of_the_phone(doctor: Cliente) -> None:
    ConversaContexto.objects.create(lead_phone=doctor.telefone, context_data={"last_error": "x"})
    silence(doctor)
    silencio.lift(doctor.pk, actor="caio", motivo="conversa resolvida pela equipe")
    assert ConversaContexto.objects.get(lead_phone=doctor.telefone).context_data == {"last_error": "x"}


def test_the_manuals_own_statement_is_shown_and_lifted_by_the_button(doctor: Cliente) -> None:
    execute(
        """INSERT INTO conversation_context (lead_phone, context_data) VALUES (%s, '{}')
           ON CONFLICT (lead_phone) DO NOTHING""",
        [doctor.telefone],
    )
    execute(
        """UPDATE conversation_context SET context_data = jsonb_set( context_data, '{agent_pause_state}',
           '{"paused": true, "reason": "rollback"}'::jsonb ) WHERE lead_phone = %s""",
        [doctor.telefone],
    )
    assert silencio.standing(doctor) == silencio.Silence()
    assert not silence(doctor)
    assert silencio.lift(doctor.pk, actor="caio", motivo="conversa resolvida pela equipe")
    assert silencio.standing(doctor) is None


def test_each_act_is_audited_once_with_its_motivo_and_a_repetition_is_not(doctor: Cliente) -> None:
    assert [silence(doctor), silence(doctor)] == [True, False]
    assert silencio.lift(doctor.pk, actor="caio", motivo="conversa resolvida pela equipe")
    assert not silencio.lift(doctor.pk, actor="caio", motivo="conversa resolvida pela equipe")
    told = AuditEntry.objects.filter(entidade="cliente", entidade_id=str(doctor.pk)).order_by("created_at")
    assert [(each.acao, each.usuario) for each in told] == [("julia_silenciada", "ana"), ("julia_liberada", "caio")]


def test_without_a_motivo_or_a_person_nothing_changes(doctor: Cliente) -> None:
    with pytest.raises(MotivoMissing):
        silencio.silence(doctor.pk, actor="ana", motivo="curto", now=NOW)
    with pytest.raises(PersonNotFound):
        silencio.silence(uuid4(), actor="ana", motivo=MOTIVO, now=NOW)
    assert silencio.standing(doctor) is None


@pytest.mark.django_db(transaction=True)
def test_two_people_at_once_make_one_silence(doctor: Cliente) -> None:
    answers: list[bool] = []

    def press() -> None:
        try:
            answers.append(silencio.silence(doctor.pk, actor="ana", motivo=MOTIVO, now=database_now()))
        finally:
            connection.close()

    threads = [Thread(target=press) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False, True]
