"""Circuits, their changes and alerts as operators see them, and who may do what about them."""

import uuid

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core.alerts.models import Alerta, Severidade
from core.alerts.services import raise_alert, resolve
from core.circuits import services
from core.circuits.models import Circuit, CircuitTransition
from core.circuits.names import of_chip
from core.circuits.services import Call, CallResult
from core.clock import database_now
from core.models import AuditEntry
from core.rights import Role
from tests import factories
from tests.julia import backoffice

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

MOTIVO = "a Evolution avisou da manutenção"
CIRCUITS = "admin:core_circuit_changelist"
CHANGES = "admin:core_circuittransition_changelist"
ALERTS = "admin:core_alerta_changelist"


@pytest.fixture
def supervisao() -> Client:
    return backoffice.logged_in(Role.SUPERVISAO)


@pytest.fixture
def operacao() -> Client:
    return backoffice.logged_in(Role.OPERACAO)


@pytest.fixture
def leitura() -> Client:
    return backoffice.logged_in(Role.LEITURA)


def outage(name: str = "evolution") -> None:
    now = database_now()
    with transaction.atomic():
        services.record(
            [Call(name, CallResult.FAILURE, scope, "servidor", started_at=now) for scope in ("a", "b", "a", "b", "a")]
        )


def page(name: str) -> str:
    return reverse("admin:core_circuit_change", args=[name])


def act(name: str, what: str) -> str:
    return reverse("admin:core_circuit_act", args=[name, what])


def alert() -> Alerta:
    with transaction.atomic():
        raise_alert(
            "provedor_lento",
            "evolution",
            severidade=Severidade.WARNING,
            titulo="Evolution API está lenta",
            mensagem="Próximo passo: ver o servidor.",
            contexto={"lentas": 4},
        )
    return Alerta.objects.get(resolvido_em__isnull=True)


