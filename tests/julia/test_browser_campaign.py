"""A working day in the backoffice, in a real browser: import, preview, start, watch, look into a message, stop.

The page is served by Django's live server, the messages go through the real drain to the simulator, and its receipts
come back by HTTP. What the task cluster would do is done at once, by the same function and from the same row.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module
from typing import Any, TypeVar

import pytest
from django.conf import settings
from django.db import connection
from django_q.models import OrmQ
from playwright.sync_api import expect

from chips.models import Chip
from chips.simulator.client import SimulatorProcess
from chips.webhooks.inbox import process_inbox
from core import clock
from core.clientes import services as clientes
from core.health import beats
from core.jobs import runner
from fila.campanhas import services
from fila.models import Campanha, Conversa, Mensagem
from julia.embedded.places import PROJECT
from tests import factories
from tests.fila.drains import drain
from tests.julia.window import NARROW, WIDE, Backoffice, Picture, fits, take_pictures

T = TypeVar("T")

HOURLY = 80  # weight per chip; a campaign message weighs 2
CSV = """telefone;nome;especialidade;cidade;estado
(11) 90000-3001;Dra. Helena Vasconcelos;Cardiologia;São Paulo;SP
(21) 90000-3002;Dr. João d'Ávila;Pediatria;Niterói;RJ
(31) 90000-3003;Dra. Conceição Ávila;Cardiologia;Belo Horizonte;MG
(41) 90000-3004;Dr. Otávio Brandão;Cardiologia;Curitiba;PR
3000-0025;Natália Freitas;Neurologia;Vitória;ES
(11) 9OOOO-0058;Igor Vieira;Clínica Médica;São Paulo;SP
(65) 90000-3007;Vinícius Almeida;Dermatologia;Cuiabá;Pernambuco
(11) 90000-3001;Helena Vasconcelos;Cardiologia;São Paulo;SP
"""
DEMO_CSV = PROJECT / "core" / "clientes" / "demo" / "medicos.csv"
REPLIES = (
    "Oi! Quero saber mais, sim.",
    "Quais são os valores?",
    "Não quero mais receber mensagens.",
    "Me chama amanhã?",
)
TEXT = "Oi, {primeiro_nome|doutor(a)}! Abrimos plantões de {especialidade} em {cidade}. Quer ver os horários?"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:No directory at"),
]


@pytest.fixture
def fleet(simulator: SimulatorProcess, live_server: Any) -> list[Chip]:
    """Two chips that the simulator knows and whose receipts come back to the live server."""
    factories.open_operation()
    chips = [factories.chip(f"julia-{n:02d}", limite_hora=HOURLY, limite_dia=3 * HOURLY) for n in (1, 2)]
    for chip in chips:
        simulator.register(
            chip.instance_name,
            phone=chip.telefone,
            webhook_url=f"{live_server.url}/webhooks/evolution/{chip.instance_name}",
            webhook_headers={"X-Instance-Secret": chip.webhook_secret},
        )
    return chips


def beside(work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """In a thread of its own, with a connection of its own: an event loop cannot run inside Playwright's."""

    def alone() -> T:
        try:
            return work(*args, **kwargs)
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(alone).result()


def run_offered_tasks() -> int:
    """What the task cluster would take from its broker now."""
    offered = list(OrmQ.objects.order_by("id"))
    for row in offered:
        task = row.task
        row.delete()
        module, _, name = task["func"].rpartition(".")
        beside(getattr(import_module(module), name), *task["args"], **task["kwargs"])
    return len(offered)


def send_everything(simulator: SimulatorProcess) -> None:
    """The worker's part: drain, then read the receipts, then end what is done."""
    beside(drain, seconds=30)
    simulator.wait_quiet()
    beside(process_inbox, limit=1000, now=clock.now())
    runner.run("processar_campanhas_agendadas", now=clock.now())


def make_due(count: int | None = None) -> None:
    """The plan spreads the messages over hours and days; here the first `count` of them (or all) are due now."""
    waiting = Mensagem.objects.filter(status="pendente", campanha__status="ativa").order_by("agendar_para")
    ids = list(waiting.values_list("id", flat=True)[:count])
    Mensagem.objects.filter(id__in=ids).update(agendar_para=clock.now() - timedelta(seconds=1))


def import_doctors(backoffice: Backoffice) -> None:
    backoffice.open("/admin/core/importacao/")
    backoffice.page.get_by_role("link", name="Importar arquivo").click()
    backoffice.page.set_input_files(
        "input[type=file]", {"name": "medicos.csv", "mimeType": "text/csv", "buffer": CSV.encode()}
    )
    backoffice.press("Importar")
    backoffice.says("Na fila")
    assert run_offered_tasks() == 1
    backoffice.reload()


