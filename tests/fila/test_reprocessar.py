"""Reprocessing: the dry run is the run, nothing goes twice, and what may have arrived is not sent again by itself."""

import random
from collections.abc import Callable
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.db import connection, transaction
from redis.exceptions import ConnectionError as RedisConnectionError

from chips.simulator.client import SimulatorProcess
from core.alerts.models import Alerta, Severidade
from core.alerts.services import raise_alert
from core.audit.models import AuditEntry
from core.audit.services import MotivoMissing
from core.clock import database_now
from core.database import execute
from core.jobs import runner
from core.jobs.deadline import Deadline
from fila.models import Campanha, Mensagem, MensagemDlq, MensagemEvento, Reprocessamento
from fila.reprocessar import services, tasks
from fila.reprocessar.choices import Recusa
from fila.reprocessar.errors import FalhaInexistente, FiltroInvalido, Ocupada, Recusada
from fila.reprocessar.filters import Filtros
from fila.reprocessar.metrics import obter_metricas_dlq
from fila.reprocessar.planning import judge
from tests import factories
from tests.conftest import connect
from tests.fila.drains import drain
from tests.fila.failures import failed, failures, in_dlq
from tests.fila.held import attempt_of

pytestmark = pytest.mark.django_db

MOTIVO = "o provedor voltou a responder"
EVERYTHING = Filtros()


def reprocess(filtros: Filtros = EVERYTHING, *, actor: str = "ana") -> Reprocessamento:
    return services.reprocess(filtros, actor=actor, motivo=MOTIVO, rng=random.Random(1), now=database_now())


def one(falha: MensagemDlq, *, actor: str = "ana", forcar: bool = False) -> UUID:
    return services.reprocess_one(
        falha.pk, actor=actor, motivo=MOTIVO, rng=random.Random(1), now=database_now(), forcar=forcar
    )


def refusal(falha: MensagemDlq, *, quarentena: bool = False, forcar: bool = False) -> Recusa | None:
    return judge([falha.pk], quarentena=quarentena, forcar=forcar)[0].recusa