def text(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_the_list_shows_what_is_out_slow_or_decided_by_a_person(leitura: Client) -> None:
    outage()
    Circuit.objects.filter(pk="zapi").update(share=1, slow_since=database_now())
    services.force_open("slack", actor="ana", motivo=MOTIVO)
    shown = text(leitura, reverse(CIRCUITS))
    for expected in ("Evolution API", "Aberto (sem chamadas)", "Lento: 1 envio por vez", "Aberto por uma pessoa"):
        assert expected in shown
    shown = shown[shown.index("Falhas seguidas") :]
    order = [shown.index(name) for name in ("Evolution API", "Slack", "Claude")]
    assert order == sorted(order)


@pytest.mark.parametrize("name", ["evolution", "supabase", of_chip(uuid.UUID("0b7f4c2e-0000-4000-8000-000000000001"))])
@pytest.mark.parametrize("state", ["closed", "open", "half_open"])
@pytest.mark.parametrize("forced", ["", "aberto", "desligado"])
def test_every_state_has_a_page_that_explains_it(leitura: Client, name: str, state: str, forced: str) -> None:
    now = database_now()
    Circuit.objects.update_or_create(
        pk=name,
        defaults={
            "state": state,
            "forced": forced,
            "retry_at": now,
            "permit_until": now,
            "failing_scopes": [str(uuid.uuid4()), "x"],
            "share": 2,
            "slow_since": now,
        },
    )
    shown = text(leitura, page(name))
    assert "este chip" in shown or "este serviço" in shown or "Uma única chamada" in shown


def test_the_page_of_a_chips_circuit_leads_to_the_chip_and_opens_from_the_list(leitura: Client) -> None:
    chip = factories.chip()
    services.force_open(of_chip(chip.pk), actor="ana", motivo=MOTIVO)
    link = reverse("admin:core_circuit_change", args=[f"chip_3A{chip.pk}"])
    assert link in text(leitura, reverse(CIRCUITS))
    assert reverse("admin:chips_chip_change", args=[chip.pk]) in text(leitura, link)


def test_every_reason_is_told_in_words(leitura: Client) -> None:
    outage()
    for reason in (
        "timeout_reset_300s", "falha_half_open_tentativa_2", "timeout_half_open_tentativa_1", "recuperado",
        "restricao_classificada", "reset_manual", "aberto_manual", "desligado_manual", "automatico_manual",
    ):  # fmt: skip
        CircuitTransition.objects.create(
            circuit_name="evolution", from_state="open", to_state="half_open", reason=reason
        )
    shown = text(leitura, reverse(CHANGES))
    for sentence in ("5 falhas seguidas", "Passaram os 300 s", "A sonda 2 falhou", "A sonda respondeu"):
        assert sentence in shown
    assert "_manual" not in shown
    assert "half_open" not in shown


def test_changes_are_filtered_by_circuit(leitura: Client) -> None:
    outage()
    assert "5 falhas seguidas" in text(leitura, reverse(CHANGES) + "?circuito=evolution")
    assert "5 falhas seguidas" not in text(leitura, reverse(CHANGES) + "?circuito=zapi")


@pytest.mark.parametrize(
    ("what", "state", "forced"),
    [("abrir", "open", "aberto"), ("fechar", "closed", ""), ("desligar", "open", "desligado")],
)
def test_supervisao_operates_a_circuit_with_a_motivo(supervisao: Client, what: str, state: str, forced: str) -> None:
    outage()
    assert supervisao.get(act("evolution", what)).status_code == 200
    supervisao.post(act("evolution", what), {"motivo": "curto"})
    assert Circuit.objects.get(pk="evolution").forced == ""
    assert supervisao.post(act("evolution", what), {"motivo": MOTIVO}).status_code == 302
    found = Circuit.objects.get(pk="evolution")
    assert (found.state, found.forced) == (state, forced)
    entry = AuditEntry.objects.get(entidade="circuits")
    assert (entry.motivo, entry.usuario, entry.ip_address) == (MOTIVO, "supervisao", "127.0.0.1")


def test_back_to_automatic_is_offered_only_where_a_person_decided(supervisao: Client) -> None:
    assert act("evolution", "automatico") not in text(supervisao, page("evolution"))
    services.disable("evolution", actor="ana", motivo=MOTIVO)
    assert act("evolution", "automatico") in text(supervisao, page("evolution"))
    supervisao.post(act("evolution", "automatico"), {"motivo": MOTIVO})
    assert Circuit.objects.get(pk="evolution").forced == ""


def test_nobody_operates_the_databases_circuit(supervisao: Client) -> None:
    assert "/acao/" not in text(supervisao, page("supabase"))


@pytest.mark.parametrize("what", ["abrir", "fechar", "desligar", "automatico"])
def test_operacao_may_look_but_not_operate(operacao: Client, what: str) -> None:
    outage()
    assert "/acao/" not in text(operacao, page("evolution"))
    assert operacao.post(act("evolution", what), {"motivo": MOTIVO}).status_code == 403


def test_an_alert_shows_its_next_step_and_leads_to_its_circuit(leitura: Client) -> None:
    found = alert()
    shown = text(leitura, reverse("admin:core_alerta_change", args=[found.pk]))
    assert "Próximo passo: ver o servidor." in shown
    assert page("evolution") in shown
    assert "/acao/" not in shown


def test_alerts_are_filtered_by_what_is_still_open(leitura: Client) -> None:
    alert()
    address = reverse(ALERTS) + "?situacao="
    assert "está lenta" in text(leitura, address + "abertos")
    assert "está lenta" in text(leitura, address + "sem_dono")
    assert "está lenta" not in text(leitura, address + "resolvidos")
    with transaction.atomic():
        resolve("provedor_lento", "evolution")
    assert "está lenta" not in text(leitura, address + "abertos")
    assert "está lenta" in text(leitura, address + "resolvidos")


def test_one_person_takes_an_alert(operacao: Client, supervisao: Client) -> None:
    found = alert()
    url = reverse("admin:core_alerta_act", args=[found.pk, "assumir"])
    operacao.post(url)
    assert supervisao.post(url, follow=True).status_code == 200
    found.refresh_from_db()
    assert (found.reconhecido, found.reconhecido_por) == (True, "operacao")
    assert AuditEntry.objects.filter(acao="alerta_assumido").count() == 1
    assert "Com operacao" in text(operacao, reverse(ALERTS))


def test_leitura_takes_no_alert(leitura: Client) -> None:
    found = alert()
    assert leitura.post(reverse("admin:core_alerta_act", args=[found.pk, "assumir"])).status_code == 403


@pytest.mark.parametrize("name", [CIRCUITS, CHANGES, ALERTS])
def test_a_list_costs_as_much_with_many_rows_as_with_few(leitura: Client, name: str) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            text(leitura, reverse(name))
        return len(queries)

    outage()
    alert()
    services.force_open(of_chip(uuid.uuid4()), actor="ana", motivo=MOTIVO)
    before = cost()
    for number in range(20):
        services.force_open(of_chip(uuid.uuid4()), actor="ana", motivo=MOTIVO)
        with transaction.atomic():
            raise_alert("x", str(number), severidade=Severidade.ERROR, titulo="x", mensagem="x")
    assert cost() == before
