"""A campaign from draft to end: who may do what when, and what remains written about it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django_q.models import OrmQ
from redis.exceptions import ConnectionError as RedisConnectionError

from core.audit.models import AuditEntry
from core.clientes.models import Cliente
from fila.campanhas import services
from fila.campanhas.enqueue import continue_start, enqueue_step, prepare
from fila.campanhas.errors import CampanhaConflict, CampanhaInexistente, CampanhaInvalida, MotivoInsuficiente
from fila.campanhas.tasks import continue_enqueue
from fila.choices import CampanhaStatus
from fila.models import Campanha, Destinatario, Mensagem, MensagemEvento
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_operation")]

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
TOMORROW = NOW + timedelta(days=1)
MOTIVO = "público errado, vamos revisar"
TEXT = "Oi {primeiro_nome|doutor(a)}, temos plantão!"


def create(**values: Any) -> Campanha:
    defaults: dict[str, Any] = {"nome": "Plantões de março", "tipo": "oferta", "corpo": TEXT}
    return services.create(**(defaults | values), actor="ana", now=NOW)


def in_status(status: str) -> Campanha:
    campanha = create()
    Campanha.objects.filter(pk=campanha.pk).update(status=status)
    return campanha


def audited(acao: str) -> AuditEntry:
    return AuditEntry.objects.get(acao=acao, entidade="campanha")


def acts() -> dict[str, Any]:
    """What each status answers to each act: the act as a function of the campaign's id."""
    return {
        "edit": lambda id_: services.edit(id_, actor="ana", now=NOW, nome="Outro nome"),
        "schedule": lambda id_: services.schedule(id_, agendar_para=TOMORROW, actor="ana", now=NOW),
        "unschedule": lambda id_: services.unschedule(id_, actor="ana", now=NOW),
        "start": lambda id_: services.start(id_, actor="ana", now=NOW),
        "pause": lambda id_: services.pause(id_, motivo=MOTIVO, actor="ana", now=NOW),
        "resume": lambda id_: services.resume(id_, motivo=MOTIVO, actor="ana", now=NOW),
        "cancel": lambda id_: services.cancel(id_, motivo=MOTIVO, actor="ana", now=NOW),
        "delete": lambda id_: services.delete(id_, actor="ana"),
        "duplicate": lambda id_: services.duplicate(id_, actor="ana", now=NOW),
    }


# From each status, the acts that are possible and where they lead.
ALLOWED: dict[str, dict[str, str | None]] = {
    "rascunho": {"edit": "rascunho", "schedule": "agendada", "start": "ativa", "cancel": "cancelada", "delete": None,
                 "duplicate": "rascunho"},
    "agendada": {"edit": "rascunho", "schedule": "agendada", "unschedule": "rascunho", "start": "ativa",
                 "cancel": "cancelada", "duplicate": "agendada"},
    "ativa": {"pause": "pausada", "cancel": "cancelada", "duplicate": "ativa"},
    "pausada": {"resume": "ativa", "cancel": "cancelada", "duplicate": "pausada"},
    "concluida": {"duplicate": "concluida"},
    "cancelada": {"duplicate": "cancelada"},
}  # fmt: skip


@pytest.mark.parametrize("act", acts())
@pytest.mark.parametrize("status", CampanhaStatus.values)
def test_what_may_be_done_in_which_state(status: str, act: str):
    campanha = in_status(status)
    if act not in ALLOWED[status]:
        with pytest.raises(CampanhaConflict) as error:
            acts()[act](campanha.pk)
        assert error.value.status == status
        assert f"está {CampanhaStatus(status).label.lower()} agora" in error.value.sentence
        campanha.refresh_from_db()
        assert campanha.status == status
        return
    acts()[act](campanha.pk)
    left = Campanha.objects.filter(pk=campanha.pk).values_list("status", flat=True).first()
    assert left == ALLOWED[status][act]


@pytest.mark.parametrize("act", acts())
def test_a_campaign_that_does_not_exist_is_named(act: str):
    with pytest.raises(CampanhaInexistente, match="A campanha 404 não existe"):
        acts()[act](404)


