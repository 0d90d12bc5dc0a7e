"""Leaving: one word on WhatsApp ends everything that was planned, is confirmed once, and holds from then on."""

import random
from datetime import timedelta
from uuid import uuid4

import pytest

from chips import fleet
from chips.models import Chip, Tentativa
from chips.simulator.client import SimulatorProcess
from core.audit.models import AuditEntry
from core.clientes.models import Cliente
from core.clock import Agora, database_now
from fila import policy
from fila.claim import Room, claim
from fila.conversas.opt_out import CONFIRMATION, COOLING_OFF, PersonNotFound, cool_off, opt_out
from fila.dispatch import new_lote, open_attempts
from fila.enqueue import REPLY, enqueue
from fila.models import Conversa, Interacao, Mensagem, MensagemEvento
from guardrails.models import DoctorState
from tests import factories
from tests.conftest import connect
from tests.fila.attempts import look
from tests.fila.drains import drain
from tests.fila.webhooks import deliver, process, receive, upsert


@pytest.fixture
def chip(open_operation: None) -> Chip:
    return factories.chip()


@pytest.fixture
def doctor(chip: Chip) -> Cliente:
    return factories.cliente()


def confirmations() -> int:
    return Mensagem.objects.filter(tipo="confirmacao_opt_out").count()


def state_of(person: Cliente) -> DoctorState:
    return DoctorState.objects.get(cliente=person)


def leave(person: Cliente) -> None:
    opt_out(person.id, origem="operador", motivo="pediu por telefone", actor="ana", now=database_now())


# --- what a message asks for


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "permission", "conversation", "confirmed"),
    [
        ("PARE", "opted_out", "active", 1),
        ("me tira da lista, por favor", "opted_out", "active", 1),
        ("Vou denunciar vocês por spam", "opted_out", "aguardando_gestor", 1),
        ("Número errado, não sou médica", "opted_out", "active", 0),
        ("não tenho interesse", "cooling_off", "aguardando_gestor", 0),
        ("chega", "cooling_off", "aguardando_gestor", 0),
        ("não me mande mais vagas de pediatria", "active", "aguardando_gestor", 0),
        ("como faço para sair da lista?", "active", "active", 0),
        ("bom dia, tudo bem?", "active", "active", 0),
    ],
)
def test_what_a_person_writes_decides_what_becomes_of_them(
    chip: Chip, doctor: Cliente, text: str, permission: str, conversation: str, confirmed: int
) -> None:
    receive(chip, upsert(doctor.telefone, text))
    assert state_of(doctor).permission_state == permission
    assert Conversa.objects.get().status == conversation
    assert confirmations() == confirmed


@pytest.mark.django_db
def test_leaving_is_written_wherever_people_look(chip: Chip, doctor: Cliente) -> None:
    event = receive(chip, upsert(doctor.telefone, "PARE"))
    doctor.refresh_from_db()
    state, audit = state_of(doctor), AuditEntry.objects.get(acao="cliente_optout")
    assert (doctor.status, doctor.stage_jornada) == ("optout", "opt_out")
    assert (state.opted_out_reason, state.cooling_off_until) == ("mensagem do médico: Pediu para sair", None)
    assert state.opted_out_at is not None
    assert event.recebido_em <= state.opted_out_at <= database_now()
    assert (audit.entidade_id, audit.usuario, audit.detalhes["origem"]) == (str(doctor.id), "julia", "mensagem")
    assert Interacao.objects.get().intencao == "opt_out"


@pytest.mark.django_db
def test_leaving_ends_every_pending_message_that_julia_would_have_begun(chip: Chip, doctor: Cliente) -> None:
    ours = [factories.mensagem(cliente=doctor, tipo=tipo) for tipo in ("lembrete", "followup", "reativacao")]
    ours.append(factories.mensagem(cliente=doctor, campanha=factories.campanha(status="pausada")))
    future = database_now() + timedelta(days=3)
    ours.append(factories.mensagem(cliente=doctor, campanha=factories.campanha(), agendar_para=future))
    somebody_elses = factories.mensagem()
    receive(chip, upsert(doctor.telefone, "PARE"))
    ends = Mensagem.objects.filter(id__in=[each.id for each in ours])
    assert set(ends.values_list("status", "outcome", "outcome_reason_code")) == {
        ("bloqueada", "BLOCKED_OPTED_OUT", "opted_out")
    }
    told = MensagemEvento.objects.filter(tipo="bloqueada").values_list("mensagem_id", flat=True)
    assert set(told) == {each.id for each in ours}
    somebody_elses.refresh_from_db()
    assert somebody_elses.status == "pendente"


