"""From a started campaign to its rows in the fila: due times, batches, crashes, races."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connections, transaction

from core.database import execute, rows
from fila.campanhas import audience, enqueue, services
from fila.campanhas.enqueue import State, continue_start, enqueue_step, prepare
from fila.campanhas.errors import CampanhaConflict
from fila.campanhas.planning import Plan
from fila.campanhas.status import summary
from fila.models import Campanha, Destinatario, Mensagem
from tests import factories

NOW = datetime(2026, 3, 3, 11, 0, tzinfo=UTC)  # Tuesday, 08:00 in Brasília
TEXT = "Oi {primeiro_nome}!"
MOTIVO = "motivo escrito no teste"


def created(**values: Any) -> Campanha:
    defaults: dict[str, Any] = {
        "nome": "Campanha",
        "tipo": "oferta",
        "corpo": TEXT,
        "filters": {"quantidade_alvo": 1000},
    }
    return services.create(**(defaults | values), actor="ana", now=NOW)


def begun(**values: Any) -> Campanha:
    return services.begin(created(**values).pk, actor="ana", now=NOW)


def prepared(people: int = 10, **values: Any) -> Campanha:
    factories.clientes(people)
    campanha = begun(**values)
    assert prepare(campanha.pk, now=NOW) is State.MORE
    campanha.refresh_from_db()
    return campanha


def due_times(campanha: Campanha) -> list[datetime]:
    """In the order of the audience."""
    found = rows(
        """SELECT f.agendar_para FROM campanha_destinatarios d
           JOIN fila_mensagens f ON f.campanha_id = d.campanha_id AND f.cliente_id = d.cliente_id
           WHERE d.campanha_id = %s ORDER BY d.ordem""",
        [campanha.pk],
    )
    return [row["agendar_para"] for row in found]


@pytest.mark.django_db
@pytest.mark.usefixtures("open_operation")
class TestDueTimes:
    @pytest.fixture(autouse=True)
    def five_chips_of_thirty_a_day(self, open_operation: None) -> None:
        """15 campaign messages a day each and 2 an hour: 10 an hour together."""
        factories.set_setting("janela_envio", {"inicio": "08:00", "fim": "20:00", "dias": [1, 2, 3, 4, 5]})
        for _ in range(5):
            factories.chip(limite_dia=30, limite_hora=5, delay_minimo_segundos=120)

    def test_they_are_those_of_the_plan_in_the_order_of_the_audience(self):
        factories.clientes(100)
        campanha = services.start(created().pk, actor="ana", now=NOW)
        due = due_times(campanha)
        assert due[0] == NOW
        assert all(before < after for before, after in pairwise(due))
        assert [sum(moment.day == day for moment in due) for day in (3, 4)] == [75, 25]
        segments = Plan.from_json(campanha.plano).segments
        for place, moment in enumerate(due, start=1):
            segment = segments[0] if place <= 75 else segments[1]
            assert segment.due(place, 0.0) <= moment < segment.due(place, 1.0)

    def test_the_same_people_get_the_same_due_times_again(self):
        campanha = prepared(20)
        with transaction.atomic():
            enqueue_step(campanha.pk, now=NOW)
            once = due_times(campanha)
            transaction.set_rollback(True)
        enqueue_step(campanha.pk, now=NOW)
        assert due_times(campanha) == once

    def test_the_campaign_says_how_many_on_which_day_and_when_it_ends(self):
        campanha = prepared(100)
        assert campanha.plano["dias"] == [
            {"dia": "2026-03-03", "quantidade": 75},
            {"dia": "2026-03-04", "quantidade": 25},
        ]
        assert campanha.termina_em == datetime(2026, 3, 4, 13, 30, tzinfo=UTC)

    def test_a_plan_keeps_to_the_hours_that_all_zones_share(self):
        factories.cliente(telefone="5568900000001")  # Rio Branco opens two hours after Brasília
        campanha = prepared(10)
        assert Plan.from_json(campanha.plano).segments[0].inicio == NOW + timedelta(hours=2)

    def test_a_second_campaign_is_planned_behind_the_first(self):
        factories.clientes(150)
        first = services.start(created(filters={"quantidade_alvo": 80}).pk, actor="ana", now=NOW)
        Mensagem.objects.update(expira_em=None)
        second = services.start(created(filters={"quantidade_alvo": 20}).pk, actor="ana", now=NOW)
        assert [entry["quantidade"] for entry in first.plano["dias"]] == [75, 5]
        assert second.plano["dias"] == [{"dia": "2026-03-04", "quantidade": 20}]

    def test_without_a_chip_the_messages_wait_and_the_plan_says_so(self):
        execute("DELETE FROM chips")
        factories.clientes(3)
        campanha = services.start(created().pk, actor="ana", now=NOW)
        assert campanha.plano["sem_capacidade"] is True
        assert campanha.plano["motivo"] == "sem_chip"
        assert campanha.termina_em is None
        assert Mensagem.objects.filter(status="pendente").count() == 3

    @pytest.mark.parametrize(
        "values",
        [
            {"status": "paused"}, {"tipo": "listener"}, {"bloqueio_manual": True}, {"pode_prospectar": False},
            {"trust_score": 59}, {"webhook_secret": ""},
        ],
    )  # fmt: skip
    def test_a_chip_that_may_not_prospect_is_no_capacity(self, values: dict[str, Any]):
        execute("DELETE FROM chips")
        factories.chip(**values)
        assert prepared(1).plano["motivo"] == "sem_chip"

    def test_reduced_trust_counts_only_where_no_chip_has_the_normal_one(self):
        factories.chip(trust_score=70)
        assert prepared(1).plano["chips"] == 5
        execute("DELETE FROM chips")
        factories.chip(trust_score=70)
        assert prepared(1).plano["chips"] == 1

    def test_a_chip_excluded_from_the_campaign_is_no_capacity(self):
        excluded = factories.chip(limite_dia=1000)
        assert prepared(1, filters={"chips_excluidos": [str(excluded.pk)]}).plano["chips"] == 5


@pytest.mark.django_db
@pytest.mark.usefixtures("open_operation")
class TestBatches:
    def test_a_batch_is_taken_in_the_order_of_the_audience_and_only_once(self):
        campanha = prepared(10)
        counts = [enqueue_step(campanha.pk, now=NOW, limit=4).enqueued for _ in range(3)]
        assert counts == [4, 4, 2]
        assert enqueue_step(campanha.pk, now=NOW, limit=4).state is State.DONE
        assert Mensagem.objects.values("cliente").distinct().count() == 10

    def test_a_message_that_exists_already_stays_as_it_is(self):
        campanha = prepared(2)
        known = Destinatario.objects.filter(campanha=campanha).order_by("ordem")[0].cliente
        factories.mensagem(cliente=known, campanha=campanha, conteudo="já estava aqui")
        assert enqueue_step(campanha.pk, now=NOW).enqueued == 1
        assert set(Mensagem.objects.values_list("conteudo", flat=True)) == {"já estava aqui", "Oi Médico!"}
        assert not Destinatario.objects.filter(estado="selecionado").exists()

    def test_the_end_is_written_once_everybody_is_in_the_fila(self):
        campanha = prepared(5)
        enqueue_step(campanha.pk, now=NOW, limit=3)
        campanha.refresh_from_db()
        assert campanha.enfileirada_em is None
        continue_start(campanha.pk, now=NOW)
        campanha.refresh_from_db()
        assert campanha.enfileirada_em == NOW

    def test_the_audience_is_chosen_once(self):
        campanha = prepared(3)
        factories.clientes(5)
        continue_start(campanha.pk, now=NOW)
        continue_start(campanha.pk, now=NOW)
        assert Mensagem.objects.count() == 3

    def test_a_paused_campaign_goes_on_being_enqueued(self):
        campanha = prepared(3)
        services.pause(campanha.pk, motivo=MOTIVO, actor="ana", now=NOW)
        assert continue_start(campanha.pk, now=NOW) == 3

    def test_a_person_whose_data_was_emptied_since_is_left_out_not_written_to_as_nobody(self):
        campanha = prepared(3)
        emptied = Destinatario.objects.filter(campanha=campanha).order_by("ordem")[1].cliente
        emptied.primeiro_nome = ""
        emptied.save()
        assert continue_start(campanha.pk, now=NOW) == 2
        campanha.refresh_from_db()
        assert (campanha.total_destinatarios, campanha.excluidas) == (2, {"variavel_vazia": 1})
        assert Destinatario.objects.get(estado="excluido").motivo_exclusao == "variavel_vazia"
        assert set(Mensagem.objects.values_list("conteudo", flat=True)) == {"Oi Médico!"}

    def test_a_start_resumed_a_day_later_is_planned_anew_for_those_still_missing(self):
        factories.chip()
        campanha = prepared(4)
        enqueue_step(campanha.pk, now=NOW, limit=2)
        later = NOW + timedelta(days=1)
        continue_start(campanha.pk, now=later)
        early, late = due_times(campanha)[:2], due_times(campanha)[2:]
        assert all(moment < NOW + timedelta(hours=1) for moment in early)
        assert all(moment >= later for moment in late)
        campanha.refresh_from_db()
        assert campanha.termina_em is not None
        assert campanha.termina_em > later

    def test_a_plan_with_a_gap_enqueues_nobody(self):
        campanha = prepared(4)
        cut = dict(campanha.plano["segmentos"][0], quantidade=2)
        Campanha.objects.filter(pk=campanha.pk).update(plano=campanha.plano | {"segmentos": [cut]})
        with pytest.raises(enqueue.PlanIncomplete), transaction.atomic():
            enqueue_step(campanha.pk, now=NOW)
        assert not Mensagem.objects.exists()


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def then_die(function: Callable[..., Any], *, call: int = 1) -> Callable[..., Any]:
    calls = itertools.count(1)

    def run(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return die() if next(calls) == call else result

    return run


def dying_on(call: int, function: Callable[..., Any]) -> Callable[..., Any]:
    calls = itertools.count(1)
    return lambda *args, **kwargs: die() if next(calls) == call else function(*args, **kwargs)


DEATHS: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "before the audience": (enqueue, "prepare", lambda real: die),
    "with the audience written and not committed": (audience, "freeze", then_die),
    "between audience and messages": (enqueue, "prepare", then_die),
    # prepare asks one statement; a batch asks for the lock, the status, and is written by its third.
    "with a batch written and not committed": (enqueue, "rows", lambda real: then_die(real, call=7)),
    "between batches": (enqueue, "enqueue_step", lambda real: dying_on(3, real)),
    "before the end is written": (enqueue, "_complete", lambda real: die),
}


def killed_while_going_on(campanha: Campanha, death: str) -> None:
    """A forked process goes on with the campaign in batches of two and dies there by SIGKILL."""
    parents = connections["default"].connection
    pid = os.fork()
    if pid == 0:
        connections["default"].connection = None  # the parent's socket stays open and unused in the child
        module, name, replaced = DEATHS[death]
        enqueue.BATCH = 2
        setattr(module, name, replaced(getattr(module, name)))
        try:
            continue_start(campanha.pk, now=NOW)
        finally:
            os._exit(int(parents is None))
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    wait_until_its_backend_is_gone()


def wait_until_its_backend_is_gone() -> None:
    """PostgreSQL keeps a dead client's transaction, and its advisory lock, until it notices."""
    deadline = time.monotonic() + 10
    others = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
    in_this_database = " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    while rows(others + in_this_database):
        assert time.monotonic() < deadline, "the dead process's backend still holds its lock"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("open_operation")
