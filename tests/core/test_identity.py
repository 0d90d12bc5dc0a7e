from datetime import timedelta

import pytest

from core.clientes import identity
from core.clientes.models import Cliente, ClienteJid
from core.clock import Agora

pytestmark = pytest.mark.django_db

LID = "100000000000001@lid"


@pytest.fixture
def ana():
    return Cliente.objects.create(telefone="5541980000001", nome="Ana")


@pytest.mark.parametrize(
    "spelling",
    [
        "5541980000001",
        "+55 41 98000-0001",
        "(41) 8000-0001",
        "5541980000001@s.whatsapp.net",
        "554180000001@s.whatsapp.net",
        "554180000001:7@s.whatsapp.net",
        "554180000001@c.us",
    ],
)
def test_every_spelling_of_a_number_is_the_same_person(ana, spelling):
    assert identity.resolve(spelling) == ana.pk


@pytest.mark.parametrize(
    "stranger",
    ["5542980000001", "80000001", LID, "120363000000000001@g.us", "status@broadcast", "", "não sei", "@", "\0@lid"],
)
def test_a_stranger_a_group_or_nonsense_is_nobody(ana, stranger):
    assert identity.resolve(stranger) is None


def test_people_are_never_matched_by_their_last_eight_digits(ana):
    Cliente.objects.create(telefone="554130000001")
    assert identity.resolve("5541930000001@s.whatsapp.net") is None
    assert identity.resolve("5511980000001@s.whatsapp.net") is None


def test_a_number_stored_by_hand_without_its_ninth_digit_is_found():
    by_hand = Cliente.objects.create(telefone="551180000001")
    assert identity.resolve("5511980000001") == by_hand.pk


def test_a_learned_lid_is_the_person_from_then_on_with_any_device(ana):
    identity.learn("554180000001@s.whatsapp.net", LID, ana)
    assert identity.resolve(LID) == ana.pk
    assert identity.resolve("100000000000001:3@lid") == ana.pk


def test_both_identities_of_a_sighting_are_kept(ana):
    identity.learn("554180000001:2@s.whatsapp.net", LID, ana)
    kept = ana.jids.order_by("jid").values_list("jid", "kind")
    assert list(kept) == [(LID, "lid"), ("554180000001@s.whatsapp.net", "pn")]


def test_a_lid_follows_the_person_to_a_new_number(ana):
    bia = Cliente.objects.create(telefone="5511980000002")
    identity.learn(None, LID, ana)
    identity.learn(None, LID, bia)
    assert identity.resolve(LID) == bia.pk


def test_the_number_of_somebody_else_is_not_learned(ana):
    identity.learn("5511980000002@s.whatsapp.net", None, ana)
    assert not ClienteJid.objects.exists()


@pytest.mark.parametrize("group", ["120363000000000001@g.us", "status@broadcast", "120363000000000001@newsletter"])
def test_a_group_is_not_a_persons_identity(ana, group):
    identity.learn(group, group, ana)
    assert not ClienteJid.objects.exists()


def test_seeing_the_same_identity_again_writes_nothing_for_a_day(ana):
    identity.learn(None, LID, ana)
    first = ClienteJid.objects.get().visto_em
    identity.learn(None, LID, ana)
    assert ClienteJid.objects.get().visto_em == first

    ClienteJid.objects.update(visto_em=Agora() - timedelta(days=2))
    identity.learn(None, LID, ana)
    assert ClienteJid.objects.get().visto_em > first
