"""Who a campaign is for: the filters as they are written, and the one reason why somebody is left out."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chips.choices import Resultado
from chips.models import Tentativa
from core.clientes.models import Cliente
from fila.campanhas import audience, rendering
from fila.campanhas.audience import Audience
from fila.campanhas.errors import CampanhaInvalida
from fila.campanhas.filters import FILTER_KEYS, AudienceFilters, ModoSelecao
from fila.choices import DestinatarioEstado, MotivoExclusao
from fila.models import Conversa, ConversaContexto, Destinatario, Mensagem
from guardrails.models import DoctorState
from guardrails.policy import Policy
from tests import factories

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
POLICY = Policy()
EVERYBODY = AudienceFilters()
PARTS = rendering.compile("Oi {primeiro_nome}!")


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def state(cliente: Cliente, **values: Any) -> None:
    assert DoctorState.objects.filter(cliente=cliente).update(**values) == 1


def look(filters: AudienceFilters = EVERYBODY, *, policy: Policy = POLICY, campanha_id: int | None = None) -> Audience:
    people = audience.people(filters, campanha_id=campanha_id, parts=PARTS, policy=policy, now=NOW)
    return audience.look(people, alvo=filters.quantidade_alvo, amostra=10)


def motivo_of(filters: AudienceFilters = EVERYBODY, **kwargs: Any) -> str | None:
    """Why the only person is left out; None when they are not."""
    found = look(filters, **kwargs)
    assert found.candidatos == 1
    return next(iter(found.excluidas), None)


def contacts(cliente: Cliente, *ages: timedelta, resultado: str = Resultado.ENVIADO, proativa: bool = True) -> None:
    chip = factories.chip()
    for age in ages:
        Tentativa.objects.create(
            origem_id=uuid.uuid4(), chip=chip, provider=chip.provider, cliente=cliente, destino=cliente.telefone,
            tipo_mensagem="prospeccao", proativa=proativa, balde_em=NOW - age, dia_local=(NOW - age).date(),
            texto_hash="x", lote=uuid.uuid4(), consumidor="teste", iniciado_em=NOW - age, resultado=resultado,
        )  # fmt: skip


def conversation(cliente: Cliente, **values: Any) -> Conversa:
    return Conversa.objects.create(cliente=cliente, lead_phone=cliente.telefone, **values)


def sent_campaigns(cliente: Cliente, count: int, status: str = "enviada") -> None:
    for _ in range(count):
        Mensagem.objects.create(
            cliente=cliente, campanha=factories.campanha(), conteudo="Oi", tipo="campanha", status=status
        )


@pytest.mark.django_db
class TestExclusion:
    def test_a_stranger_with_a_name_is_left_in(self):
        factories.cliente()
        assert motivo_of() is None

    def test_a_person_without_a_state_row_is_left_in(self):
        DoctorState.objects.filter(cliente=factories.cliente()).delete()
        assert motivo_of() is None

    @pytest.mark.parametrize(
        ("values", "motivo"),
        [
            ({"permission_state": "opted_out"}, "opt_out"),
            ({"permission_state": "active"}, None),
            ({"last_inbound_at": ago(minutes=29)}, "em_atendimento"),
            ({"last_inbound_at": ago(minutes=31)}, "respondeu_recente"),
            ({"last_inbound_at": ago(days=6, hours=23)}, "respondeu_recente"),
            ({"last_inbound_at": ago(days=7, hours=1)}, None),
            ({"permission_state": "cooling_off", "cooling_off_until": ago(hours=-1)}, "em_pausa"),
            ({"permission_state": "cooling_off", "cooling_off_until": ago(hours=1)}, None),
            ({"permission_state": "cooling_off", "cooling_off_until": None}, "em_pausa"),
            ({"next_allowed_at": ago(minutes=-1)}, "proximo_contato"),
            ({"next_allowed_at": ago(minutes=1)}, None),
            ({"last_outbound_at": ago(days=6, hours=23)}, "contato_recente"),
            ({"last_outbound_at": ago(days=7, hours=1)}, None),
            ({"last_touch_campaign_id": 77, "last_touch_at": ago(hours=71)}, "outra_campanha"),
            ({"last_touch_campaign_id": 77, "last_touch_at": ago(hours=73)}, None),
            ({"last_touch_campaign_id": None, "last_touch_at": ago(hours=1)}, None),
        ],
    )  # fmt: skip
    def test_by_what_we_know_of_the_person(self, values: dict[str, Any], motivo: str | None):
        state(factories.cliente(), **values)
        assert motivo_of() == motivo

    def test_the_campaign_itself_is_no_other_campaign(self):
        state(factories.cliente(), last_touch_campaign_id=77, last_touch_at=ago(hours=1))
        assert motivo_of(campanha_id=77) is None

    @pytest.mark.parametrize(
        ("values", "motivo"),
        [
            ({"status_telefone": "invalido"}, "telefone_invalido"),
            ({"status_telefone": "pendente"}, None),
            ({"pressure_score_atual": 51}, "pressao"),
            ({"pressure_score_atual": 50}, None),
            ({"primeiro_nome": " "}, "variavel_vazia"),
            ({"nome": ""}, None),
        ],
    )
    def test_by_the_persons_record(self, values: dict[str, Any], motivo: str | None):
        factories.cliente(**values)
        assert motivo_of() == motivo

    @pytest.mark.parametrize(
        ("values", "motivo"),
        [
            ({"controlled_by": "human"}, "controle_humano"),
            ({"status": "paused"}, "controle_humano"),
            ({"status": "escalated"}, "controle_humano"),
            ({"controlled_by": "ai"}, None),
            ({"controlled_by": "human", "status": "completed"}, None),
        ],
    )
    def test_by_who_holds_the_conversation(self, values: dict[str, Any], motivo: str | None):
        conversation(factories.cliente(), **values)
        assert motivo_of() == motivo

    def test_a_number_for_which_the_agent_is_paused_is_left_out(self):
        cliente = factories.cliente()
        ConversaContexto.objects.create(
            lead_phone=cliente.telefone, context_data={"agent_pause_state": {"paused": True}}
        )
        assert motivo_of() == MotivoExclusao.CONTROLE_HUMANO

    def test_who_replied_may_be_written_to_while_the_conversation_goes_on(self):
        cliente = factories.cliente()
        state(cliente, last_inbound_at=ago(days=2))
        open_one = conversation(cliente)
        Conversa.objects.filter(pk=open_one.pk).update(stage="qualificado")  # the trigger dates it
        assert motivo_of() is None

    def test_an_old_or_closed_conversation_does_not_excuse_a_recent_reply(self):
        cliente = factories.cliente()
        state(cliente, last_inbound_at=ago(days=2))
        conversation(cliente, status="completed")
        assert motivo_of() == MotivoExclusao.RESPONDEU_RECENTE

    @pytest.mark.parametrize(
        ("count", "cap", "motivo"), [(5, 5, "limite_7_dias"), (4, 5, None), (2, 2, "limite_7_dias"), (9, None, None)]
    )
    def test_by_the_contacts_of_seven_days(self, count: int, cap: int | None, motivo: str | None):
        contacts(factories.cliente(), *[timedelta(days=6)] * count)
        assert motivo_of(policy=replace(POLICY, contact_cap_7d=cap)) == motivo

    def test_contacts_older_than_seven_days_replies_and_what_was_never_sent_do_not_count(self):
        cliente = factories.cliente()
        contacts(cliente, *[timedelta(days=7, minutes=1)] * 5)
        contacts(cliente, *[timedelta(days=1)] * 5, proativa=False)
        contacts(cliente, *[timedelta(days=1)] * 5, resultado=Resultado.REJEITADO)
        assert motivo_of() is None

    def test_an_unknown_result_counts_as_a_contact(self):
        contacts(factories.cliente(), *[timedelta(days=1)] * 5, resultado=Resultado.DESCONHECIDO)
        assert motivo_of() == MotivoExclusao.LIMITE_7_DIAS

    @pytest.mark.parametrize(("campaigns", "motivo"), [(2, "sem_resposta"), (1, None)])
    def test_two_campaigns_without_any_answer_are_enough(self, campaigns: int, motivo: str | None):
        cliente = factories.cliente()
        state(cliente, last_outbound_at=ago(days=30))
        sent_campaigns(cliente, campaigns)
        assert motivo_of() == motivo

    def test_campaigns_that_never_arrived_are_not_unanswered(self):
        cliente = factories.cliente()
        state(cliente, last_outbound_at=ago(days=30))
        sent_campaigns(cliente, 1)
        sent_campaigns(cliente, 3, status="erro")
        assert motivo_of() is None

    def test_who_ever_wrote_to_us_is_not_unanswering(self):
        cliente = factories.cliente()
        state(cliente, last_outbound_at=ago(days=30), last_inbound_at=ago(days=300))
        sent_campaigns(cliente, 5)
        assert motivo_of() is None

    def test_the_first_reason_in_the_order_of_asking_is_given(self):
        cliente = factories.cliente(status_telefone="invalido", primeiro_nome="", pressure_score_atual=90)
        state(cliente, permission_state="opted_out", next_allowed_at=ago(days=-1), last_outbound_at=ago(days=1))
        asked = []
        lift: list[Callable[[], object]] = [
            lambda: state(cliente, permission_state="active"),
            lambda: Cliente.objects.update(status_telefone="validado"),
            lambda: state(cliente, next_allowed_at=None),
            lambda: state(cliente, last_outbound_at=None),
            lambda: Cliente.objects.update(pressure_score_atual=0),
            lambda: Cliente.objects.update(primeiro_nome="Ana"),
        ]
        for step in lift:
            asked.append(motivo_of())
            step()
        assert asked == [
            "opt_out", "telefone_invalido", "proximo_contato", "contato_recente", "pressao", "variavel_vazia"
        ]  # fmt: skip
        assert motivo_of() is None

    def test_every_reason_can_be_given_and_is_asked_in_the_declared_order(self):
        asked = [motivo for motivo, _ in audience._TESTS] + [MotivoExclusao.VARIAVEL_VAZIA]
        assert [*asked, MotivoExclusao.ALEM_DA_QUANTIDADE] == list(MotivoExclusao)

    @pytest.mark.parametrize("values", [{"deleted_at": NOW}, {"origem": "teste"}])
    def test_deleted_people_and_test_numbers_are_nobody(self, values: dict[str, Any]):
        factories.cliente(**values)
        assert look().candidatos == 0


@pytest.mark.django_db
class TestFilters:
    @pytest.mark.parametrize(
        ("filters", "named"),
        [
            ({}, "abc"),
            ({"especialidades": ["Cardiologia"]}, "ab"),
            ({"especialidades": ["Cardiologia", "Pediatria"]}, "abc"),
            ({"estados": ["SP"]}, "ac"),
            ({"regioes": ["sul"]}, "b"),
            ({"especialidades": ["Cardiologia"], "estados": ["SP"]}, "a"),
            ({"especialidades": ["Dermatologia"]}, ""),
        ],
    )
    def test_people_are_named_by_specialty_state_and_region(self, filters: dict[str, Any], named: str):
        people = {
            factories.cliente(especialidade="Cardiologia", estado="SP", regiao="sudeste").pk: "a",
            factories.cliente(especialidade="Cardiologia", estado="PR", regiao="sul").pk: "b",
            factories.cliente(especialidade="Pediatria", estado="SP", regiao="sudeste").pk: "c",
        }
        found = look(AudienceFilters.parse(filters))
        assert "".join(sorted(people[cliente] for cliente in found.amostra)) == named

    def test_people_named_one_by_one_override_the_other_filters(self):
        wanted, other = factories.cliente(especialidade="Cardiologia"), factories.cliente(especialidade="Pediatria")
        filters = AudienceFilters.parse(
            {"clientes_especificos": [str(wanted.pk)], "especialidades": [other.especialidade], "estados": ["SP"]}
        )
        assert look(filters).amostra == (wanted.pk,)

    def test_people_named_one_by_one_are_still_asked_every_question(self):
        cliente = factories.cliente()
        state(cliente, permission_state="opted_out")
        assert motivo_of(AudienceFilters.parse({"clientes_especificos": [str(cliente.pk)]})) == "opt_out"

    @pytest.mark.parametrize(("days", "motivo"), [(14, "contato_recente"), (7, None), (0, None)])
    def test_how_long_ago_counts_as_recent_is_a_filter(self, days: int, motivo: str | None):
        state(factories.cliente(), last_outbound_at=ago(days=10))
        assert motivo_of(AudienceFilters(dias_sem_contato=days)) == motivo

    def test_how_much_pressure_is_too_much_is_a_filter(self):
        factories.cliente(pressure_score_atual=60)
        assert motivo_of(AudienceFilters(pressure_score_max=59)) == "pressao"
        assert motivo_of(AudienceFilters(pressure_score_max=60)) is None


@pytest.mark.django_db
class TestOrderAndTarget:
    def test_who_was_never_written_to_comes_first_then_the_longest_silence(self):
        recent, never, long_ago = factories.clientes(3)
        state(recent, last_outbound_at=ago(days=8))
        state(long_ago, last_outbound_at=ago(days=90))
        assert look().amostra == (never.pk, long_ago.pk, recent.pk)

    def test_equals_stand_in_the_order_of_their_ids(self):
        people = factories.clientes(5)
        assert look().amostra == tuple(sorted(person.pk for person in people))

    def test_random_order_differs_by_campaign_and_never_changes_within_one(self):
        factories.clientes(8)
        filters = AudienceFilters(modo_selecao=ModoSelecao.ALEATORIO)
        one, again, other = (look(filters, campanha_id=number).amostra for number in (1, 1, 2))
        assert one == again
        assert one != other
        assert set(one) == set(other)

    def test_people_beyond_the_target_are_counted(self):
        factories.clientes(5)
        found = look(AudienceFilters(quantidade_alvo=2))
        assert (found.total, found.candidatos) == (2, 5)
        assert found.excluidas == {"alem_da_quantidade": 3}

    def test_the_counts_add_up_to_everybody_named(self):
        people = factories.clientes(6)
        state(people[0], permission_state="opted_out")
        state(people[1], permission_state="opted_out")
        state(people[2], next_allowed_at=ago(days=-1))
        found = look(AudienceFilters(quantidade_alvo=2))
        assert found.excluidas == {"opt_out": 2, "proximo_contato": 1, "alem_da_quantidade": 1}
        assert found.candidatos == found.total + sum(found.excluidas.values())

    def test_the_zones_are_those_of_the_selected(self):
        factories.cliente(telefone="5592900000001", fuso="America/Manaus")
        state(factories.cliente(telefone="5568900000001", fuso="America/Rio_Branco"), permission_state="opted_out")
        assert look().fusos == ("America/Manaus",)


@pytest.mark.django_db
class TestFreeze:
    def freeze(self, alvo: int) -> list[tuple[int, str, str | None]]:
        campanha = factories.campanha()
        people = audience.people(EVERYBODY, campanha_id=campanha.pk, parts=PARTS, policy=POLICY, now=NOW)
        self.found = audience.freeze(people, campanha_id=campanha.pk, alvo=alvo)
        rows = Destinatario.objects.filter(campanha=campanha).order_by("estado", "ordem")
        return list(rows.values_list("ordem", "estado", "motivo_exclusao"))

    def test_the_selected_have_their_places_and_the_excluded_their_reason(self):
        people = factories.clientes(3)
        state(people[0], permission_state="opted_out")
        assert self.freeze(10) == [(0, "excluido", "opt_out"), (1, "selecionado", None), (2, "selecionado", None)]

    def test_what_is_frozen_is_what_the_look_showed(self):
        people = factories.clientes(6)
        state(people[3], next_allowed_at=ago(days=-1))
        seen = look(AudienceFilters(quantidade_alvo=4))
        self.freeze(4)
        chosen = Destinatario.objects.filter(estado=DestinatarioEstado.SELECIONADO).order_by("ordem")
        assert tuple(chosen.values_list("cliente_id", flat=True)) == seen.amostra
        assert self.found.excluidas == seen.excluidas

    def test_people_behind_the_last_selected_are_counted_and_not_copied(self):
        first, second, third = sorted(factories.clientes(3), key=lambda person: person.pk)
        state(first, permission_state="opted_out")
        state(third, permission_state="opted_out")
        assert self.freeze(1) == [(0, "excluido", "opt_out"), (1, "selecionado", None)]
        assert Destinatario.objects.get(estado="selecionado").cliente_id == second.pk
        assert self.found.excluidas == {"opt_out": 2}


@pytest.mark.parametrize(
    ("data", "erros"),
    [
        ({"especialidade": ["x"]}, {"especialidade": "O filtro 'especialidade' não existe. Você quis dizer"}),
        ({"selected_cliente_ids": []}, {"selected_cliente_ids": "O filtro 'selected_cliente_ids' não existe."}),
        ({"especialidades": "Cardiologia"}, {"especialidades": "Deve ser uma lista de textos."}),
        ({"especialidades": [" "]}, {"especialidades": "Há um item vazio na lista."}),
        ({"estados": ["SP", "XX"]}, {"estados": "Não é sigla de estado: XX."}),
        ({"quantidade_alvo": 0}, {"quantidade_alvo": "Deve ser um número inteiro de 1 a 5000000."}),
        ({"quantidade_alvo": "50"}, {"quantidade_alvo": "Deve ser um número inteiro de 1 a 5000000."}),
        ({"quantidade_alvo": True}, {"quantidade_alvo": "Deve ser um número inteiro de 1 a 5000000."}),
        ({"modo_selecao": "sorteio"}, {"modo_selecao": "Use um destes: deterministico, aleatorio."}),
        ({"pressure_score_max": 101}, {"pressure_score_max": "Deve ser um número inteiro de 0 a 100."}),
        ({"excluir_opt_out": False}, {"excluir_opt_out": "Deve ser true: quem pediu para sair nunca"}),
        ({"chips_excluidos": ["x"]}, {"chips_excluidos": "'x' não é um identificador válido."}),
        ({"clientes_especificos": [1]}, {"clientes_especificos": "Deve ser uma lista de textos."}),
        ({"dias_sem_contato": -1, "x": 1}, {"dias_sem_contato": "Deve ser um número inteiro", "x": "O filtro"}),
        ([], {"audience_filters": "Os filtros do público devem ser um objeto JSON."}),
    ],
)  # fmt: skip
def test_filters_that_cannot_be_used_are_refused_key_by_key(data: Any, erros: dict[str, str]):
    with pytest.raises(CampanhaInvalida) as error:
        AudienceFilters.parse(data)
    assert error.value.erros.keys() == erros.keys()
    assert all(error.value.erros[key][0].startswith(sentence) for key, sentence in erros.items())


def test_filters_survive_being_stored():
    one = str(uuid.uuid4())
    data = {
        "regioes": ["sul"], "especialidades": ["Cardiologia"], "estados": ["PR"], "quantidade_alvo": 10,
        "modo_selecao": "aleatorio", "pressure_score_max": 30, "excluir_opt_out": True, "chips_excluidos": [one],
        "clientes_especificos": [one], "dias_sem_contato": 14,
    }  # fmt: skip
    assert data.keys() == FILTER_KEYS
    assert AudienceFilters.parse(data).as_json() == data


def test_the_defaults_are_those_of_the_reference():
    filters = AudienceFilters.parse({})
    assert (filters.quantidade_alvo, filters.pressure_score_max, filters.dias_sem_contato) == (50, 50, 7)
    assert filters.modo_selecao == ModoSelecao.DETERMINISTICO


def test_naming_more_than_fifty_people_asks_for_all_of_them():
    named = [str(uuid.uuid4()) for _ in range(60)]
    assert AudienceFilters.parse({"clientes_especificos": named}).quantidade_alvo == 60
    assert AudienceFilters.parse({"clientes_especificos": named, "quantidade_alvo": 5}).quantidade_alvo == 5


def test_repeated_and_lower_case_values_are_put_right():
    filters = AudienceFilters.parse({"estados": ["sp", "SP"], "especialidades": [" Cardiologia ", "Cardiologia"]})
    assert (filters.estados, filters.especialidades) == (("SP",), ("Cardiologia",))