class TestCrash:
    @pytest.mark.parametrize("death", DEATHS)
    def test_a_start_that_dies_anywhere_is_finished_by_the_next_call(self, death: str):
        factories.chip()
        people = factories.clientes(7)
        campanha = begun()
        killed_while_going_on(campanha, death)

        continue_start(campanha.pk, now=NOW)
        assert sorted(Mensagem.objects.values_list("cliente_id", flat=True)) == sorted(person.pk for person in people)
        campanha.refresh_from_db()
        assert (campanha.total_destinatarios, campanha.enfileirada_em) == (7, NOW)

    def test_at_every_moment_of_a_broken_start_the_numbers_add_up(self):
        factories.clientes(7)
        campanha = begun()
        assert summary(campanha.pk)["audiencia"] == 0
        killed_while_going_on(campanha, "between batches")
        counted = summary(campanha.pk)
        assert (counted["audiencia"], counted["enfileiradas"], counted["pendentes"]) == (7, 4, 7)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("open_operation")
class TestRaces:
    def together(self, *acts: Callable[[], object]) -> list[object]:
        """All at once, each in a thread with a connection of its own; what each returned or raised."""
        barrier = threading.Barrier(len(acts))
        results: list[object] = [None] * len(acts)

        def run(index: int) -> None:
            barrier.wait()
            try:
                results[index] = acts[index]()
            except CampanhaConflict as error:
                results[index] = error
            finally:
                connections.close_all()

        threads = [threading.Thread(target=run, args=(index,)) for index in range(len(acts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return results

    def test_of_many_starts_one_wins_and_everybody_gets_one_message(self):
        factories.clientes(50)
        campanha = created()
        results = self.together(*[lambda: services.start(campanha.pk, actor="ana", now=NOW)] * 4)
        lost = [result for result in results if isinstance(result, CampanhaConflict)]
        assert len(lost) == 3
        assert {error.status for error in lost} == {"ativa"}
        assert Mensagem.objects.count() == 50
        assert Destinatario.objects.count() == 50

    def test_several_processes_going_on_with_one_start_enqueue_everybody_once(self):
        factories.clientes(60)
        campanha = begun()

        def go_on() -> None:
            for _ in range(40):
                continue_start(campanha.pk, now=NOW)

        with patch.object(enqueue, "BATCH", 5):
            self.together(*[go_on] * 3)
        campanha.refresh_from_db()
        assert Mensagem.objects.count() == 60
        assert campanha.enfileirada_em == NOW

    def test_a_cancel_during_the_enqueue_leaves_no_row_pendente(self):
        factories.clientes(400)
        campanha = begun()
        prepare(campanha.pk, now=NOW)

        def enqueue_in_small_batches() -> None:
            while enqueue_step(campanha.pk, now=NOW, limit=5).state in (State.MORE, State.BUSY):
                pass

        self.together(
            enqueue_in_small_batches,
            lambda: services.cancel(campanha.pk, motivo=MOTIVO, actor="ana", now=NOW),
        )
        assert not Mensagem.objects.exclude(status="cancelada").exists()
        counted = summary(campanha.pk)
        assert (counted["audiencia"], counted["canceladas"], counted["pendentes"]) == (400, 400, 0)

    def test_who_cancels_while_the_audience_is_chosen_wins_and_does_not_wait(self):
        factories.clientes(5)
        campanha = begun()
        at_it, go_on = threading.Event(), threading.Event()
        frozen = enqueue._frozen

        def slowly(*args: Any) -> dict[str, Any]:
            values = frozen(*args)
            at_it.set()
            assert go_on.wait(30)
            return values

        def choose() -> object:
            with patch.object(enqueue, "_frozen", slowly):
                return prepare(campanha.pk, now=NOW)

        def cancel() -> int:
            assert at_it.wait(30)
            cancelled = services.cancel(campanha.pk, motivo=MOTIVO, actor="ana", now=NOW)
            go_on.set()
            return cancelled

        assert self.together(choose, cancel) == [State.STOPPED, 0]
        assert not Destinatario.objects.exists()
