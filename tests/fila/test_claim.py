"""What is claimed, in which order, and what is left alone."""

from datetime import timedelta
from typing import Any

import pytest

from chips import fleet
from core.clock import database_now
from core.database import execute
from fila import policy
from fila.claim import Claimed, Room, claim
from fila.models import ConversaChip, Interacao, Mensagem
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _operation(open_operation: None) -> None:
    """Every test here starts from an operation that is open all day."""


def take(senders: int = 50) -> list[Claimed]:
    rules = policy.read()
    room = Room.of(fleet.load(), rules.policy, senders=senders, now=database_now())
    return claim(room, rules.policy, owner="teste", lease_s=120)


def chips(count: int, **values: Any) -> None:
    for _ in range(count):
        factories.chip(**values)


def test_a_claim_sets_token_lease_and_leaves_the_attempt_count_alone() -> None:
    chips(1)
    message = factories.mensagem(campanha=factories.campanha())
    (taken,) = take()
    message.refresh_from_db()
    assert (message.status, message.token, message.lease_owner) == ("processando", taken.token, "teste")
    assert message.lease_ate is not None
    assert timedelta(seconds=115) < message.lease_ate - database_now() <= timedelta(seconds=120)
    assert message.tentativas == 0


def test_no_more_is_claimed_than_free_chips_can_carry() -> None:
    chips(3)
    factories.mensagens(10, campanha=factories.campanha())
    assert len(take()) == 3
    assert Mensagem.objects.filter(status="pendente").count() == 7


def test_no_more_is_claimed_than_there_are_free_senders() -> None:
    chips(10)
    factories.mensagens(10, campanha=factories.campanha())
    assert len(take(senders=4)) == 4


def test_without_a_chip_that_can_carry_it_nothing_is_claimed() -> None:
    chips(5, evolution_connected=False)
    factories.mensagens(3, campanha=factories.campanha())
    assert take() == []


@pytest.mark.parametrize("status", ["rascunho", "agendada", "pausada", "concluida", "cancelada"])
def test_only_rows_of_an_active_campaign_are_claimed(status: str) -> None:
    chips(3)
    factories.mensagens(3, campanha=factories.campanha(status=status))
    assert take() == []


def test_what_is_not_due_is_left_alone() -> None:
    chips(1)
    factories.mensagem(campanha=factories.campanha(), agendar_para=database_now() + timedelta(minutes=1))
    assert take() == []


def test_replies_come_first_whatever_their_priority() -> None:
    chips(2)
    factories.mensagens(5, campanha=factories.campanha(), prioridade=9)
    reply = factories.resposta(prioridade=1)
    assert reply.id in {message.id for message in take()}


def test_higher_priority_first_then_the_longest_due() -> None:
    chips(3)
    now = database_now()
    late = factories.mensagem(prioridade=5, agendar_para=now - timedelta(minutes=1))
    older = factories.mensagem(prioridade=5, agendar_para=now - timedelta(minutes=9))
    urgent = factories.mensagem(prioridade=9, agendar_para=now)
    factories.mensagem(prioridade=2, agendar_para=now - timedelta(hours=1))
    assert {message.id for message in take()} == {urgent.id, older.id, late.id}


def test_a_large_campaign_does_not_starve_a_small_one() -> None:
    chips(6)
    large, small, other = (factories.campanha() for _ in range(3))
    factories.mensagens(100, campanha=large)
    factories.mensagens(2, campanha=small)
    factories.mensagens(50, campanha=other)
    taken = [message.campanha_id for message in take()]
    assert {campaign: taken.count(campaign) for campaign in set(taken)} == {large.id: 2, small.id: 2, other.id: 2}


@pytest.mark.parametrize(
    ("switch", "value", "claimed"),
    [
        ("campaigns_enabled", False, {"lembrete", "resposta"}),
        ("envio_campanha", False, {"lembrete", "resposta"}),
        ("safe_mode", True, {"resposta"}),
        ("envio_resposta", False, {"campanha", "lembrete"}),
        ("operacao_pausada", True, set()),
        ("worker_fila", False, set()),
        ("envio_travado", True, set()),
        ("safe_mode", "talvez", {"resposta"}),
    ],
)
def test_a_kill_switch_leaves_its_rows_unclaimed(switch: str, value: object, claimed: set[str]) -> None:
    chips(6)
    factories.mensagem(campanha=factories.campanha())
    factories.mensagem(tipo="lembrete")
    factories.resposta()
    factories.set_setting(switch, value)
    assert {message.tipo for message in take()} == claimed
    assert set(Mensagem.objects.exclude(status="processando").values_list("status", flat=True)) <= {"pendente"}


def test_a_missing_switch_holds_what_it_guards() -> None:
    chips(1)
    factories.mensagem(campanha=factories.campanha())
    execute("DELETE FROM app_settings WHERE key = 'campaigns_enabled'")
    assert take() == []


def test_a_reply_waits_in_the_fila_while_its_own_chip_speaks() -> None:
    own = factories.chip()
    chips(2)
    reply = factories.resposta()
    assert reply.conversa is not None
    ConversaChip.objects.create(conversa=reply.conversa, chip=own)
    execute(
        """INSERT INTO envios_tentativas (origem_id, chip_id, provider, destino, tipo_mensagem, proativa, balde_em,
               dia_local, texto_hash, lote, consumidor)
           VALUES (gen_random_uuid(), %s, 'evolution', '5511900000000', 'resposta', false, agora(), current_date, '',
               gen_random_uuid(), 'outro')""",
        [own.id],
    )
    assert take() == []
    execute("UPDATE envios_tentativas SET resultado = 'enviado'")
    assert [message.id for message in take()] == [reply.id]


def test_a_reply_that_lost_its_proof_to_a_backlog_takes_no_fresh_replys_place() -> None:
    factories.chip(pode_prospectar=False, pode_followup=False)
    stale = factories.resposta(prioridade=9)
    Interacao.objects.filter(cliente=stale.cliente).update(created_at=database_now() - timedelta(hours=1))
    fresh = factories.resposta(prioridade=1)
    assert [message.id for message in take()] == [fresh.id]


def test_a_row_with_an_open_attempt_is_never_claimed() -> None:
    chips(1)
    message = factories.mensagem(campanha=factories.campanha())
    Mensagem.objects.filter(pk=message.pk).update(tentativa_aberta_id=1)
    assert take() == []