class TestCreateAndEdit:
    def test_a_campaign_starts_as_a_draft(self):
        campanha = create(filters={"especialidades": ["Cardiologia"]})
        assert campanha.status == "rascunho"
        assert campanha.audience_filters["especialidades"] == ["Cardiologia"]
        assert campanha.audience_filters["quantidade_alvo"] == 50
        assert audited("campanha_criada").usuario == "ana"

    def test_with_a_date_it_is_scheduled(self):
        assert create(agendar_para=TOMORROW).status == "agendada"

    def test_everything_wrong_is_said_at_once_by_field(self):
        with pytest.raises(CampanhaInvalida) as error:
            create(nome=" ", tipo="engajamento", corpo="Oi {nme}", filters={"x": 1}, agendar_para=NOW)
        assert error.value.erros.keys() == {"nome", "tipo", "corpo", "x", "agendar_para"}
        assert not Campanha.objects.exists()

    def test_an_offer_needs_a_text_and_an_opening_has_a_default(self):
        with pytest.raises(CampanhaInvalida) as error:
            create(corpo="")
        assert error.value.erros == {"corpo": ["Escreva o texto da mensagem."]}
        assert create(tipo="descoberta", corpo="").tipo_campanha == "discovery"

    def test_line_ends_of_a_browser_become_plain(self):
        assert create(corpo="Oi!\r\nTudo bem?").corpo == "Oi!\nTudo bem?"

    def test_only_what_is_given_changes(self):
        campanha = services.edit(create().pk, actor="bia", now=NOW, corpo="Olá {nome}", pode_ofertar=True)
        assert (campanha.nome_template, campanha.corpo, campanha.pode_ofertar) == (
            "Plantões de março",
            "Olá {nome}",
            True,
        )
        assert audited("campanha_editada").detalhes["campos"] == ["corpo", "pode_ofertar"]

    def test_a_refused_edit_changes_nothing(self):
        campanha = create()
        with pytest.raises(CampanhaInvalida):
            services.edit(campanha.pk, actor="ana", now=NOW, nome="Novo", corpo="{")
        campanha.refresh_from_db()
        assert campanha.nome_template == "Plantões de março"

    def test_taking_the_date_away_makes_it_a_draft_again(self):
        campanha = create(agendar_para=TOMORROW)
        assert services.edit(campanha.pk, actor="ana", now=NOW, agendar_para=None).status == "rascunho"

    def test_the_audience_changes_only_in_a_draft(self):
        campanha = create(agendar_para=TOMORROW, filters={"estados": ["SP"]})
        services.edit(campanha.pk, actor="ana", now=NOW, filters={"estados": ["SP"]}, nome="Mesmo público")
        with pytest.raises(CampanhaConflict, match="só muda o público em rascunho"):
            services.edit(campanha.pk, actor="ana", now=NOW, filters={"estados": ["RJ"]})

    @pytest.mark.parametrize("moment", [NOW, NOW - timedelta(minutes=1)])
    def test_a_start_in_the_past_is_refused(self, moment: datetime):
        with pytest.raises(CampanhaInvalida) as error:
            services.schedule(create().pk, agendar_para=moment, actor="ana", now=NOW)
        assert "já passou" in error.value.erros["agendar_para"][0]

    def test_a_copy_is_a_draft_with_the_same_text_and_audience(self):
        source = create(filters={"estados": ["SP"]}, agendar_para=TOMORROW)
        copy = services.duplicate(source.pk, actor="bia", now=NOW)
        assert (copy.nome_template, copy.status, copy.agendar_para) == ("Plantões de março (cópia)", "rascunho", None)
        assert (copy.corpo, copy.audience_filters) == (source.corpo, source.audience_filters)
        assert (copy.duplicada_de_id, copy.created_by) == (source.pk, "bia")

    def test_a_copy_of_a_long_name_still_fits(self):
        copy = services.duplicate(create(nome="x" * 200).pk, actor="ana", now=NOW)
        assert len(copy.nome_template) == 200
        assert copy.nome_template.endswith("x (cópia)")

    def test_a_deleted_draft_leaves_its_name_in_the_audit(self):
        services.delete(create().pk, actor="ana")
        assert audited("campanha_excluida").detalhes == {"nome": "Plantões de março"}

    def test_the_audit_never_holds_the_text(self):
        services.start(create(corpo="segredo do texto").pk, actor="ana", now=NOW)
        assert not [entry for entry in AuditEntry.objects.all() if "segredo" in str(entry.detalhes)]


