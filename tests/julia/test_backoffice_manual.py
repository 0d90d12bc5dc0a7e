"""What the manuals do by SQL or curl is a button with its effect in numbers before the press, and a motivo."""

import pytest
from django.test import Client
from django.urls import reverse

from core.jobs import registry
from core.rights import Role
from fila.conversas import silencio
from tests import factories
from tests.julia import backoffice

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]


def question(client: Client, url: str) -> str:
    return str(client.get(url).content.decode())


def test_pausing_and_cancelling_a_campaign_say_how_many_messages_wait() -> None:
    campanha = factories.campanha()
    factories.mensagens(3, campanha=campanha)
    client = backoffice.logged_in(Role.OPERACAO)
    for act in ("pausar", "cancelar"):
        assert "3 mensagens esperam" in question(client, reverse("admin:fila_campanha_act", args=[campanha.pk, act]))


def test_blocking_a_chip_says_whether_another_one_carries_campaigns() -> None:
    factories.open_operation()
    first = factories.chip()
    client = backoffice.logged_in(Role.OPERACAO)
    url = reverse("admin:chips_chip_act", args=[first.pk, "bloquear"])
    assert "Nenhum outro chip está apto a campanhas agora" in question(client, url)
    factories.chip()
    assert "1 outro chip apto a campanhas agora" in question(client, url)


def test_silencing_julia_with_a_doctor_counts_what_waits_and_needs_supervision_to_be_lifted() -> None:
    cliente = factories.cliente()
    factories.mensagem(cliente=cliente)
    operacao = backoffice.logged_in(Role.OPERACAO)
    silence, lift = (reverse("admin:core_cliente_act", args=[cliente.pk, act]) for act in ("silenciar", "liberar"))
    assert "Agora há 1 mensagem pendente para ele" in question(operacao, silence)
    operacao.post(silence, {"motivo": "pediu para falar só com uma pessoa"})
    page = operacao.get(reverse("admin:core_cliente_change", args=[cliente.pk])).content.decode()
    assert "A Julia está calada com este médico" in page
    assert "Deixar a Julia falar" not in page
    assert operacao.post(lift, {"motivo": "conversa resolvida pela equipe"}).status_code == 403
    backoffice.logged_in(Role.SUPERVISAO).post(lift, {"motivo": "conversa resolvida pela equipe"})
    assert silencio.standing(cliente) is None


def test_every_job_has_its_button_and_what_changes_data_offers_a_rehearsal_and_asks_for_a_motivo() -> None:
    client = backoffice.logged_in(Role.OPERACAO)
    for job in registry.registered():
        html = question(client, reverse("admin:core_jobexecution_run", args=[job.name]))
        assert "Executar agora" in html, job.name
        for name in job.params:
            assert f'name="{name}"' in html, (job.name, name)
        assert ('name="motivo"' in html) is job.rehearses, job.name
