"""A campaign's numbers: what is counted where, and that they always add up."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fila.campanhas import services
from fila.campanhas.enqueue import enqueue_step, prepare
from fila.campanhas.errors import CampanhaInexistente
from fila.campanhas.status import summary
from fila.models import Campanha, Conversa, Interacao, Mensagem
from guardrails.models import DoctorState
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_operation")]

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
KEYS = [
    "id", "status", "audiencia", "enfileiradas", "enviadas", "entregues", "respondidas", "bloqueadas", "falhas",
    "incertas", "canceladas", "pendentes", "excluidas", "termina_em", "espera_por",
]  # fmt: skip
PARTS = ("enviadas", "bloqueadas", "falhas", "incertas", "canceladas", "pendentes")
MOTIVO = "motivo escrito no teste"


def begun(people: int) -> Campanha:
    factories.clientes(people)
    campanha = services.create(nome="Campanha", tipo="oferta", corpo="Oi!", actor="ana", now=NOW)
    return services.begin(campanha.pk, actor="ana", now=NOW)


def started(people: int) -> Campanha:
    campanha = begun(people)
    prepare(campanha.pk, now=NOW)
    enqueue_step(campanha.pk, now=NOW)
    return campanha


def counted(campanha: Campanha) -> dict[str, Any]:
    found = summary(campanha.pk)
    assert found["audiencia"] == sum(found[part] for part in PARTS)
    return found


def messages(campanha: Campanha) -> list[Mensagem]:
    return list(Mensagem.objects.filter(campanha=campanha).order_by("agendar_para", "id"))


def test_it_has_exactly_these_keys():
    assert list(counted(started(1))) == KEYS


def test_a_campaign_that_does_not_exist_is_named():
    with pytest.raises(CampanhaInexistente):
        summary(404)


@pytest.mark.parametrize(
    ("status", "part"),
    [
        ("pendente", "pendentes"), ("processando", "pendentes"), ("enviada", "enviadas"), ("erro", "falhas"),
        ("bloqueada", "bloqueadas"), ("cancelada", "canceladas"), ("incerta", "incertas"),
    ],
)  # fmt: skip
def test_every_status_counts_in_one_place(status: str, part: str):
    campanha = started(3)
    Mensagem.objects.filter(pk=messages(campanha)[0].pk).update(status=status)
    found = counted(campanha)
    assert {key: found[key] for key in PARTS} == dict.fromkeys(PARTS, 0) | {"pendentes": 2} | {
        part: 3 if part == "pendentes" else 1
    }
    assert (found["audiencia"], found["enfileiradas"]) == (3, 3)


def test_before_its_audience_is_chosen_everything_is_zero():
    found = counted(begun(3))
    assert (found["audiencia"], found["pendentes"], found["excluidas"], found["termina_em"]) == (0, 0, {}, None)


def test_who_is_selected_and_not_yet_in_the_fila_is_pending():
    campanha = begun(5)
    prepare(campanha.pk, now=NOW)
    assert (counted(campanha)["pendentes"], counted(campanha)["enfileiradas"]) == (5, 0)
    enqueue_step(campanha.pk, now=NOW, limit=2)
    assert (counted(campanha)["pendentes"], counted(campanha)["enfileiradas"]) == (5, 2)


def test_of_a_cancelled_campaign_they_are_cancelled():
    campanha = begun(5)
    prepare(campanha.pk, now=NOW)
    enqueue_step(campanha.pk, now=NOW, limit=2)
    services.cancel(campanha.pk, motivo=MOTIVO, actor="ana", now=NOW)
    found = counted(campanha)
    assert (found["status"], found["audiencia"], found["canceladas"], found["pendentes"]) == ("cancelada", 5, 5, 0)


@pytest.mark.parametrize(("receipt", "count"), [("delivered", 1), ("read", 1), ("sent", 0), (None, 0), ("failed", 0)])
def test_delivered_is_what_the_recipients_phone_confirmed(receipt: str | None, count: int):
    campanha = started(2)
    Mensagem.objects.filter(pk=messages(campanha)[0].pk).update(status="enviada", delivery_status=receipt)
    assert counted(campanha)["entregues"] == count


def test_a_doctor_who_replies_three_times_has_replied_once():
    campanha = started(2)
    first, second = (message.cliente for message in messages(campanha))
    for cliente, tipo, count in ((first, "entrada", 3), (second, "saida", 1)):
        conversa = Conversa.objects.create(cliente=cliente, lead_phone=cliente.telefone)
        for _ in range(count):
            Interacao.objects.create(
                conversation=conversa, cliente=cliente, origem="whatsapp_inbound", tipo=tipo, autor_tipo="medico",
                attributed_campaign_id=campanha.pk,
            )  # fmt: skip
    assert counted(campanha)["respondidas"] == 1


def test_a_reprocessed_message_counts_once_as_its_newest_row():
    campanha = started(2)
    failed = messages(campanha)[0]
    Mensagem.objects.filter(pk=failed.pk).update(status="erro")
    again = Mensagem.objects.create(
        cliente=failed.cliente, campanha=campanha, conteudo="Oi!", tipo="campanha", reenvio_n=1, reprocessa_de=failed
    )
    found = counted(campanha)
    assert (found["falhas"], found["pendentes"], found["audiencia"], found["enfileiradas"]) == (0, 2, 2, 2)
    Mensagem.objects.filter(pk=again.pk).update(status="enviada")
    assert counted(campanha)["enviadas"] == 1


def test_the_excluded_are_those_of_the_start():
    factories.cliente(status_telefone="invalido")
    opted_out = factories.cliente()
    DoctorState.objects.filter(cliente=opted_out).update(permission_state="opted_out")
    assert counted(started(2))["excluidas"] == {"opt_out": 1, "telefone_invalido": 1}


def test_the_end_is_the_planned_one():
    factories.chip()
    end = counted(started(2))["termina_em"]
    assert NOW < end < NOW + timedelta(hours=1)


def test_other_campaigns_and_tests_do_not_count():
    campanha = started(1)
    factories.mensagem(campanha=factories.campanha())
    services.test_send(campanha.pk, telefone="11900000001", actor="ana", now=NOW)
    assert counted(campanha)["audiencia"] == 1