def create_campaign(backoffice: Backoffice, nome: str) -> None:
    backoffice.open("/admin/fila/campanha/add/")
    page = backoffice.page
    page.get_by_label("Nome").fill(nome)
    page.get_by_label("Tipo").select_option(label="Oferta de plantão")
    page.get_by_label("Texto").fill(TEXT)
    page.get_by_label("Cardiologia").check()
    page.get_by_label("Quantas pessoas").fill("10")
    backoffice.press("Ver prévia")
    backoffice.says("Como chega")


def start_campaign(backoffice: Backoffice, nome: str) -> Campanha:
    create_campaign(backoffice, nome)
    backoffice.press("Salvar")
    backoffice.press("Iniciar")
    backoffice.says("Iniciar esta campanha?")
    backoffice.press("Iniciar")
    assert run_offered_tasks() == 1
    return Campanha.objects.get(nome_template=nome)


def test_wrong_rows_of_an_import_are_shown_with_their_reason(backoffice: Backoffice) -> None:
    backoffice.log_in("marina")
    import_doctors(backoffice)
    backoffice.says("Concluída")
    rows = backoffice.page.locator("table.jl-table tr")
    expect(rows.filter(has_text="telefone sem DDD")).to_have_count(1)
    expect(rows.filter(has_text="telefone com letras entre os números")).to_have_count(1)
    expect(rows.filter(has_text="estado deve ser a sigla de duas letras")).to_have_count(1)
    expect(backoffice.page.locator(".jl-number", has_text="médicos novos")).to_contain_text("4")
    expect(backoffice.page.locator(".jl-number", has_text="linhas recusadas")).to_contain_text("3")
    expect(backoffice.page.locator(".jl-number", has_text="já conhecidos")).to_contain_text("1")


def test_a_campaign_from_the_first_look_to_its_end(
    backoffice: Backoffice, fleet: list[Chip], simulator: SimulatorProcess
) -> None:
    backoffice.log_in("marina")
    import_doctors(backoffice)
    create_campaign(backoffice, "Plantões de cardiologia")
    backoffice.says("Oi, Helena! Abrimos plantões de Cardiologia em São Paulo.")
    backoffice.says("3 de 3 médicos do filtro receberiam a mensagem")
    assert not Campanha.objects.exists()

    backoffice.press("Salvar")
    backoffice.says("Nada foi enviado ainda")
    backoffice.press("Iniciar")
    backoffice.says("3 pessoas recebem a mensagem")
    backoffice.press("Iniciar")
    backoffice.says("foi iniciada")
    assert run_offered_tasks() == 1
    make_due()
    backoffice.reload()
    backoffice.says("0 de 3")

    send_everything(simulator)
    assert {record.text for record in simulator.truth().records} == {
        "Oi, Helena! Abrimos plantões de Cardiologia em São Paulo. Quer ver os horários?",
        "Oi, Conceição! Abrimos plantões de Cardiologia em Belo Horizonte. Quer ver os horários?",
        "Oi, Otávio! Abrimos plantões de Cardiologia em Curitiba. Quer ver os horários?",
    }
    backoffice.reload()
    backoffice.says("Concluída")
    backoffice.says("3 de 3")
    expect(backoffice.page.locator(".jl-number", has_text="entregues")).to_contain_text("3")

    backoffice.page.locator("a.jl-number", has_text="enviadas").click()
    backoffice.page.locator("#result_list a", has_text=re.compile("^[0-9a-f]{8}$")).first.click()
    backoffice.says("Por que foi enviada?")
    backoffice.says("Foi enviada.")
    backoffice.says("Tentativa 1 pelo chip julia-0")
    backoffice.says("aceita pelo provedor")
    backoffice.says("Confirmação do WhatsApp")


def test_a_paused_campaign_waits_and_goes_on_where_it_stopped(
    backoffice: Backoffice, fleet: list[Chip], simulator: SimulatorProcess
) -> None:
    backoffice.log_in("marina")
    import_doctors(backoffice)
    campanha = start_campaign(backoffice, "Reforço de cardiologia")
    make_due()
    backoffice.reload()
    backoffice.press("Pausar")
    backoffice.press("Pausar")
    backoffice.says("Escreva o motivo")
    backoffice.page.get_by_label("Motivo").fill("conferir o texto com a coordenação")
    backoffice.press("Pausar")
    backoffice.says("está pausada")
    send_everything(simulator)
    assert simulator.truth().total == 0

    backoffice.open(f"/admin/fila/mensagem/?campanha={campanha.pk}")
    backoffice.page.locator("#result_list a", has_text=re.compile("^[0-9a-f]{8}$")).first.click()
    backoffice.says("a campanha está pausada")

    backoffice.open(f"/admin/fila/campanha/{campanha.pk}/change/")
    backoffice.press("Retomar")
    backoffice.page.get_by_label("Motivo").fill("texto conferido e aprovado")
    backoffice.press("Retomar")
    backoffice.says("voltou a enviar")
    make_due()
    send_everything(simulator)
    assert simulator.truth().total == 3
    backoffice.reload()
    backoffice.says("conferir o texto com a coordenação")
    backoffice.says("Concluída")


