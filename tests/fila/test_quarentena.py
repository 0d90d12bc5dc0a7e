"""Poison: which message is taken out because consumers die of it, and which ones only stood beside it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chips.simulator.client import SimulatorProcess
from core.alerts.models import Alerta
from core.clock import database_now
from core.database import execute
from core.health import beats
from fila.models import Mensagem, MensagemDlq, MensagemEvento
from fila.quarentena import DIED, Death, Line, Suspect, deaths_in_a_row, is_poison, spread_s
from fila.rescue import rescue_expired_leases
from tests import factories
from tests.conftest import connect
from tests.factories import set_setting
from tests.fila.held import attempt_of, hold
from tests.fila.killing import KillHarness

NOW = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)


def death(dono: str, minute: int = 0) -> Death:
    return Death(dono, NOW + timedelta(minutes=minute), None, 1, minute)


def line(motivo: str = DIED, dono: str = "a", minute: int = 0, **detalhes: Any) -> Line:
    return Line(minute, NOW + timedelta(minutes=minute), motivo, {"dono": dono, "morte": True, "juntas": 1} | detalhes)


# --- the rule


@pytest.mark.parametrize(
    ("deaths", "mates", "others", "limit", "guilty"),
    [
        (3, 0, 0, 3, True),  # alone, three consumers
        (2, 0, 0, 3, False),
        (3, 1, 0, 3, True),  # its mates are new
        (3, 2, 0, 3, True),
        (3, 3, 0, 3, False),  # nobody can tell it from a mate
        (3, 5, 0, 3, False),  # the mate is more suspect
        (3, 0, 1, 3, False),  # consumers die of something else too
        (4, 0, 1, 3, True),
        (9, 0, 12, 3, False),
        (2, 0, 0, 2, True),
    ],
)
def test_when_a_message_is_poison(deaths: int, mates: int, others: int, limit: int, guilty: bool) -> None:
    suspect = Suspect(tuple(death(str(n), n) for n in range(deaths)), mates, others)
    assert is_poison(suspect, limit) is guilty


@given(st.integers(2, 12), st.integers(0, 12), st.integers(0, 12), st.integers(2, 8))
def test_of_rows_that_always_died_together_none_is_poison(deaths: int, mates: int, others: int, limit: int) -> None:
    suspect = Suspect(tuple(death(str(n), n) for n in range(deaths)), max(mates, deaths), others)
    assert not is_poison(suspect, limit)


@pytest.mark.parametrize(
    ("story", "attempt", "donos"),
    [
        ([], None, []),
        ([line(dono="b", minute=2), line(dono="a", minute=1)], None, ["a", "b"]),
        ([line(dono="a", minute=2), line(dono="a", minute=1)], None, ["a"]),  # it was alive after all
        ([line(dono="b", minute=3), line("quiet_hours", minute=2), line(dono="a", minute=1)], None, ["b"]),
        ([line("quiet_hours", minute=2), line(dono="a", minute=1)], None, []),
        ([line(dono="b", minute=3), line(dono="a", minute=1)], NOW + timedelta(minutes=2), ["b"]),
        ([line(dono="b", minute=3, morte=False), line(dono="a", minute=1)], None, ["a"]),
        ([line(dono="", minute=3)], None, []),
    ],
)
def test_only_deaths_in_a_row_count(story: Sequence[Line], attempt: datetime | None, donos: list[str]) -> None:
    assert [one.dono for one in deaths_in_a_row(story, attempt)] == donos


def test_a_first_death_keeps_its_place_and_later_ones_come_back_apart() -> None:
    assert [spread_s(1, place) for place in range(3)] == [0, 0, 0]
    assert [spread_s(2, place) for place in range(3)] == [0, 2, 4]


# --- in the fila


def dies(*messages: Mensagem, dono: str) -> dict[str, int]:
    """A consumer took them, died before it attempted anything, and its leases ran out."""
    hold(*messages, dono=dono)
    return rescue_expired_leases()


def states(*messages: Mensagem) -> list[str]:
    return [Mensagem.objects.get(pk=message.pk).status for message in messages]


def deaths_of(message: Mensagem) -> int:
    return Mensagem.objects.get(pk=message.pk).mortes


@pytest.fixture
def message(open_operation: None) -> Mensagem:
    return factories.mensagem(campanha=factories.campanha())


@pytest.mark.django_db
class TestQuarantine:
    def test_a_message_that_outlives_three_consumers_is_quarantined_with_its_evidence(self, message: Mensagem):
        execute("UPDATE fila_mensagens SET erro = 'erro de antes' WHERE id = %s", [message.pk])
        assert dies(message, dono="w1")["devolvidas"] == 1
        assert dies(message, dono="w2")["devolvidas"] == 1
        assert states(message) == ["pendente"]
        assert dies(message, dono="w3") == {
            "devolvidas": 0, "incertas": 0, "tentativas_sem_dono": 0, "quarentena": 1,
        }  # fmt: skip
        message.refresh_from_db()
        assert (message.status, message.outcome, message.outcome_reason_code, message.mortes) == (
            "erro", "FAILED_TIMEOUT", "quarentena:3_mortes", 3,
        )  # fmt: skip
        assert (message.lease_ate, message.lease_owner) == (None, "")
        failure = MensagemDlq.objects.get()
        assert failure.quarentena
        assert [each["dono"] for each in failure.evidencia["mortes"]] == ["w1", "w2", "w3"]
        assert all(each["em"] and each["lease_ate"] and each["juntas"] == 1 for each in failure.evidencia["mortes"])
        assert failure.evidencia["ultimo_erro"] == "erro de antes"
        alerta = Alerta.objects.get()
        assert (alerta.tipo, alerta.chave) == ("mensagem_em_quarentena", f"mensagem:{message.pk}")
        assert message.telefone_destino not in str(alerta.contexto) + alerta.mensagem
        assert MensagemEvento.objects.get(mensagem=message, tipo="falha").motivo == "quarentena:3_mortes"

    def test_each_death_is_a_line_of_its_story_with_who_died(self, message: Mensagem):
        dies(message, dono="w1")
        told = MensagemEvento.objects.get(mensagem=message)
        assert (told.tipo, told.motivo) == ("retomada", "lease_expirado")
        assert (told.detalhes["dono"], told.detalhes["morte"], told.detalhes["juntas"]) == ("w1", True, 1)
        assert told.detalhes["lease_ate"]

    def test_the_limit_is_a_setting(self, message: Mensagem):
        set_setting("mortes_para_quarentena", 2)
        dies(message, dono="w1")
        assert dies(message, dono="w2")["quarentena"] == 1

    def test_the_same_consumer_counts_once(self, message: Mensagem):
        for _ in range(5):
            assert dies(message, dono="w1")["quarentena"] == 0
        assert deaths_of(message) == 1

    def test_a_consumer_that_stopped_in_order_never_counts(self, message: Mensagem):
        for dono in ("w1", "w2", "w3", "w4"):
            beats.beat("worker", dono)
            beats.close(dono)
            assert dies(message, dono=dono)["devolvidas"] == 1
        assert deaths_of(message) == 0

    def test_a_consumer_that_still_lives_never_counts(self, message: Mensagem):
        for dono in ("w1", "w2", "w3"):
            hold(message, dono=dono)
            beats.beat("worker", dono)
            assert rescue_expired_leases()["devolvidas"] == 1
        assert deaths_of(message) == 0

    def test_one_that_hung_until_it_was_killed_counts(self, message: Mensagem):
        for dono in ("w1", "w2", "w3"):
            beats.beat("worker", dono)
            execute("UPDATE role_beats SET beat_at = agora() - interval '150 seconds'")
            dies(message, dono=dono)
        assert states(message) == ["erro"]

    def test_a_row_without_an_owner_accuses_nobody(self, message: Mensagem):
        for _ in range(4):
            dies(message, dono="")
        assert (states(message), deaths_of(message)) == (["pendente"], 0)

    def test_with_its_attempt_open_it_is_uncertain_and_no_death_counts(self, message: Mensagem):
        hold(message, dono="w1")
        attempt_of(message)
        assert rescue_expired_leases()["incertas"] == 1
        assert (states(message), deaths_of(message)) == (["incerta"], 0)

    def test_whatever_is_decided_in_between_acquits(self, message: Mensagem):
        dies(message, dono="w1")
        dies(message, dono="w2")
        MensagemEvento.objects.create(mensagem=message, tipo="adiada", motivo="quiet_hours", em=database_now())
        assert dies(message, dono="w3")["quarentena"] == 0
        assert deaths_of(message) == 1

    def test_an_attempt_in_between_acquits(self, message: Mensagem):
        dies(message, dono="w1")
        dies(message, dono="w2")
        attempt_of(message, resultado="rejeitado")
        assert dies(message, dono="w3")["quarentena"] == 0
        assert deaths_of(message) == 1

    def test_of_a_mass_death_nobody_is_quarantined(self, open_operation: None):
        """Sixty rows in the hands of three consumers that die one after the other: who is guilty is not known."""
        messages = factories.mensagens(60, campanha=factories.campanha())
        for dono in ("w1", "w2", "w3", "w4"):
            assert dies(*messages, dono=dono)["quarentena"] == 0
        assert not MensagemDlq.objects.exists()

    def test_the_guilty_one_is_told_from_its_batch_mates(self, open_operation: None):
        guilty, *mates = factories.mensagens(10, campanha=factories.campanha())
        new = factories.mensagens(4, campanha=factories.campanha())
        dies(guilty, *mates, dono="w1")
        dies(guilty, *mates, dono="w2")
        assert dies(guilty, *new, dono="w3")["quarentena"] == 1
        assert states(guilty, *new) == ["erro", *["pendente"] * 4]
        assert {deaths_of(each) for each in new} == {1}

    def test_after_a_second_death_mates_come_back_apart(self, open_operation: None):
        messages = factories.mensagens(4, campanha=factories.campanha())
        before = list(Mensagem.objects.values_list("agendar_para", flat=True))
        dies(*messages, dono="w1")
        assert sorted(Mensagem.objects.values_list("agendar_para", flat=True)) == sorted(before)
        dies(*messages, dono="w2")
        due = sorted(Mensagem.objects.values_list("agendar_para", flat=True))
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(due)]
        assert all(gap >= 1.9 for gap in gaps)

    def test_where_consumers_die_of_something_else_too_more_deaths_are_asked_for(self, message: Mensagem):
        dies(message, dono="w1")
        on_the_wire = factories.mensagem()
        hold(on_the_wire, dono="doente")
        attempt_of(on_the_wire)
        rescue_expired_leases()
        dies(message, dono="w2")
        assert dies(message, dono="w3")["quarentena"] == 0
        assert dies(message, dono="w4")["quarentena"] == 1
        assert MensagemDlq.objects.get().evidencia["outras_mortes"] == 1

    def test_what_its_victims_had_on_the_wire_is_no_other_death(self, message: Mensagem):
        for dono in ("w1", "w2", "w3"):
            beside = factories.mensagem()
            hold(beside, dono=dono)
            attempt_of(beside)
            dies(message, dono=dono)
        assert MensagemDlq.objects.get().evidencia["outras_mortes"] == 0

    def test_its_campaign_is_no_longer_kept_open_by_it(self, message: Mensagem):
        for dono in ("w1", "w2", "w3"):
            dies(message, dono=dono)
        assert not Mensagem.objects.open().exists()


@pytest.mark.django_db
class TestRescue:
    def test_of_a_cancelled_campaign_it_ends_and_says_so(self, open_operation: None):
        message = factories.mensagem(campanha=factories.campanha(status="cancelada"))
        dies(message, dono="w1")
        assert states(message) == ["cancelada"]
        assert MensagemEvento.objects.get(mensagem=message).tipo == "cancelada"

    def test_somebody_whose_state_is_gone_is_rescued_too(self, message: Mensagem):
        execute("DELETE FROM doctor_state WHERE cliente_id = %s", [message.cliente_id])
        assert dies(message, dono="w1")["devolvidas"] == 1

    def test_a_lease_that_runs_is_left_alone(self, message: Mensagem):
        hold(message, minutes_ago=1)
        assert rescue_expired_leases()["devolvidas"] == 0
        assert states(message) == ["processando"]


@pytest.mark.django_db(transaction=True)
def test_a_poisonous_message_is_taken_out_and_no_other_one_is(
    simulator: SimulatorProcess, open_operation: None
) -> None:
    """Real processes that die of it, one after the other: the fila flows again by itself.

    A call that was open when its process died leaves its message `incerta`, as any death does.
    """
    connect(simulator, *(factories.chip() for _ in range(6)))
    campanha = factories.campanha()
    innocents = factories.mensagens(30, campanha=campanha)
    poison = factories.mensagem(campanha=campanha, conteudo="veneno")
    with KillHarness(simulator) as harness:
        for seed in range(25):
            died = harness.worker(step="poison", senders=8, deadline_s=2.5, seed=seed)
            if not (died or Mensagem.objects.filter(status__in=["pendente", "processando"]).exists()):
                break
    assert states(poison) == ["erro"]
    assert set(states(*innocents)) <= {"enviada", "incerta"}
    assert states(*innocents).count("enviada") >= 15
    assert [falha.mensagem_original_id for falha in MensagemDlq.objects.filter(quarentena=True)] == [poison.pk]
    truth = simulator.truth()
    assert not truth.duplicates
    assert poison.telefone_destino not in {record.recipient for record in truth.records}
