"""What an operator sees before starting a campaign."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.database import execute
from fila.campanhas import services
from fila.campanhas.preview import Preview, preview
from fila.models import Campanha, Destinatario, Mensagem
from guardrails.models import DoctorState
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_operation")]

NOW = datetime(2026, 3, 3, 11, 0, tzinfo=UTC)  # Tuesday, 08:00 in Brasília


def created(**values: Any) -> Campanha:
    defaults: dict[str, Any] = {"nome": "Campanha", "tipo": "oferta", "corpo": "Oi {primeiro_nome}!"}
    return services.create(**(defaults | values), actor="ana", now=NOW)


def shown(**values: Any) -> Preview:
    return preview(created(**values), now=NOW)


def test_ten_recipients_are_shown_with_their_text_and_a_masked_number():
    factories.clientes(12)
    sample = shown().amostra
    assert len(sample) == 10
    assert sample[0].texto == "Oi Médico!"
    assert all("..." in one.telefone and len(one.telefone) == 11 for one in sample)


def test_what_is_previewed_is_what_is_started():
    for cliente in factories.clientes(6)[:2]:
        DoctorState.objects.filter(cliente=cliente).update(permission_state="opted_out")
    factories.chip()
    campanha = created(filters={"quantidade_alvo": 3})
    seen = preview(campanha, now=NOW)
    assert not Destinatario.objects.exists()
    campanha = services.start(campanha.pk, actor="ana", now=NOW)
    texts = Mensagem.objects.order_by("agendar_para").values_list("cliente_id", "conteudo")
    assert list(texts) == [(one.cliente_id, one.texto) for one in seen.amostra]
    assert (seen.total, dict(seen.excluidas)) == (campanha.total_destinatarios, campanha.excluidas)
    assert seen.excluidas == {"opt_out": 2, "alem_da_quantidade": 1}
    assert seen.plano.as_json().items() <= campanha.plano.items()
    assert seen.termina_em == campanha.termina_em


def test_500_people_on_five_chips_of_thirty_a_day_show_their_days_and_their_end():
    factories.set_setting("janela_envio", {"inicio": "08:00", "fim": "20:00", "dias": [1, 2, 3, 4, 5]})
    for _ in range(5):
        factories.chip(limite_dia=30, limite_hora=5, delay_minimo_segundos=120)
    factories.clientes(500)
    seen = shown(filters={"quantidade_alvo": 500})
    assert [count for _, count in seen.plano.dias] == [75, 75, 75, 75, 75, 75, 50]
    assert seen.termina_texto == "quarta, 11/03, 13:00"
    assert seen.as_json()["plano"]["dias"][0] == {"dia": "2026-03-03", "quantidade": 75}


def test_a_campaign_that_is_not_saved_yet_can_be_previewed():
    factories.clientes(3)
    unsaved = Campanha(tipo_campanha="oferta", corpo="Oi {nome}", audience_filters={"quantidade_alvo": 2})
    assert preview(unsaved, now=NOW).total == 2
    assert preview(Campanha(tipo_campanha="discovery"), now=NOW).amostra[0].texto.startswith("Oi, Médico! Tudo bem?")


def test_a_text_that_cannot_be_sent_is_said_and_the_audience_is_counted_all_the_same():
    factories.clientes(3)
    seen = preview(Campanha(tipo_campanha="oferta", corpo="Oi {nme}", audience_filters={}), now=NOW)
    assert seen.erros == ("A variável {nme} não existe. Você quis dizer {nome}?",)
    assert seen.total == 3
    assert {one.texto for one in seen.amostra} <= {""}


def test_filters_that_cannot_be_used_are_said():
    seen = preview(Campanha(tipo_campanha="oferta", corpo="Oi", audience_filters={"x": 1}), now=NOW)
    assert seen.erros[0].startswith("x: O filtro 'x' não existe.")
    assert seen.total == 0


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({"filters": {"especialidades": ["Cardiologa"]}}, "Nenhum médico com especialidade 'Cardiologa'"),
        ({"filters": {"especialidades": ["Cardiologa"]}}, "Ninguém receberia esta campanha"),
        ({"filters": {"quantidade_alvo": 9}}, "Só 2 pessoas podem receber agora; a quantidade pedida é 9."),
        ({"filters": {"clientes_especificos": ["00000000-0000-4000-8000-000000000001"]}}, "1 dos médicos indicados"),
        ({}, "Nenhum chip pode enviar campanhas agora"),
    ],
)
def test_what_is_worth_reading_before_starting(values: dict[str, Any], warning: str):
    factories.clientes(2)
    assert [text for text in shown(**values).avisos if text.startswith(warning)]


def test_disconnected_chips_of_the_plan_are_named():
    factories.clientes(50)
    factories.chip(evolution_connected=False)
    factories.chip()
    assert shown().avisos == ("1 de 2 chips deste plano estão desconectados agora.",)


def test_a_switch_that_holds_campaigns_is_named():
    factories.clientes(50)
    factories.chip()
    factories.set_setting("campaigns_enabled", False)
    assert shown().avisos[0].startswith("As campanhas estão desligadas.")


def test_more_than_a_year_is_a_warning():
    factories.chip(limite_dia=2, limite_hora=5)
    factories.clientes(300)
    assert "levaria mais de um ano" in " ".join(shown(filters={"quantidade_alvo": 300}).avisos)


def test_the_global_budget_and_what_it_already_carried_today_shape_the_plan():
    factories.set_setting("limite_global_dia", 20)
    factories.set_setting("limite_global_hora", 20)
    factories.chip()
    factories.clientes(15)
    execute(
        "INSERT INTO limites_minutos (escopo, minuto, peso) VALUES ('global', %s, 6), ('global', %s, 8)",
        [NOW - timedelta(hours=1), NOW - timedelta(days=1)],
    )
    assert [count for _, count in shown().plano.dias] == [7, 8]