class TestStart:
    def test_everybody_selected_gets_one_message_with_their_text(self):
        ana, _ = factories.cliente(primeiro_nome="Ana"), factories.cliente(primeiro_nome="")
        factories.chip()
        campanha = services.start(create().pk, actor="ana", now=NOW)
        texts = dict(Mensagem.objects.filter(campanha=campanha).values_list("cliente_id", "conteudo"))
        assert texts[ana.pk] == "Oi Ana, temos plantão!"
        assert sorted(texts.values()) == ["Oi Ana, temos plantão!", "Oi doutor(a), temos plantão!"]
        assert (campanha.status, campanha.total_destinatarios, campanha.iniciada_em) == ("ativa", 2, NOW)
        assert campanha.enfileirada_em is not None
        assert set(Destinatario.objects.values_list("estado", flat=True)) == {"enfileirado"}

    def test_a_message_carries_what_operators_and_the_outbound_path_read(self):
        excluded = factories.chip()
        cliente = factories.cliente()
        campanha = services.start(create(filters={"chips_excluidos": [str(excluded.pk)]}).pk, actor="ana", now=NOW)
        message = Mensagem.objects.get(cliente=cliente)
        assert (message.tipo, message.prioridade, message.status) == ("campanha", 3, "pendente")
        assert message.telefone_destino == cliente.telefone
        assert message.metadata == {
            "campanha_id": str(campanha.pk),
            "tipo_campanha": "oferta",
            "pode_ofertar": False,
            "chips_excluidos": [str(excluded.pk)],
        }
        assert message.correlation_id == campanha.correlation_id != ""
        assert message.expira_em is not None
        assert message.expira_em == message.agendar_para + timedelta(hours=24)

    def test_the_text_is_frozen(self):
        factories.cliente(primeiro_nome="Ana")
        campanha = create()
        services.begin(campanha.pk, actor="ana", now=NOW)
        Campanha.objects.filter(pk=campanha.pk).update(corpo="outro texto")  # raw, as an operator might
        continue_start(campanha.pk, now=NOW)
        assert Mensagem.objects.get().conteudo == "Oi Ana, temos plantão!"

    def test_a_default_text_is_frozen_like_any_other(self):
        factories.cliente(primeiro_nome="Ana")
        services.start(create(tipo="followup", corpo="").pk, actor="ana", now=NOW)
        assert Mensagem.objects.get().conteudo.startswith("Oi, Ana! Conseguiu ver")

    def test_an_unusable_text_written_past_the_services_refuses_to_start(self):
        campanha = create()
        Campanha.objects.filter(pk=campanha.pk).update(corpo="Oi {vaga}")
        with pytest.raises(CampanhaInvalida):
            services.start(campanha.pk, actor="ana", now=NOW)
        campanha.refresh_from_db()
        assert campanha.status == "rascunho"

    def test_the_start_from_a_page_answers_before_anything_heavy_and_wakes_the_cluster_after_the_commit(
        self, django_capture_on_commit_callbacks: Any
    ):
        factories.cliente()
        with (
            patch("fila.campanhas.lifecycle.async_task") as offered,
            django_capture_on_commit_callbacks(execute=True) as callbacks,
        ):
            campanha = services.request_start(create().pk, actor="ana", now=NOW)
            assert not offered.called
        assert campanha.status == "ativa"
        assert not Mensagem.objects.exists()
        assert len(callbacks) == 1
        offered.assert_called_once_with("fila.campanhas.tasks.continue_enqueue", campanha.pk, cluster="trabalhos")

    def test_the_order_lies_in_the_queue_of_the_cluster_for_long_work(self, django_capture_on_commit_callbacks: Any):
        with django_capture_on_commit_callbacks(execute=True):
            services.request_start(create().pk, actor="ana", now=NOW)
        assert OrmQ.objects.get().key == "trabalhos"

    def test_a_broker_that_is_away_does_not_undo_the_start(self, django_capture_on_commit_callbacks: Any):
        with (
            patch("fila.campanhas.lifecycle.async_task", side_effect=RedisConnectionError),
            django_capture_on_commit_callbacks(execute=True),
        ):
            campanha = services.request_start(create().pk, actor="ana", now=NOW)
        campanha.refresh_from_db()
        assert campanha.status == "ativa"

    def test_what_the_cluster_calls_does_the_rest_and_is_harmless_twice(self):
        factories.clientes(3)
        campanha = create()
        services.begin(campanha.pk, actor="ana", now=NOW)
        assert continue_enqueue(campanha.pk) == 3
        assert continue_enqueue(campanha.pk) == 0
        assert continue_enqueue(404) == 0
        assert Mensagem.objects.count() == 3


