"""The page "Rastro": what it finds, what it hides, and that it stays cheap."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core import correlation
from core.database import rows
from core.models import AuditEntry
from core.rights import Role
from fila.models import Campanha, Mensagem
from julia import rastro
from tests import factories
from tests.julia import backoffice
from tests.julia.backoffice import HOSTILE, PHONE, World

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

URL = "/admin/rastro/"
LARGE = ("fila_mensagens", "fila_eventos", "envios_tentativas", "webhook_eventos", "interacoes", "job_executions",
         "audit_trail", "circuit_transitions", "alertas")  # fmt: skip


@pytest.fixture
def world() -> World:
    with correlation.use("mundo001"):
        made = backoffice.world()
    Mensagem.objects.filter(pk=made.mensagem.pk).update(correlation_id="mundo001")
    Campanha.objects.filter(pk=made.campanha.pk).update(correlation_id="mundo001")
    return made


@pytest.fixture
def leitura() -> Client:
    return backoffice.logged_in(Role.LEITURA)


@pytest.fixture
def supervisao() -> Client:
    return backoffice.logged_in(Role.SUPERVISAO)


def page(client: Client, term: str = "") -> str:
    response = client.get(URL, {"q": term} if term else {})
    assert response.status_code == 200
    return response.content.decode()


def test_the_address_is_the_one_that_other_pages_link_to() -> None:
    assert reverse("admin:rastro") == URL


def test_without_a_term_the_page_says_what_it_is_for(leitura: Client) -> None:
    html = page(leitura)
    assert "Siga um clique até o provedor e de volta" in html
    assert 'href="/admin/rastro/"' in html, "it is in the menu"


@pytest.mark.parametrize(
    "term",
    ["nada0000", "99999999999999999999", "3f0c1d52-8a1e-4c59-9d0e-2b7a64f1c0de", "com espaço", "á" * 300, "'\"--"],
)
def test_a_term_that_nothing_goes_by_finds_nothing_and_says_so(term: str, leitura: Client) -> None:
    assert "Nada foi encontrado com" in page(leitura, term)


def test_a_message_is_found_by_each_of_its_names_and_its_phone_is_masked(world: World, leitura: Client) -> None:
    found = rows("SELECT id FROM envios_tentativas WHERE origem_id = %s", [world.mensagem.pk])
    rows("UPDATE envios_tentativas SET provider_message_id = '3EB0AA11' WHERE origem_id = %s", [world.mensagem.pk])
    for term in (str(world.mensagem.pk), str(found[0]["id"]), "3EB0AA11", "mundo001"):
        html = page(leitura, term)
        assert f'href="{reverse("admin:fila_mensagem_change", args=[world.mensagem.pk])}"' in html, term
        assert PHONE not in html
        assert HOSTILE not in html
        assert "Tentativa 1" in html


def test_the_acts_of_the_audit_trail_are_for_those_who_may_read_it(
    world: World, leitura: Client, supervisao: Client
) -> None:
    entry = reverse("admin:core_auditentry_change", args=[world.entry.pk])
    assert entry not in page(leitura, "mundo001")
    assert "que seu papel não mostra" in page(leitura, "mundo001")
    assert entry in page(supervisao, "mundo001")


def test_an_alert_and_a_job_run_are_found_by_their_ids(world: World, supervisao: Client) -> None:
    for row in (world.alerta, world.execution):
        type(row).objects.filter(pk=row.pk).update(correlation_id="outro001")
        name = f"admin:core_{row._meta.model_name}_change"
        assert reverse(name, args=[row.pk]) in page(supervisao, str(row.pk))


def test_more_messages_than_fit_are_said_and_not_shown(leitura: Client) -> None:
    campanha = factories.campanha(correlation_id="grande01")
    factories.mensagens(rastro.MOST_MESSAGES + 5, campanha=campanha, correlation_id="grande01")
    html = page(leitura, "grande01")
    assert f"Há mais de {rastro.MOST_MESSAGES} mensagens sob este código" in html
    assert len(set(re.findall(r"/admin/fila/mensagem/([0-9a-f-]{36})/", html))) == rastro.MOST_MESSAGES


def test_one_message_of_a_campaign_shows_its_own_story_only() -> None:
    campanha = factories.campanha(correlation_id="camp0001")
    first, _ = factories.mensagens(2, campanha=campanha, correlation_id="camp0001")
    told = rastro.story(str(first.pk), with_acts=True)
    pages = {line.url for line in told.lines if line.sort == "Mensagem"}
    assert pages == {reverse("admin:fila_mensagem_change", args=[first.pk])}


def test_a_person_without_the_right_is_refused() -> None:
    assert backoffice.logged_in(None).get(URL).status_code == 403


def test_a_database_that_does_not_answer_is_no_empty_result(leitura: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = "SELECT pg_sleep(30) WHERE %(uuid)s::text IS NULL OR %(number)s::text = %(term)s"
    monkeypatch.setattr(rastro, "_RESOLVE", endless)
    monkeypatch.setattr("julia.backoffice.rastro.DEADLINE_MS", 50)
    html = page(leitura, "abc")
    assert "foi interrompida" in html
    assert "Nada foi encontrado" not in html


@pytest.mark.parametrize("term", ["mundo001", "mensagem"])
def test_a_story_costs_at_most_seven_statements(term: str, world: World) -> None:
    wanted = str(world.mensagem.pk) if term == "mensagem" else term
    with CaptureQueriesContext(connection) as queries:
        found = rastro.story(wanted, with_acts=True)
    assert found.lines
    assert len(queries) <= 7


def test_every_statement_finds_an_index_in_every_large_table(world: World) -> None:
    params = {
        "uuid": world.mensagem.pk, "number": 1, "term": "x", "ids": ["mundo001"], "most": 50, "causas": None,
        "mensagens": [world.mensagem.pk], "keys": ["x"], "providers": ["evolution"], "instances": ["x"],
    }  # fmt: skip
    rows("SET LOCAL enable_seqscan = off")
    for name in ("_RESOLVE", "_ACTS", "_NAMED", "_MESSAGES", "_EVENTS", "_ATTEMPTS", "_WEBHOOKS", "_INTERACTIONS"):
        plan = "\n".join(row["QUERY PLAN"] for row in rows("EXPLAIN " + getattr(rastro, name), params))
        scanned = re.findall(r"Seq Scan on (\w+)", plan)
        assert not set(scanned) & set(LARGE), f"{name}\n{plan}"


def test_the_story_of_everything_under_one_id_is_in_order(world: World) -> None:
    AuditEntry.objects.update(correlation_id="mundo001")
    lines = rastro.story("mundo001", with_acts=True).lines
    assert [line.at for line in lines] == sorted(line.at for line in lines)