@pytest.mark.django_db
def test_a_claim_that_has_no_attempt_yet_does_not_get_one_after_the_opt_out(chip: Chip, doctor: Cliente) -> None:
    message = factories.mensagem(cliente=doctor)
    rules, outside = policy.read(), policy.outside(simulated=True)
    room = Room.of(fleet.load(), rules.policy, senders=4, now=database_now())
    claimed = claim(room, rules.policy, owner="teste", lease_s=60)
    leave(doctor)
    batch = open_attempts(claimed, room, rules, outside, owner="teste", rng=random.Random(1), lote=new_lote())
    message.refresh_from_db()
    assert (len(claimed), batch.attempts) == (1, [])
    assert (message.status, message.outcome) == ("bloqueada", "BLOCKED_OPTED_OUT")
    assert not Tentativa.objects.exists()


@pytest.mark.django_db
def test_who_has_left_is_not_confirmed_again(chip: Chip, doctor: Cliente) -> None:
    for _ in range(3):
        receive(chip, upsert(doctor.telefone, "PARE"))
    first, *others = AuditEntry.objects.filter(acao="cliente_optout").order_by("created_at")
    assert confirmations() == 1
    assert not first.detalhes["ja_estava_fora"]
    assert [each.detalhes["ja_estava_fora"] for each in others] == [True, True]


@pytest.mark.django_db
def test_the_instant_of_leaving_stays_the_first_one(chip: Chip, doctor: Cliente) -> None:
    receive(chip, upsert(doctor.telefone, "PARE"))
    first = state_of(doctor).opted_out_at
    receive(chip, upsert(doctor.telefone, "PARE"))
    assert state_of(doctor).opted_out_at == first


@pytest.mark.django_db
def test_an_operator_who_records_an_opt_out_sends_nothing_to_confirm_it(chip: Chip, doctor: Cliente) -> None:
    leave(doctor)
    assert (state_of(doctor).permission_state, confirmations()) == ("opted_out", 0)


@pytest.mark.django_db
def test_nobody_cannot_leave() -> None:
    with pytest.raises(PersonNotFound):
        opt_out(uuid4(), origem="api", motivo="engano do chamador", actor="api", now=database_now())


# --- on the wire


@pytest.mark.django_db(transaction=True)
def test_after_leaving_one_confirmation_goes_out_and_nothing_else_ever(
    simulator: SimulatorProcess, chip: Chip, doctor: Cliente
) -> None:
    other = factories.chip()
    connect(simulator, chip, other)
    receive(chip, upsert(doctor.telefone, "bom dia"))
    question, conversation = Interacao.objects.get(), Conversa.objects.get()
    answer = enqueue(
        doctor.id, "Bom dia, doutora!", tipo="resposta", prioridade=REPLY,
        conversa_id=conversation.id, inbound_interacao_id=question.id,
    )  # fmt: skip
    factories.mensagem(cliente=doctor, campanha=factories.campanha())
    receive(chip, upsert(doctor.telefone, "PARE"))
    drain()
    for _ in range(2):
        factories.mensagem(cliente=doctor, campanha=factories.campanha())
        factories.mensagem(cliente=doctor)
        receive(other, upsert(doctor.telefone, "PARE"))
        drain()
    (left,) = simulator.truth().to(doctor.telefone)
    assert (left.text, left.chip) == (CONFIRMATION, chip.instance_name)
    assert Mensagem.objects.get(id=answer).outcome == "BLOCKED_OPTED_OUT", "it answers what came before"
    assert set(Mensagem.objects.values_list("status", flat=True)) == {"enviada", "bloqueada"}