class TestPauseResumeCancel:
    def started(self, people: int = 3) -> Campanha:
        factories.clientes(people)
        factories.chip()
        return services.start(create().pk, actor="ana", now=NOW)

    def test_pausing_and_resuming_keep_the_same_rows(self):
        campanha = self.started()
        before = list(Mensagem.objects.order_by("id").values("id", "agendar_para", "status"))
        services.pause(campanha.pk, motivo=MOTIVO, actor="bia", now=NOW)
        services.resume(campanha.pk, motivo="já está corrigido", actor="ana", now=NOW + timedelta(hours=5))
        assert list(Mensagem.objects.order_by("id").values("id", "agendar_para", "status")) == before
        assert (audited("campanha_pausada").motivo, audited("campanha_pausada").usuario) == (MOTIVO, "bia")
        assert audited("campanha_retomada").motivo == "já está corrigido"

    def test_a_resumed_campaign_has_a_new_end(self):
        campanha = self.started()
        assert campanha.termina_em is not None
        services.pause(campanha.pk, motivo=MOTIVO, actor="ana", now=NOW)
        later = services.resume(campanha.pk, motivo=MOTIVO, actor="ana", now=NOW + timedelta(days=3))
        assert later.termina_em is not None
        assert later.termina_em > NOW + timedelta(days=3)

    @pytest.mark.parametrize("act", [services.pause, services.resume, services.cancel])
    @pytest.mark.parametrize("motivo", ["", "  curto   ", "x" * 501])
    def test_no_motivo_no_change(self, act: Any, motivo: str):
        campanha = self.started()
        with pytest.raises(MotivoInsuficiente):
            act(campanha.pk, motivo=motivo, actor="ana", now=NOW)
        campanha.refresh_from_db()
        assert campanha.status == "ativa"

    def test_cancelling_cancels_what_waits_and_leaves_what_may_be_on_the_wire(self):
        campanha = self.started(5)
        ids = list(Mensagem.objects.order_by("agendar_para").values_list("id", flat=True))
        for message_id, status in zip(ids, ("enviada", "processando", "incerta"), strict=False):
            Mensagem.objects.filter(pk=message_id).update(status=status)
        assert services.cancel(campanha.pk, motivo=MOTIVO, actor="ana", now=NOW) == 2
        left = [Mensagem.objects.get(pk=message_id) for message_id in ids]
        assert [message.status for message in left] == ["enviada", "processando", "incerta", "cancelada", "cancelada"]
        assert {message.outcome_reason_code for message in left[3:]} == {"campanha_cancelada"}
        assert all(message.outcome_at for message in left[3:])
        assert audited("campanha_cancelada").detalhes == {"mensagens_canceladas": 2}

    def test_a_cancelled_message_says_so_in_its_story(self):
        campanha = self.started(1)
        services.cancel(campanha.pk, motivo=MOTIVO, actor="ana", now=NOW)
        assert MensagemEvento.objects.get(mensagem__campanha=campanha, tipo="cancelada").motivo == "campanha_cancelada"

    def test_who_was_not_yet_enqueued_never_is(self):
        factories.clientes(5)
        campanha = create()
        services.begin(campanha.pk, actor="ana", now=NOW)
        prepare(campanha.pk, now=NOW)
        enqueue_step(campanha.pk, now=NOW, limit=2)
        assert services.cancel(campanha.pk, motivo=MOTIVO, actor="ana", now=NOW) == 2
        assert continue_start(campanha.pk, now=NOW) == 0
        assert set(Mensagem.objects.values_list("status", flat=True)) == {"cancelada"}

    def test_cancelling_a_campaign_touches_no_other(self):
        campanha = self.started(2)
        other = factories.mensagem()
        services.cancel(campanha.pk, motivo=MOTIVO, actor="ana", now=NOW)
        other.refresh_from_db()
        assert other.status == "pendente"