def a_busy_day(simulator: SimulatorProcess, fleet: list[Chip]) -> dict[str, str]:
    """Campaigns in every state, refusals, failures and replies; the addresses of the pages worth a look."""
    now = clock.now()
    for papel in ("worker", "scheduler", "api"):
        beats.beat(papel, f"{papel}-1")
    limits = {"limite_hora": 40, "limite_dia": 120}
    factories.chip(
        "julia-03", **limits, trust_score=74, trust_level="amarelo", cooldown_until=now + timedelta(minutes=4)
    )
    factories.chip("julia-04", **limits, status="warming", trust_score=48, trust_level="laranja", pode_prospectar=False)
    factories.chip(
        "julia-05", **limits, status="paused", evolution_connected=False, trust_score=61, trust_level="amarelo"
    )
    with DEMO_CSV.open("rb") as stream:
        report = clientes.importar(stream, nome_arquivo="medicos.csv", actor="marina", now=now)
    done = started("Plantões de dezembro", 40)
    make_due()
    chosen = list(Mensagem.objects.filter(campanha=done).order_by("id").values_list("telefone_destino", flat=True)[:7])
    simulator.fault("inexistente", numbers=chosen[:2])
    send_everything(simulator)
    for telefone, text in zip(chosen[2:6], REPLIES, strict=True):
        simulator.inbound(fleet[0].instance_name, telefone, text)
    simulator.wait_quiet()
    beside(process_inbox, limit=1000, now=clock.now())
    running = started("Fim de semana em Curitiba", 120)
    make_due(17)
    beside(drain, seconds=30)
    paused = started("Ambulatório de pediatria", 25)
    services.pause(paused.pk, motivo="coordenação revisa os valores", actor="marina", now=now)
    in_two_days = now.replace(minute=0, second=0) + timedelta(days=2)
    create("Retorno de quem não respondeu", 50, tipo="reativacao", agendar_para=in_two_days)
    draft = create("Plantões de janeiro", 80)
    answered = Conversa.objects.filter(message_count__gt=0).order_by("lead_phone")[:1].get()
    failed = Mensagem.objects.filter(campanha=done, status="erro")[:1].get()
    sent = Mensagem.objects.filter(campanha=done, delivery_status="delivered").order_by("id")[:1].get()
    return {
        "agora": "/admin/",
        "campanha": f"/admin/fila/campanha/{done.pk}/change/",
        "campanha-em-andamento": f"/admin/fila/campanha/{running.pk}/change/",
        "campanhas": "/admin/fila/campanha/",
        "previa": f"/admin/fila/campanha/{draft.pk}/previa/",
        "fila": f"/admin/fila/mensagem/?campanha={done.pk}",
        "mensagem": f"/admin/fila/mensagem/{sent.pk}/change/",
        "mensagem-com-falha": f"/admin/fila/mensagem/{failed.pk}/change/",
        "conversa": f"/admin/fila/conversa/{answered.pk}/change/",
        "chips": "/admin/chips/chip/",
        "medicos": "/admin/core/cliente/",
        "importacao": f"/admin/core/importacao/{report.importacao_id}/change/",
        "ajustes": "/admin/core/appsetting/",
        "campanha-nova": "/admin/fila/campanha/add/",
        "conversas": "/admin/fila/conversa/",
        "jobs": "/admin/core/jobexecution/",
        "medico": f"/admin/core/cliente/{sent.cliente_id}/change/",
    }


def create(nome: str, quantidade: int, **values: Any) -> Campanha:
    filters = {"quantidade_alvo": quantidade, "pressure_score_max": 100}
    given: dict[str, Any] = {"tipo": "oferta_plantao", "corpo": TEXT, "filters": filters} | values
    return services.create(nome=nome, actor="marina", now=clock.now(), **given)


def started(nome: str, quantidade: int) -> Campanha:
    return services.start(create(nome, quantidade).pk, actor="marina", now=clock.now())


PICTURES: tuple[Picture, ...] = (
    ("campanha", "campanha-em-andamento", WIDE, "light"),
    ("campanha-celular", "campanha", NARROW, "dark"),
    ("previa", "previa", WIDE, "light"),
    ("fila", "fila", WIDE, "light"),
    ("mensagem", "mensagem", WIDE, "light"),
    ("mensagem-escuro", "mensagem-com-falha", WIDE, "dark"),
    ("mensagem-celular", "mensagem", NARROW, "light"),
    ("chips", "chips", WIDE, "light"),
    ("importacao", "importacao", WIDE, "light"),
)


def test_every_key_page_fits_a_wide_and_a_narrow_window(
    backoffice: Backoffice, fleet: list[Chip], simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "DEMO", True)
    monkeypatch.setattr(settings, "APP_ENV", "dev")
    pages = a_busy_day(simulator, fleet)
    backoffice.log_in("marina")
    for window in (WIDE, NARROW):
        backoffice.page.set_viewport_size(window)
        for name, path in pages.items():
            backoffice.open(path)
            fits(backoffice.page, name, window)
            take_pictures(backoffice.page, PICTURES, name, window)
