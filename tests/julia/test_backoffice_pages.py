"""Every page of the backoffice: who may open it, what it never shows, and that it stays cheap."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core.rights import Role
from tests import factories
from tests.julia import backoffice
from tests.julia.backoffice import HOSTILE, PHONE, World

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

ADMINISTRATION = (
    "admin:auth_user_changelist", "admin:auth_user_add", "admin:chips_chip_add", "admin:core_auditentry_changelist",
    "admin:guardrails_feriado_add", "admin:core_cliente_add", "admin:core_importacao_add", "admin:fila_campanha_add",
)  # fmt: skip
LISTS = (
    "fila_mensagem", "fila_campanha", "fila_conversa", "chips_chip", "core_cliente", "core_importacao",
    "core_jobexecution", "core_auditentry",
)  # fmt: skip


@pytest.fixture
def world() -> World:
    return backoffice.world()


@pytest.fixture
def administracao() -> Client:
    return backoffice.logged_in(Role.ADMINISTRACAO)


@pytest.fixture
def leitura() -> Client:
    return backoffice.logged_in(Role.LEITURA)


def test_administracao_opens_every_page(world: World, administracao: Client) -> None:
    pages = [
        *world.pages(),
        *map(reverse, ADMINISTRATION),
        reverse("admin:core_auditentry_change", args=[world.entry.pk]),
    ]
    assert {page: administracao.get(page).status_code for page in pages} == dict.fromkeys(pages, 200)


def test_leitura_opens_every_page_that_only_reads(world: World, leitura: Client) -> None:
    pages = list(world.pages())
    assert {page: leitura.get(page).status_code for page in pages} == dict.fromkeys(pages, 200)


@pytest.mark.parametrize("name", ADMINISTRATION)
def test_leitura_is_refused_where_things_are_made(name: str, leitura: Client) -> None:
    assert leitura.get(reverse(name)).status_code == 403


def test_leitura_is_offered_no_button(world: World, leitura: Client) -> None:
    for row in (world.campanha, world.rascunho, world.chip, world.mensagem, world.cliente):
        page = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
        assert "/acao/" not in leitura.get(page).content.decode()


def test_somebody_without_a_role_is_told_to_ask_for_one() -> None:
    client = backoffice.logged_in(None)
    assert "ainda não tem um papel" in client.get(reverse("admin:index")).content.decode()
    assert client.get(reverse("admin:fila_mensagem_changelist")).status_code == 403


def test_a_stranger_is_sent_to_the_login() -> None:
    response = Client().get(reverse("admin:fila_mensagem_changelist"))
    assert response.status_code == 302
    assert "/login/" in response["Location"]


def test_no_page_shows_a_whole_phone(world: World, administracao: Client) -> None:
    spellings = [PHONE, PHONE[2:], "90000-1234", world.chip.telefone]
    for page in world.pages():
        html = administracao.get(page).content.decode()
        assert not [spelling for spelling in spellings if spelling in html], page


def test_no_page_shows_a_secret(world: World, administracao: Client) -> None:
    page = reverse("admin:chips_chip_edit", args=[world.chip.pk])
    secret = type(world.chip).objects.get(pk=world.chip.pk).webhook_secret
    assert secret
    assert secret not in administracao.get(page).content.decode()
    assert secret not in administracao.get(reverse("admin:chips_chip_change", args=[world.chip.pk])).content.decode()


def test_imported_text_is_data_and_never_markup(world: World, administracao: Client) -> None:
    for page in world.pages():
        assert HOSTILE not in administracao.get(page).content.decode(), page


def test_no_page_asks_another_host(world: World, administracao: Client) -> None:
    for page in world.pages():
        html = administracao.get(page).content.decode()
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', html), page


@pytest.mark.parametrize("name", LISTS)
def test_a_list_asks_the_same_number_of_questions_for_more_rows(name: str, world: World, administracao: Client) -> None:
    page = reverse(f"admin:{name}_changelist")
    administracao.get(page)
    before = _questions(administracao, page)
    _more_of_everything()
    assert _questions(administracao, page) == before


@pytest.mark.parametrize("name", ["core_cliente", "fila_mensagem", "fila_campanha", "chips_chip", "fila_conversa"])
def test_a_list_without_rows_says_what_to_do_next(name: str, administracao: Client) -> None:
    html = administracao.get(reverse(f"admin:{name}_changelist")).content.decode()
    assert "jl-empty" in html


def test_a_row_that_is_not_there_is_404(administracao: Client, world: World) -> None:
    for name in LISTS:
        assert administracao.get(f"/admin/{name.replace('_', '/')}/nada/change/").status_code == 404


def test_the_demo_banner_is_on_every_page_of_a_demo_only(
    world: World, administracao: Client, settings: pytest.FixtureRequest
) -> None:
    settings.DEMO = True  # type: ignore[attr-defined]
    for page in world.pages():
        assert "dados inventados, simulador no lugar do WhatsApp" in administracao.get(page).content.decode(), page
    assert "dados inventados" in Client().get(reverse("admin:login")).content.decode()
    settings.DEMO = False  # type: ignore[attr-defined]
    assert "dados inventados" not in administracao.get(reverse("admin:index")).content.decode()


def test_a_list_that_takes_too_long_says_so(
    world: World, administracao: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fila.admin import MensagemAdmin

    def slow(self: MensagemAdmin, request: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.2)")

    monkeypatch.setattr(MensagemAdmin, "list_deadline_ms", 20)
    monkeypatch.setattr(MensagemAdmin, "get_ordering", slow)
    response = administracao.get(reverse("admin:fila_mensagem_changelist"))
    assert response.status_code == 503
    assert "demorou demais" in response.content.decode()


@pytest.mark.parametrize("typed", ["11 90000-1234", "+55 (11) 90000-1234", PHONE])
def test_a_message_is_found_by_any_spelling_of_the_whole_phone(typed: str, world: World, administracao: Client) -> None:
    html = administracao.get(reverse("admin:fila_mensagem_changelist"), {"q": typed}).content.decode()
    assert str(world.mensagem.pk)[:8] in html


def test_a_message_is_found_by_its_id(world: World, administracao: Client) -> None:
    html = administracao.get(reverse("admin:fila_mensagem_changelist"), {"q": str(world.mensagem.pk)}).content.decode()
    assert str(world.mensagem.pk)[:8] in html


def test_part_of_a_phone_finds_nothing_and_says_why(world: World, administracao: Client) -> None:
    html = administracao.get(reverse("admin:fila_mensagem_changelist"), {"q": "1234"}).content.decode()
    assert "telefone completo" in html
    assert str(world.mensagem.pk)[:8] not in html


def test_a_doctor_is_found_by_the_start_of_the_name_without_accents_or_title(administracao: Client) -> None:
    found = factories.cliente(nome="Dra. Íris Ação", nome_busca="iris acao")
    for typed in ("íris", "IRIS A", "dra. iris"):
        html = administracao.get(reverse("admin:core_cliente_changelist"), {"q": typed}).content.decode()
        assert str(found.pk) in html, typed


def _questions(client: Client, page: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(page).status_code == 200
    return len(captured)


def _more_of_everything() -> None:
    from core.clientes.models import Importacao
    from core.jobs.models import JobExecution
    from core.models import AuditEntry
    from fila.conversas.models import Conversa

    for number in range(6):
        campanha = factories.campanha(nome_template=f"Outra {number}", total_destinatarios=1)
        mensagem = factories.mensagem(campanha=campanha, chip=factories.chip())
        Conversa.objects.create(cliente=mensagem.cliente, lead_phone=mensagem.cliente.telefone)
        Importacao.objects.create(nome_arquivo="outra.csv")
        JobExecution.objects.create(job_name="heartbeat")
        AuditEntry.objects.create(acao="outra", entidade="chip", usuario="ana")


def test_no_page_speaks_english(world: World, administracao: Client) -> None:
    """Texts of the libraries that nobody translated would show here."""
    words = re.compile(r">\s*(?:Filters|Search|Save|Add|Log out|Select \w+|No results|Welcome back to|Home)\s*<")
    for page in [*world.pages(), reverse("admin:fila_campanha_add")]:
        assert not words.findall(administracao.get(page).content.decode()), page
    assert "Entrar em" in Client().get(reverse("admin:login")).content.decode()