class TestConclude:
    def started(self) -> Campanha:
        factories.clientes(2)
        return services.start(create().pk, actor="ana", now=NOW)

    @pytest.mark.parametrize("open_status", ["pendente", "processando", "incerta"])
    def test_an_open_row_keeps_a_campaign_open(self, open_status: str):
        self.started()
        first, second = Mensagem.objects.order_by("id")
        Mensagem.objects.filter(pk=first.pk).update(status="enviada")
        Mensagem.objects.filter(pk=second.pk).update(status=open_status)
        assert services.conclude_finished(now=NOW) == 0

    def test_with_the_last_row_ended_it_is_concluded_once(self):
        campanha = self.started()
        Mensagem.objects.update(status="enviada")
        assert services.conclude_finished(now=NOW) == 1
        assert services.conclude_finished(now=NOW) == 0
        campanha.refresh_from_db()
        assert (campanha.status, campanha.concluida_em) == ("concluida", NOW)
        assert audited("campanha_concluida").usuario == "sistema"

    def test_an_unfinished_enqueue_is_no_end(self):
        campanha = self.started()
        Mensagem.objects.update(status="enviada")
        Campanha.objects.filter(pk=campanha.pk).update(enfileirada_em=None)
        assert services.conclude_finished(now=NOW) == 0

    def test_a_paused_campaign_is_not_concluded(self):
        campanha = self.started()
        Mensagem.objects.update(status="enviada")
        services.pause(campanha.pk, motivo=MOTIVO, actor="ana", now=NOW)
        assert services.conclude_finished(now=NOW) == 0

    def test_a_campaign_for_nobody_is_concluded_at_once(self):
        campanha = services.start(create(filters={"especialidades": ["Nenhuma"]}).pk, actor="ana", now=NOW)
        assert campanha.total_destinatarios == 0
        assert services.conclude_finished(now=NOW) == 1


class TestTestSend:
    def test_a_test_goes_through_the_fila_and_belongs_to_no_campaign(self):
        campanha = create()
        message = Mensagem.objects.get(
            pk=services.test_send(campanha.pk, telefone="(11) 90000-0001", actor="ana", now=NOW)
        )
        assert (message.tipo, message.campanha_id, message.conteudo) == ("teste", None, "Oi Ana, temos plantão!")
        assert (message.telefone_destino, message.cliente.origem) == ("5511900000001", "teste")
        assert audited("campanha_teste_enviado").detalhes["telefone"] == "5511...0001"

    def test_the_number_is_made_known_once_and_is_never_audience(self):
        campanha = create()
        for _ in range(2):
            services.test_send(campanha.pk, telefone="11900000001", actor="ana", now=NOW)
        assert Cliente.objects.get().origem == "teste"
        assert services.start(campanha.pk, actor="ana", now=NOW).total_destinatarios == 0

    def test_a_person_we_know_is_addressed_by_their_own_data(self):
        cliente = factories.cliente(primeiro_nome="Rita")
        message_id = services.test_send(create().pk, telefone=cliente.telefone, actor="ana", now=NOW)
        assert Mensagem.objects.get(pk=message_id).conteudo == "Oi Rita, temos plantão!"

    @pytest.mark.parametrize("telefone", ["", "abc", "90000-0001"])
    def test_an_unusable_number_is_refused(self, telefone: str):
        with pytest.raises(CampanhaInvalida) as error:
            services.test_send(create().pk, telefone=telefone, actor="ana", now=NOW)
        assert list(error.value.erros) == ["telefone"]
        assert not Mensagem.objects.exists()
