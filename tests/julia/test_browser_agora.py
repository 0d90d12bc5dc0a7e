"""A bad afternoon in a real browser: from each alert to its fix, pages that keep fresh, and their pictures."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.servers.basehttp import ThreadedWSGIServer
from django.db import connection
from django.test.testcases import LiveServerThread, QuietWSGIRequestHandler
from playwright.sync_api import Browser, Page, expect

from core.audit.models import AuditEntry
from core.circuits.models import Circuit
from core.rights import Role
from tests import factories
from tests.julia.afternoon import FAILING, LATE, Afternoon, bad_afternoon
from tests.julia.window import NARROW, WIDE, Backoffice, Picture, fits, opened, operator, take_pictures

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:No directory at"),
]

MOTIVO = "o servidor do provedor voltou a responder"
OLD = re.compile("dados antigos")
BLOCKED = (
    ("Ambulatório de pediatria", "Retomar"),
    ("Chip julia-03", "Desbloquear"),
    ("Circuito: Chip julia-05", "Voltar ao automático"),
)

PICTURES: tuple[Picture, ...] = (
    ("agora", "agora", WIDE, "light"),
    ("agora-escuro", "agora", WIDE, "dark"),
    ("agora-celular", "agora", NARROW, "light"),
    ("agora-celular-escuro", "agora", NARROW, "dark"),
    ("alerta", "alerta", WIDE, "light"),
    ("alerta-celular", "alerta", NARROW, "dark"),
    ("jobs", "jobs", WIDE, "light"),
    ("jobs-celular", "jobs", NARROW, "light"),
    ("circuito", "circuito", WIDE, "light"),
    ("rastro", "rastro", WIDE, "dark"),
)


@pytest.fixture
def afternoon(backoffice: Backoffice) -> Afternoon:
    """Marina may also operate circuits."""
    operator("caio", Role.SUPERVISAO)
    found = bad_afternoon()
    backoffice.log_in("caio")
    return found


def resolve(backoffice: Backoffice, alert: str) -> None:
    """The first click: "Resolver" beside this alert on Agora."""
    backoffice.open("/admin/")
    row = backoffice.page.locator(".jl-alert").filter(has_text=alert)
    row.get_by_role("link", name="Resolver").click()


def test_each_alert_is_two_clicks_away_from_its_fix(backoffice: Backoffice, afternoon: Afternoon) -> None:
    circuit_is_closed(backoffice)
    late_job_is_run(backoffice)
    failures_are_listed(backoffice)
    chip_is_checked(backoffice)


def circuit_is_closed(backoffice: Backoffice) -> None:
    resolve(backoffice, "Evolution API: circuito aberto")
    expect(backoffice.page).to_have_url(re.compile("/admin/core/circuit/evolution/change/$"))
    backoffice.press("Fechar agora")
    backoffice.says("Fechar este circuito agora?")
    backoffice.page.get_by_label("Motivo").fill(MOTIVO)
    backoffice.press("Fechar agora")
    backoffice.says("As chamadas voltaram")
    assert Circuit.objects.get(name="evolution").state == "closed"


def late_job_is_run(backoffice: Backoffice) -> None:
    resolve(backoffice, f"Job {LATE} atrasado")
    expect(backoffice.page).to_have_url(re.compile(rf"/admin/core/jobexecution/\?q={LATE}$"))
    expect(backoffice.page.locator("#result_list")).not_to_contain_text(FAILING)
    backoffice.press(f"Executar {LATE} agora")
    backoffice.says(f"Executar {LATE} agora?")
    backoffice.press("Executar agora")
    backoffice.says(re.compile(f"{LATE} (terminou|falhou|foi para a fila de trabalhos)"))
    assert AuditEntry.objects.filter(acao="job_executado", entidade_id=LATE, usuario="caio").count() == 1


def failures_are_listed(backoffice: Backoffice) -> None:
    resolve(backoffice, "das mensagens falham")
    expect(backoffice.page).to_have_url(re.compile("status__exact=erro"))
    expect(backoffice.page.locator("#result_list tbody tr")).to_have_count(8)
    backoffice.page.locator("#result_list a", has_text=re.compile("^[0-9a-f]{8}$")).first.click()
    backoffice.says("Por que não foi enviada?")


def chip_is_checked(backoffice: Backoffice) -> None:
    resolve(backoffice, "Chip julia-04 está desconectado")
    backoffice.says("Desconectado do WhatsApp")
    backoffice.press("Verificar agora")
    expect(backoffice.page.locator("form.jl-confirm button")).to_be_visible()


def test_what_is_blocked_is_two_clicks_away_from_the_act_that_ends_it(
    backoffice: Backoffice, afternoon: Afternoon
) -> None:
    for what, act in BLOCKED:
        backoffice.open("/admin/")
        blocked = backoffice.page.get_by_role("region", name="O que está bloqueado").locator("tr")
        blocked.filter(has_text=what).get_by_role("link", name=re.compile("^Abrir")).click()
        backoffice.press(act)
        expect(backoffice.page.get_by_label("Motivo")).to_be_visible()
    backoffice.open("/admin/")
    row = backoffice.page.locator(".jl-alert").filter(has_text="Evolution API: circuito aberto")
    row.get_by_role("link", name="Assumir").click()
    backoffice.says("Assumir este alerta?")
    backoffice.press("Assumir")
    backoffice.says("O alerta é seu")
    backoffice.open("/admin/")
    expect(row).to_contain_text("com caio")
    expect(row.get_by_role("link", name="Assumir")).to_have_count(0)


def test_every_page_of_the_operation_fits_a_wide_and_a_narrow_window(
    backoffice: Backoffice, afternoon: Afternoon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "DEMO", True)
    monkeypatch.setattr(settings, "APP_ENV", "dev")
    for window in (WIDE, NARROW):
        backoffice.page.set_viewport_size(window)
        for name, path in afternoon.pages().items():
            backoffice.open(path)
            fits(backoffice.page, name, window)
            take_pictures(backoffice.page, PICTURES, name, window)


# Freshness ----------------------------------------------------------------------------------------------------------


class OneRequest(QuietWSGIRequestHandler):
    """No connection outlives its answer: a server that stops has stopped."""

    def handle(self) -> None:
        self.close_connection = True
        self.handle_one_request()


class Stoppable(LiveServerThread):
    def _create_server(self, connections_override: Any = None) -> ThreadedWSGIServer:
        return ThreadedWSGIServer((self.host, self.port), OneRequest)


class Server:
    """The application on a port of its own, which may be taken away and come back."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        self.thread = Stoppable("localhost", StaticFilesHandler, port=self.port)
        self.thread.daemon = True
        self.thread.start()
        self.thread.is_ready.wait()
        assert self.thread.error is None, self.thread.error
        self.port = self.thread.port

    def stop(self) -> None:
        self.thread.terminate()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"


