"""Asking the provider about unknown messages: found once proves, not found proves nothing, and nobody is hurried."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings as django_settings
from hypothesis import given
from hypothesis import strategies as st

from chips.models import Chip, Tentativa
from chips.providers.base import Code, ErrorKind, Fault
from chips.simulator.client import SimulatorProcess
from chips.simulator.numbers import lid_for
from core.circuits import services as circuits
from core.clientes import identity
from core.clock import Agora, database_now
from fila.models import Mensagem
from fila.reconciliacao import buscas, schedule
from fila.reconciliacao.buscas import plan_unknown
from fila.reconciliacao.jobs import reconciliar_incertas
from tests import factories
from tests.chips.results import unknown
from tests.fila.attempts import open_one, settle_as
from tests.fila.reconciling import Bench, age, attempt_of, bench, put_on_the_wire, status_of, told

pytestmark = pytest.mark.django_db

UNKNOWN = unknown(ErrorKind.TIMEOUT, Fault.PROVEDOR, Code.TIMEOUT, "sem resposta em 70 s")
T0 = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)


@pytest.fixture
def lab(simulator: SimulatorProcess, open_operation: None) -> Iterator[Bench]:
    with bench(simulator) as one:
        yield one


def lost(chip: Chip, *, on_wire: bool = True, **values: object) -> Mensagem:
    """A message whose answer never came, three minutes ago."""
    message = factories.mensagem(**values)
    attempt = open_one()
    assert attempt.chip_id == chip.pk
    if on_wire:
        put_on_the_wire(chip, message)
    settle_as(UNKNOWN, attempt)
    age(message, minutes=3)
    return message


def search() -> dict[str, int]:
    plan_unknown()
    return buscas.run(now=database_now(), deadline_s=20)


# --- what it proves


def test_a_message_found_once_was_sent(lab: Bench) -> None:
    message = lost(lab.chip())
    assert search() == {"buscas": 1, "confirmadas": 1, "adiadas": 0}
    (record,) = lab.simulator.truth().records
    attempt = attempt_of(message)
    assert (status_of(message), attempt.evidencia, attempt.provider_message_id) == ("enviada", "busca", record.key_id)
    assert message.delivery_status in ("delivered", "read"), "what the provider knew of its delivery"
    assert told(message)[-2:] == ["evidencia_busca", message.delivery_status]


def test_absence_is_no_proof(lab: Bench) -> None:
    message = lost(lab.chip(), on_wire=False)
    assert search() == {"buscas": 1, "confirmadas": 0, "adiadas": 0}
    attempt = attempt_of(message)
    assert (status_of(message), attempt.resultado, attempt.buscas) == ("incerta", "desconhecido", 1)
    assert told(message)[-1] == "busca_sem_resultado"


def test_a_send_whose_insert_failed_stays_unknown(lab: Bench) -> None:
    chip = lab.chip()
    lab.simulator.fault("400_enviou")
    message = lost(chip)
    search()
    assert (status_of(message), lab.simulator.truth().total) == ("incerta", 1)


def test_another_text_to_the_same_person_is_not_it(lab: Bench) -> None:
    chip = lab.chip()
    message = lost(chip, on_wire=False)
    put_on_the_wire(chip, message, text="Outra coisa.")
    search()
    assert status_of(message) == "incerta"


def test_a_message_that_another_attempt_carries_is_not_it(lab: Bench) -> None:
    chip = lab.chip()
    person = factories.cliente()
    earlier = factories.mensagem(cliente=person, conteudo="Igual.", tipo="teste")
    attempt = open_one()
    settle_as(put_on_the_wire(chip, earlier), attempt)
    later = lost(chip, on_wire=False, cliente=person, conteudo="Igual.", tipo="teste")
    search()
    assert (status_of(earlier), status_of(later)) == ("enviada", "incerta")
    assert told(later)[-1] == "busca_sem_resultado"


def test_two_equal_ones_prove_nothing(lab: Bench) -> None:
    chip = lab.chip()
    message = lost(chip)
    put_on_the_wire(chip, message)
    search()
    assert status_of(message) == "incerta"
    assert told(message)[-1] == "busca_varias"


def test_one_found_for_two_equal_unknown_ones_proves_nothing(lab: Bench) -> None:
    chip = lab.chip()
    person = factories.cliente()
    first = lost(chip, cliente=person, conteudo="Igual.", tipo="teste")
    second = lost(chip, on_wire=False, cliente=person, conteudo="Igual.", tipo="teste")
    assert search()["confirmadas"] == 0
    assert (status_of(first), status_of(second)) == ("incerta", "incerta")


def test_messages_stored_under_a_lid_are_found_through_the_map(lab: Bench) -> None:
    chip, person = lab.chip(), factories.cliente()
    lid = lid_for(person.telefone)
    lab.simulator.number(person.telefone, jid=lid)
    message = lost(chip, cliente=person)
    search()
    assert status_of(message) == "incerta"
    identity.learn(None, lid, person)
    Tentativa.objects.update(proxima_busca_em=Agora())
    search()
    assert status_of(message) == "enviada"


def test_a_number_without_its_ninth_digit_is_found(lab: Bench) -> None:
    message = lost(lab.chip(), cliente=factories.cliente(telefone="5541999990001"))
    assert lab.simulator.truth().records[0].jid == "554199990001@s.whatsapp.net"
    search()
    assert status_of(message) == "enviada"


def test_an_answer_that_was_not_whole_settles_nothing_and_counts_as_no_search(
    lab: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = lost(lab.chip())
    monkeypatch.setattr("chips.providers.evolution_search.MAX_PAGES", 0)
    search()
    attempt = attempt_of(message)
    assert (status_of(message), attempt.buscas, told(message)[-1]) == ("incerta", 0, "busca_incompleta")


def test_an_id_of_ours_is_asked_for_by_itself(lab: Bench) -> None:
    chip = lab.chip()
    message = lost(chip)
    (record,) = lab.simulator.truth().records
    Tentativa.objects.update(provider_message_id=record.key_id, texto_hash="0" * 64)
    search()
    assert (status_of(message), attempt_of(message).evidencia) == ("enviada", "busca")


# --- when it asks


def test_the_first_search_waits_75_seconds_from_the_call(lab: Bench) -> None:
    chip = lab.chip()
    message = factories.mensagem()
    attempt = open_one()
    put_on_the_wire(chip, message)
    settle_as(UNKNOWN, attempt)
    assert search()["buscas"] == 0
    age(message, seconds=74)
    assert search()["buscas"] == 0
    age(message, seconds=2)
    assert search()["buscas"] == 1


@pytest.mark.parametrize(
    ("minutes", "following"),
    [(0, 1.25), (2, 5), (5.5, 15), (20, 60), (61, 360), (400, 720), (800, 1080), (1100, 1440), (1500, 1440)],
)
def test_searches_follow_at_5_15_60_minutes_and_then_every_six_hours(minutes: float, following: float) -> None:
    found = schedule.next_search("evolution", T0, T0 + timedelta(minutes=minutes))
    assert found == T0 + timedelta(minutes=following)


@given(seconds=st.floats(0, 86_399), provider=st.sampled_from(["evolution", "z-api"]))
def test_the_next_search_is_always_later_and_never_after_a_day(seconds: float, provider: str) -> None:
    now = T0 + timedelta(seconds=seconds)
    assert now < schedule.next_search(provider, T0, now) <= T0 + timedelta(hours=24)


def test_a_search_plans_the_next_one(lab: Bench) -> None:
    message = lost(lab.chip(), on_wire=False)
    search()
    attempt = attempt_of(message)
    assert attempt.proxima_busca_em == attempt.iniciado_em + timedelta(minutes=5)
    assert search()["buscas"] == 0


def test_after_a_day_nobody_is_asked_any_more(lab: Bench) -> None:
    message = lost(lab.chip())
    plan_unknown()
    age(message, hours=24)
    assert search()["buscas"] == 0


# --- whom it does not ask


def test_an_open_circuit_is_left_alone(lab: Bench) -> None:
    message = lost(lab.chip())
    circuits.force_open("evolution", actor="ana", motivo="manutenção do provedor")
    before = lab.simulator.truth().totals[attempt_of(message).chip.instance_name].other_calls
    assert search() == {"buscas": 0, "confirmadas": 0, "adiadas": 1}
    assert lab.simulator.truth().totals[attempt_of(message).chip.instance_name].other_calls == before
    upcoming = attempt_of(message).proxima_busca_em
    assert upcoming is not None
    assert upcoming > database_now() + timedelta(seconds=50)


def test_a_provider_that_does_not_answer_is_asked_again_in_minutes(lab: Bench) -> None:
    chip = lab.chip()
    message = lost(chip)
    lab.simulator.fault("5xx", calls="other", status=503)
    assert search() == {"buscas": 0, "confirmadas": 0, "adiadas": 1}
    attempt = attempt_of(message)
    assert attempt.buscas == 0
    assert attempt.proxima_busca_em is not None
    assert timedelta(minutes=4) < attempt.proxima_busca_em - database_now() <= timedelta(minutes=5)
    assert told(message)[-1].startswith("busca_falhou:")


def test_outside_production_only_the_simulator_is_asked(lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    message = lost(lab.chip())
    monkeypatch.setattr(django_settings, "SIMULADOR_NONCE", "outro-nonce")
    before = lab.simulator.truth().totals[attempt_of(message).chip.instance_name].other_calls
    assert search()["adiadas"] == 1
    assert lab.simulator.truth().totals[attempt_of(message).chip.instance_name].other_calls == before


def test_a_cloned_database_asks_nobody(lab: Bench) -> None:
    message = lost(lab.chip())
    factories.set_setting("envio_travado", True)
    counts = reconciliar_incertas(database_now())
    assert (counts["buscas"], status_of(message)) == (0, "incerta")


def test_two_runs_at_once_do_not_ask_twice(lab: Bench) -> None:
    lost(lab.chip(), on_wire=False)
    plan_unknown()
    assert len(buscas._take(10)) == 1
    assert buscas._take(10) == []


def test_a_run_asks_about_as_many_as_it_was_told(lab: Bench) -> None:
    chip = lab.chip()
    for _ in range(3):
        lost(chip, on_wire=False)
    plan_unknown()
    assert buscas.run(now=database_now(), deadline_s=20, limit=2)["buscas"] == 2


def test_the_job_settles_and_counts(lab: Bench) -> None:
    message = lost(lab.chip())
    counts = reconciliar_incertas(database_now())
    assert (counts["processados"], counts["confirmadas"], status_of(message)) == (1, 1, "enviada")
    assert reconciliar_incertas(database_now())["processados"] == 0