@pytest.mark.django_db
def test_who_left_and_writes_again_may_be_answered(chip: Chip, doctor: Cliente) -> None:
    leave(doctor)
    receive(chip, upsert(doctor.telefone, "mudei de ideia, ainda tem vaga?"))
    question, conversation = Interacao.objects.get(), Conversa.objects.get()
    enqueue(
        doctor.id, "Tem sim!", tipo="resposta", prioridade=REPLY,
        conversa_id=conversation.id, inbound_interacao_id=question.id,
    )  # fmt: skip
    assert [attempt.mensagem.conteudo for attempt in look()] == ["Tem sim!"]
    assert state_of(doctor).permission_state == "opted_out", "answering is no permission to begin again"


# --- a pause


@pytest.mark.django_db
def test_no_interest_is_a_pause_of_thirty_days_that_a_person_is_told_of(chip: Chip, doctor: Cliente) -> None:
    receive(chip, upsert(doctor.telefone, "não tenho interesse"))
    state, audit = state_of(doctor), AuditEntry.objects.get()
    assert state.cooling_off_until is not None
    assert abs(state.cooling_off_until - database_now() - timedelta(days=30)) < timedelta(minutes=1)
    assert (audit.acao, audit.entidade_id) == ("cliente_em_pausa", str(doctor.id))
    assert Conversa.objects.get().escalation_reason == "Sem interesse"


@pytest.mark.django_db
@pytest.mark.parametrize(("days_later", "sent"), [(0, False), (31, True)])
def test_a_campaigns_message_ends_in_the_pause_and_goes_after_it(
    chip: Chip, doctor: Cliente, days_later: int, sent: bool
) -> None:
    cool_off(doctor.id, motivo="sem interesse", actor="julia", now=database_now() - timedelta(days=days_later))
    message = factories.mensagem(cliente=doctor, campanha=factories.campanha())
    assert len(look()) == sent
    message.refresh_from_db()
    assert message.outcome == (None if sent else "BLOCKED_COOLING_OFF")
    assert message.status == ("processando" if sent else "bloqueada")


@pytest.mark.django_db
def test_a_shorter_pause_does_not_end_a_longer_one(doctor: Cliente) -> None:
    now = database_now()
    cool_off(doctor.id, motivo="só em dois meses", actor="ana", now=now, length=timedelta(days=60))
    cool_off(doctor.id, motivo="sem interesse", actor="julia", now=now)
    assert state_of(doctor).cooling_off_until == now + timedelta(days=60)
    assert timedelta(days=60) > COOLING_OFF


@pytest.mark.django_db
def test_a_pause_does_not_bring_back_who_has_left(doctor: Cliente) -> None:
    leave(doctor)
    cool_off(doctor.id, motivo="sem interesse", actor="julia", now=database_now())
    assert (state_of(doctor).permission_state, state_of(doctor).cooling_off_until) == ("opted_out", None)


@pytest.mark.django_db
def test_leaving_outweighs_a_pause(doctor: Cliente) -> None:
    cool_off(doctor.id, motivo="sem interesse", actor="julia", now=database_now())
    leave(doctor)
    assert (state_of(doctor).permission_state, state_of(doctor).cooling_off_until) == ("opted_out", None)


# --- what nobody has read yet


@pytest.mark.django_db
@pytest.mark.parametrize(("text", "goes"), [("bom dia", True), ("PARE", False)])
def test_an_unread_message_of_the_person_holds_what_julia_would_begin(
    chip: Chip, doctor: Cliente, text: str, goes: bool
) -> None:
    message = factories.mensagem(cliente=doctor, campanha=factories.campanha())
    deliver(chip, upsert(doctor.telefone, text))
    assert look() == []
    message.refresh_from_db()
    assert (message.status, message.outcome_reason_code) == ("pendente", "inbound_pendente")
    assert message.agendar_para <= database_now() + timedelta(seconds=6)
    assert message.tentativas == 0
    process()
    Mensagem.objects.filter(id=message.id, status="pendente").update(agendar_para=Agora())
    assert any(attempt.mensagem.id == message.id for attempt in look()) is goes


@pytest.mark.django_db
def test_an_unread_message_holds_nobody_else(chip: Chip, doctor: Cliente) -> None:
    factories.mensagem(campanha=factories.campanha())
    deliver(chip, upsert(doctor.telefone, "PARE"))
    assert len(look()) == 1