class TestNewRow:
    def test_it_is_the_same_message_again_linked_to_the_one_that_failed(self):
        campanha = factories.campanha()
        falha = failed(
            campanha=campanha, prioridade=3, metadata={"pode_ofertar": True}, max_tentativas=2, mortes=1,
            inbound_interacao_id=7,
        )  # fmt: skip
        new = Mensagem.objects.get(pk=one(falha))
        old = falha.mensagem_original
        assert (new.cliente_id, new.campanha_id, new.conteudo, new.tipo, new.prioridade, new.max_tentativas) == (
            old.cliente_id, campanha.pk, old.conteudo, "campanha", 3, 2,
        )  # fmt: skip
        assert (new.reprocessa_de_id, new.reenvio_n, new.idempotency_key) == (old.pk, 1, f"dlq:{falha.pk}")
        assert new.metadata == {"pode_ofertar": True, "reprocessado_de_dlq": str(falha.pk)}
        assert (new.status, new.tentativas, new.mortes, new.outcome, new.erro, new.chip_id) == (
            "pendente", 0, 0, None, None, None,
        )  # fmt: skip
        assert new.inbound_interacao_id == 7

    def test_the_one_that_failed_stays_and_says_who_when_and_in_which_run(self):
        falha = failed()
        new = one(falha)
        falha.refresh_from_db()
        assert (falha.reprocessado, falha.reprocessado_por) == (True, "ana")
        assert falha.reprocessado_em is not None
        run = Reprocessamento.objects.get()
        assert falha.reprocessamento == run
        assert (run.usuario, run.motivo, run.resultado["reprocessadas"]) == ("ana", MOTIVO, 1)
        assert run.concluido_em is not None
        old = Mensagem.objects.get(pk=falha.mensagem_original_id)
        assert (old.status, old.outcome) == ("erro", "FAILED_PROVIDER")
        told = MensagemEvento.objects.get(mensagem=old)
        assert (told.motivo, told.detalhes) == ("reprocessada", {"por": "ana", "nova": str(new)})
        assert MensagemEvento.objects.get(mensagem_id=new).detalhes == {"por": "ana", "reprocessa": str(old.pk)}
        entry = AuditEntry.objects.get(acao="fila_reprocessada")
        assert (entry.usuario, entry.motivo, entry.entidade_id) == ("ana", MOTIVO, str(run.pk))

    def test_it_goes_to_the_number_that_the_person_has_today(self):
        falha = failed()
        person = falha.mensagem_original.cliente
        person.telefone = "5511900009999"
        person.save()
        assert Mensagem.objects.get(pk=one(falha)).telefone_destino == "5511900009999"

    def test_a_failure_of_the_new_one_can_be_reprocessed_again(self):
        first = failed(campanha=factories.campanha())
        second = Mensagem.objects.get(pk=one(first))
        Mensagem.objects.filter(pk=second.pk).update(status="erro")
        third = Mensagem.objects.get(pk=one(in_dlq(second)))
        assert (third.reenvio_n, third.reprocessa_de_id) == (2, second.pk)

    def test_a_number_already_taken_is_passed_over(self):
        falha = failed(campanha=factories.campanha())
        old = falha.mensagem_original
        factories.mensagem(campanha=old.campanha, cliente=old.cliente, reenvio_n=4, status="cancelada")
        assert Mensagem.objects.get(pk=one(falha)).reenvio_n == 5

    def test_two_of_one_person_in_one_campaign_get_two_numbers(self):
        falha = failed(campanha=factories.campanha())
        old = falha.mensagem_original
        in_dlq(factories.mensagem(campanha=old.campanha, cliente=old.cliente, reenvio_n=1, status="erro"))
        assert reprocess().resultado["reprocessadas"] == 2
        assert sorted(Mensagem.objects.pendentes().values_list("reenvio_n", flat=True)) == [2, 3]

    def test_they_are_due_one_after_the_other_and_live_a_day_from_then(self):
        failures(20)
        before = database_now()
        reprocess()
        rows = list(Mensagem.objects.pendentes().order_by("agendar_para"))
        due = [(row.agendar_para - before).total_seconds() for row in rows]
        assert all(2 * n <= at < 2 * (n + 1) + 5 for n, at in enumerate(due))
        assert len(set(due)) == 20
        assert all(row.expira_em and row.expira_em - row.agendar_para == timedelta(hours=24) for row in rows)

    def test_a_large_run_is_spread_over_an_hour_at_most(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(services, "LONGEST_SPREAD_S", 20.0)
        failures(40)
        before = database_now()
        reprocess()
        last = Mensagem.objects.pendentes().order_by("-agendar_para")[0]
        assert last.agendar_para - before < timedelta(seconds=25)

    def test_the_campaign_runs_again(self):
        campanha = factories.campanha(status="concluida", concluida_em=database_now(), enfileirada_em=database_now())
        one(failed(campanha=campanha))
        campanha.refresh_from_db()
        assert (campanha.status, campanha.concluida_em) == ("ativa", None)
        assert AuditEntry.objects.get(acao="campanha_reaberta").usuario == "ana"

    def test_of_a_paused_campaign_it_waits_with_the_others(self):
        campanha = factories.campanha(status="pausada")
        one(failed(campanha=campanha))
        campanha.refresh_from_db()
        assert campanha.status == "pausada"


def _moved(status: str) -> MensagemDlq:
    falha = failed()
    Mensagem.objects.filter(pk=falha.mensagem_original_id).update(status=status)
    return falha


def _undelivered() -> MensagemDlq:
    falha = failed()
    attempt_of(falha.mensagem_original, resultado="enviado", nao_entregue_em=database_now())
    return falha


def _opted_out(tipo: str) -> MensagemDlq:
    falha = failed(tipo=tipo)
    execute(
        "UPDATE doctor_state SET permission_state='opted_out', opted_out_at=agora() WHERE cliente_id=%s",
        [falha.mensagem_original.cliente_id],
    )
    return falha


REASONS: list[tuple[str, Callable[[], MensagemDlq], Recusa | None]] = [
    ("plain", failed, None),
    ("refused attempts", lambda: failed(attempts=("rejeitado", "rejeitado")), None),
    ("status moved on", lambda: _moved("enviada"), Recusa.MUDOU_DE_SITUACAO),
    ("waits again", lambda: _moved("pendente"), Recusa.MUDOU_DE_SITUACAO),
    ("accepted", lambda: failed(attempts=("rejeitado", "enviado")), Recusa.JA_SAIU),
    ("on the wire", lambda: failed(attempts=("iniciado",)), Recusa.EM_ENVIO),
    ("unknown", lambda: failed(attempts=("rejeitado", "desconhecido")), Recusa.TENTATIVA_DESCONHECIDA),
    ("undelivered", _undelivered, None),
    ("quarantined", lambda: failed(quarentena=True), Recusa.QUARENTENA),
    ("opted out", lambda: _opted_out("campanha"), Recusa.OPT_OUT),
    ("confirmation", lambda: _opted_out("confirmacao_opt_out"), None),
    ("invalid", lambda: failed(cliente=factories.cliente(status_telefone="invalido")), Recusa.NUMERO_INVALIDO),
    ("deleted", lambda: failed(cliente=factories.cliente(deleted_at=database_now())), Recusa.NUMERO_INVALIDO),
    ("cancelled", lambda: failed(campanha=factories.campanha(status="cancelada")), Recusa.CAMPANHA_CANCELADA),
    ("ended campaign", lambda: failed(campanha=factories.campanha(status="concluida")), None),
]


class TestRefusals:
    @pytest.mark.parametrize(("make", "expected"), [each[1:] for each in REASONS], ids=[each[0] for each in REASONS])
    def test_what_is_refused_and_why(self, make: Callable[[], MensagemDlq], expected: Recusa | None):
        falha = make()
        assert refusal(falha) == expected
        run = reprocess(Filtros(ids=(falha.pk,)))
        assert run.resultado["recusas"] == ({expected.value: 1} if expected else {})
        assert run.resultado["reprocessadas"] == (0 if expected else 1)

    def test_the_dry_run_of_all_of_them_is_the_run(self):
        for _name, make, _expected in REASONS:
            make()
        before = services.preview(EVERYTHING)
        rows = Mensagem.objects.count()
        run = reprocess()
        assert run.resultado["total"] == before.total == len(REASONS)
        assert run.resultado["reprocessadas"] == before.reprocessaveis
        assert run.resultado["recusas"] == {reason.value: count for reason, count in before.recusas.items()}
        assert Mensagem.objects.count() == rows + before.reprocessaveis

    def test_a_dry_run_changes_nothing(self):
        failures(3)
        services.preview(EVERYTHING)
        assert not Reprocessamento.objects.exists()
        assert not MensagemDlq.objects.filter(reprocessado=True).exists()

    def test_quarantined_ones_are_taken_when_that_is_asked_for(self):
        falha = failed(quarentena=True)
        raise_alert(
            "mensagem_em_quarentena", f"mensagem:{falha.mensagem_original_id}", severidade=Severidade.ERROR,
            titulo="em quarentena", mensagem="em quarentena",
        )  # fmt: skip
        assert reprocess().resultado["recusas"] == {"quarentena": 1}
        assert reprocess(Filtros(quarentena=True)).resultado["reprocessadas"] == 1
        assert Alerta.objects.get().resolvido_em is not None

    def test_whoever_names_one_has_seen_that_it_is_in_quarantine(self):
        new = one(failed(quarentena=True))
        assert Mensagem.objects.get(pk=new).status == "pendente"

    def test_one_that_may_have_arrived_goes_only_when_it_is_forced(self):
        falha = failed(attempts=("desconhecido",))
        with pytest.raises(Recusada, match="pode ter chegado"):
            one(falha)
        assert Mensagem.objects.get(pk=one(falha, forcar=True)).status == "pendente"

    @pytest.mark.parametrize("attempt", ["enviado", "iniciado"])
    def test_forcing_never_repeats_what_was_accepted_or_is_on_the_wire(self, attempt: str):
        with pytest.raises(Recusada):
            one(failed(attempts=(attempt,)), forcar=True)

    @pytest.mark.parametrize(("make", "expected"), [each[1:] for each in REASONS if each[2]])
    def test_a_single_one_is_refused_in_a_sentence_and_leaves_no_trace(
        self, make: Callable[[], MensagemDlq], expected: Recusa
    ):
        falha = make()
        if expected is Recusa.QUARENTENA:
            return
        with pytest.raises(Recusada) as refused:
            one(falha)
        assert refused.value.recusa is expected
        assert expected.label in refused.value.sentence
        assert not Reprocessamento.objects.exists()
        assert not AuditEntry.objects.exists()

    def test_without_a_motivo_nothing_happens(self):
        falha = failed()
        with pytest.raises(MotivoMissing):
            services.reprocess(EVERYTHING, actor="ana", motivo="curto", rng=random.Random(1), now=database_now())
        with pytest.raises(MotivoMissing):
            services.reprocess_one(falha.pk, actor="ana", motivo="", rng=random.Random(1), now=database_now())
        assert not Reprocessamento.objects.exists()

    def test_one_that_does_not_exist_is_said_so(self):
        with pytest.raises(FalhaInexistente):
            services.reprocess_one(UUID(int=3), actor="ana", motivo=MOTIVO, rng=random.Random(1), now=database_now())


class TestTwice:
    def test_three_runs_make_no_duplicate(self):
        failures(12, campanha=factories.campanha())
        assert [reprocess().resultado["reprocessadas"] for _ in range(3)] == [12, 0, 0]
        assert Mensagem.objects.pendentes().count() == 12
        assert Reprocessamento.objects.order_by("-iniciado_em")[0].resultado["recusas"] == {"ja_reprocessada": 12}

    def test_whoever_comes_second_is_told_who_was_first_and_when(self):
        falha = failed()
        one(falha, actor="ana")
        with pytest.raises(Recusada) as refused:
            one(falha, actor="bia")
        falha.refresh_from_db()
        assert falha.reprocessado_em
        assert refused.value.sentence.startswith("Esta falha já foi reprocessada por ana em ")
        assert " às " in refused.value.sentence
        assert falha.reprocessado_por == "ana"

    def test_a_mark_that_raw_sql_took_away_does_not_send_it_twice(self):
        falha = failed()
        one(falha)
        execute("UPDATE fila_mensagens_dlq SET reprocessado = false, reprocessado_por = NULL, reprocessado_em = NULL")
        assert reprocess().resultado["recusas"] == {"ja_reprocessada": 1}
        assert Mensagem.objects.pendentes().count() == 1


class TestFilters:
    @pytest.fixture
    def world(self) -> dict[str, Any]:
        chip, campanha = factories.chip(), factories.campanha()
        now = database_now()
        return {
            "chip": chip,
            "campanha": campanha,
            "now": now,
            "of_campaign": failed(campanha=campanha),
            "banned": failed(outcome="FAILED_BANNED", outcome_reason_code="account_restricted:forbidden"),
            "of_chip": failed(chip=chip, outcome_reason_code="server_error:500"),
            "old": in_dlq(failed().mensagem_original, movido_para_dlq_em=now - timedelta(days=3)),
            "feedback": failed(tipo="feedback", outcome_reason_code="network%error"),
        }

    @pytest.mark.parametrize(
        ("given", "found"),
        [
            (lambda w: {"campanha": str(w["campanha"].pk)}, ["of_campaign"]),
            (lambda w: {"outcome": "FAILED_BANNED"}, ["banned"]),
            (lambda w: {"motivo": "account_restricted"}, ["banned"]),
            (lambda w: {"motivo": "account%"}, []),
            (lambda w: {"motivo": "network%"}, ["feedback"]),
            (lambda w: {"motivo": "server_error:5"}, ["of_chip"]),
            (lambda w: {"chip": str(w["chip"].pk)}, ["of_chip"]),
            (lambda w: {"tipo": "feedback"}, ["feedback"]),
            (lambda w: {"ate": w["now"] - timedelta(days=1)}, ["old"]),
            (lambda w: {"desde": w["now"] - timedelta(days=4), "ate": w["now"] - timedelta(days=2)}, ["old"]),
            (lambda w: {"desde": w["now"] - timedelta(days=4), "tipo": "feedback"}, ["feedback"]),
            (lambda w: {"ids": f"{w['old'].pk},{w['banned'].pk}"}, ["banned", "old"]),
            (lambda w: {"ids": [str(w["old"].pk)], "outcome": "FAILED_BANNED"}, []),
        ],
    )
    def test_a_run_takes_exactly_what_is_asked_for(
        self, given: Callable[[dict[str, Any]], dict[str, Any]], found: list[str], world: dict[str, Any]
    ):
        filtros = Filtros.parse(given(world))
        assert Filtros.parse(filtros.as_json()) == filtros
        assert services.preview(filtros).total == len(found)
        reprocess(filtros)
        taken = set(MensagemDlq.objects.filter(reprocessado=True).values_list("pk", flat=True))
        assert taken == {world[name].pk for name in found}

    @pytest.mark.parametrize(
        "given",
        [
            {"outcome": "FALHOU"},
            {"campanha": "dezesseis"},
            {"chip": "abc"},
            {"ids": "abc"},
            {"desde": "ontem"},
            {"desde": "2026-03-04", "ate": "2026-03-03"},
        ],
    )
    def test_what_cannot_be_read_is_refused(self, given: dict[str, str]):
        with pytest.raises(FiltroInvalido):
            Filtros.parse(given)

    def test_a_date_is_a_day_of_brasilia(self):
        parsed = Filtros.parse({"desde": "2026-03-03"})
        assert parsed.desde
        assert parsed.desde.isoformat() == "2026-03-03T00:00:00-03:00"


class TestBackground:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(services, "AT_ONCE", 5)
        monkeypatch.setattr(services, "BATCH", 4)

    def ask(self, django_capture_on_commit_callbacks: Any) -> tuple[Reprocessamento, list[Any]]:
        with (
            patch("fila.reprocessar.services.async_task") as offered,
            django_capture_on_commit_callbacks(execute=True),
        ):
            run = reprocess()
        return run, offered.call_args_list

    def test_a_large_run_is_a_row_first_and_the_broker_gets_its_id(self, django_capture_on_commit_callbacks: Any):
        failures(11)
        run, offered = self.ask(django_capture_on_commit_callbacks)
        assert run.concluido_em is None
        assert run.resultado["total"] == 11
        assert [call.args for call in offered] == [(services.TASK, str(run.pk))]
        assert not Mensagem.objects.pendentes().exists()
        assert tasks.continuar_reprocessamento(str(run.pk)) == "concluído"
        run.refresh_from_db()
        assert (run.resultado["reprocessadas"], run.resultado["recusas"]) == (11, {})
        assert Reprocessamento.objects.filter(concluido_em__isnull=False).exists()
        assert set(MensagemDlq.objects.values_list("reprocessamento_id", flat=True)) == {run.pk}

    def test_a_broker_that_is_away_loses_nothing(self, django_capture_on_commit_callbacks: Any):
        failures(11)
        with (
            patch("fila.reprocessar.services.async_task", side_effect=RedisConnectionError),
            django_capture_on_commit_callbacks(execute=True),
        ):
            run = reprocess()
        assert tasks.offer_untaken(database_now()) == 0
        with patch("fila.reprocessar.tasks.offer") as offered:
            assert tasks.offer_untaken(database_now() + timedelta(minutes=3)) == 1
        offered.assert_called_once_with(run.pk)

    def test_a_task_that_dies_between_batches_is_continued_where_it_was(self, django_capture_on_commit_callbacks: Any):
        failures(11)
        run, _ = self.ask(django_capture_on_commit_callbacks)
        with transaction.atomic():
            services._step(run.pk, rng=random.Random(1), now=database_now())
        with pytest.raises(RuntimeError), patch.object(services, "_count", side_effect=RuntimeError):
            services.continue_run(
                run.pk, rng=random.Random(1), now=database_now(), deadline=Deadline(timedelta(seconds=60))
            )
        assert Mensagem.objects.pendentes().count() == 4
        assert tasks.continuar_reprocessamento(str(run.pk)) == "concluído"
        assert tasks.continuar_reprocessamento(str(run.pk)) == "concluído"
        run.refresh_from_db()
        assert run.resultado["reprocessadas"] == 11
        assert Mensagem.objects.pendentes().count() == 11

    def test_out_of_time_it_stops_and_goes_on_later(self, django_capture_on_commit_callbacks: Any):
        failures(11)
        run, _ = self.ask(django_capture_on_commit_callbacks)
        assert not services.continue_run(
            run.pk, rng=random.Random(1), now=database_now(), deadline=Deadline(timedelta(0))
        )

    def test_what_fails_after_it_was_asked_for_is_no_part_of_it(self, django_capture_on_commit_callbacks: Any):
        failures(11)
        run, _ = self.ask(django_capture_on_commit_callbacks)
        later = failed()
        tasks.continuar_reprocessamento(str(run.pk))
        later.refresh_from_db()
        assert not later.reprocessado

    def test_the_sweep_is_a_job(self):
        assert runner.run("retomar_reprocessamentos", now=database_now(), origem="manual").processados == 0

    def test_a_run_that_does_not_exist_does_nothing(self):
        assert tasks.continuar_reprocessamento(str(UUID(int=5))) == "continua"


class TestMetrics:
    def test_nothing_failed(self):
        assert obter_metricas_dlq() == {
            "total": 0, "nao_reprocessadas": 0, "ultimas_24h": 0, "em_quarentena": 0, "por_motivo": [],
        }  # fmt: skip

    def test_the_numbers_of_a_few_failures(self):
        failures(3)
        failed(outcome="FAILED_BANNED", outcome_reason_code="account_restricted:forbidden")
        failed(outcome="FAILED_BANNED", outcome_reason_code="account_restricted:other")
        failed(quarentena=True, outcome="FAILED_TIMEOUT", outcome_reason_code="quarentena:3_mortes")
        MensagemDlq.objects.filter(outcome="FAILED_TIMEOUT").update(
            movido_para_dlq_em=database_now() - timedelta(hours=25)
        )
        one(MensagemDlq.objects.filter(outcome="FAILED_PROVIDER")[0])
        assert obter_metricas_dlq() == {
            "total": 6,
            "nao_reprocessadas": 5,
            "ultimas_24h": 5,
            "em_quarentena": 1,
            "por_motivo": [
                {"outcome": "FAILED_PROVIDER", "motivo": "network_error", "total": 2},
                {"outcome": "FAILED_BANNED", "motivo": "account_restricted", "total": 2},
                {"outcome": "FAILED_TIMEOUT", "motivo": "quarentena", "total": 1},
            ],
        }


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def together(self, *acts: Callable[[], object]) -> list[object]:
        """Each in a thread of its own, let go together; what each returned or raised."""
        barrier = Barrier(len(acts), timeout=20)
        results: list[object] = [None] * len(acts)

        def run(place: int, act: Callable[[], object]) -> None:
            try:
                barrier.wait()
                results[place] = act()
            except (Recusada, Ocupada) as error:
                results[place] = error
            finally:
                connection.close()

        threads = [Thread(target=run, args=[place, act]) for place, act in enumerate(acts)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        return results

    def test_of_two_people_who_reprocess_one_failure_one_does_it_and_the_other_is_told(self):
        for _ in range(6):
            falha = failed(campanha=factories.campanha(status="concluida"))
            results = self.together(lambda: one(falha, actor="ana"), lambda: one(falha, actor="bia"))  # noqa: B023
            (told,) = [each for each in results if isinstance(each, Recusada)]
            (new,) = [each for each in results if isinstance(each, UUID)]
            falha.refresh_from_db()
            assert f"já foi reprocessada por {falha.reprocessado_por} em " in told.sentence
            assert list(Mensagem.objects.filter(reprocessa_de=falha.mensagem_original)) == [Mensagem(pk=new)]

    def test_of_two_runs_over_the_same_failures_each_failure_is_taken_by_one(self):
        campanhas = [factories.campanha(status="concluida") for _ in range(3)]
        for campanha in campanhas:
            failures(40, campanha=campanha)
        runs = self.together(lambda: reprocess(actor="ana"), lambda: reprocess(actor="bia"))
        done = [each.resultado["reprocessadas"] for each in runs if isinstance(each, Reprocessamento)]
        assert sum(done) == 120
        assert Mensagem.objects.pendentes().count() == 120
        assert set(Campanha.objects.values_list("status", flat=True)) == {"ativa"}

    def test_two_tasks_of_one_run_share_it_without_a_duplicate(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(services, "AT_ONCE", 5)
        monkeypatch.setattr(services, "BATCH", 10)
        failures(100)
        with patch("fila.reprocessar.services.async_task"):
            run = reprocess()
        self.together(*[lambda: tasks.continuar_reprocessamento(str(run.pk))] * 3)
        tasks.continuar_reprocessamento(str(run.pk))
        run.refresh_from_db()
        assert run.resultado["reprocessadas"] == 100
        assert Mensagem.objects.pendentes().count() == 100

    def test_a_row_that_somebody_holds_for_long_is_said_to_be_busy(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(services, "LOCK_MS", 200)
        falha = failed()
        held, done = Barrier(2, timeout=20), Barrier(2, timeout=20)

        def holder() -> None:
            try:
                with transaction.atomic():
                    execute("SELECT 1 FROM fila_mensagens_dlq WHERE id = %s FOR UPDATE", [falha.pk])
                    held.wait()
                    done.wait()
            finally:
                connection.close()

        thread = Thread(target=holder)
        thread.start()
        held.wait()
        with pytest.raises(Ocupada):
            one(falha)
        done.wait()
        thread.join()
        assert Mensagem.objects.get(pk=one(falha)).status == "pendente"

    def test_what_is_reprocessed_is_sent_once(self, simulator: SimulatorProcess, open_operation: None):
        connect(simulator, *(factories.chip() for _ in range(4)))
        falhas = failures(8, campanha=factories.campanha(status="concluida"))
        reprocess()
        reprocess(actor="bia")
        execute("UPDATE fila_mensagens SET agendar_para = agora() WHERE status = 'pendente'")
        drain()
        truth = simulator.truth()
        assert (truth.total, truth.duplicates) == (8, [])
        assert {record.recipient for record in truth.records} == {
            falha.mensagem_original.telefone_destino for falha in falhas
        }
        assert Campanha.objects.get().status == "ativa"