@contextmanager
def at(browser: Browser, server: Server, path: str) -> Iterator[Page]:
    """`path` opened by somebody of the operation, with a clock that the test moves."""
    operator("marina")
    with opened(browser, server.url) as window:
        window.log_in("marina")
        window.page.clock.install()
        window.open(path)
        yield window.page


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()
    connection.close()


@pytest.mark.parametrize(
    ("path", "every"), [("/admin/", 10), ("/admin/core/jobexecution/jobs/", 30), ("/admin/core/circuit/", 30)]
)
def test_a_server_that_stops_answering_makes_the_data_old_until_it_answers_again(
    browser: Browser, server: Server, path: str, every: int
) -> None:
    factories.open_operation()
    with at(browser, server, path) as page:
        line = page.locator("[data-jl-fresh]")
        expect(line).not_to_contain_text(OLD)
        server.stop()
        page.clock.run_for((every + 2) * 1000)
        expect(line).to_contain_text("dados antigos: o servidor não respondeu")
        expect(line).to_have_class(re.compile("jl-old"))
        server.start()
        page.clock.run_for((every + 2) * 1000)
        expect(line).not_to_contain_text(OLD)
        expect(line).not_to_have_class(re.compile("jl-old"))


def test_what_happens_meanwhile_appears_by_itself(browser: Browser, server: Server) -> None:
    factories.open_operation()
    with at(browser, server, "/admin/core/circuit/") as page:
        row = page.locator("#result_list tr").filter(has_text="Evolution API")
        expect(row).to_contain_text("Fechado")
        Circuit.objects.filter(name="evolution").update(forced="aberto")
        page.clock.run_for(32_000)
        expect(row).to_contain_text("Aberto por uma pessoa")


def test_a_session_that_ended_says_so_instead_of_showing_the_login_page(browser: Browser, server: Server) -> None:
    factories.open_operation()
    with at(browser, server, "/admin/") as page:
        page.context.clear_cookies()
        page.clock.run_for(12_000)
        expect(page.locator("[data-jl-fresh]")).to_contain_text("sua sessão terminou")
        expect(page.locator("input[type=password]")).to_have_count(0)


def test_the_keyboard_stays_where_it_was_when_the_page_refreshes(browser: Browser, server: Server) -> None:
    factories.open_operation()
    factories.campanha(nome_template="Plantões de março", status="agendada")
    with at(browser, server, "/admin/") as page:
        link = page.get_by_role("link", name="Plantões de março")
        link.focus()
        page.evaluate("document.querySelector('[data-jl-fresh]').id = 'antes'")
        page.clock.run_for(12_000)
        expect(page.locator("#antes")).to_have_count(0)
        expect(link).to_be_focused()
