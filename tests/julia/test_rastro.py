"""One correlation id, from the click to the provider and back, through everything that keeps it."""

import contextvars
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django_q.models import Failure, OrmQ
from django_q.tasks import _sync, async_task

from chips.models import Chip, EventoRecebido, Tentativa
from chips.simulator.client import SimulatorProcess
from chips.webhooks.inbox import process_inbox
from core import correlation
from core.alerts.services import raise_alert
from core.circuits import services as circuits
from core.circuits.models import Circuit, CircuitTransition
from core.clock import database_now
from core.flags.services import create_missing_rows
from core.jobs.models import JobExecution
from core.models import Alerta, AuditEntry
from core.rights import Role
from fila.models import Campanha, Interacao, Mensagem
from julia.rastro import story
from tests import factories
from tests.fila.drains import drain
from tests.fila.webhooks import process
from tests.julia import backoffice

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.filterwarnings("ignore:No directory at")]

MOTIVO = "combinado com a coordenação"
seen: list[str] = []


def note_the_id(*_: Any) -> None:
    """What a task of the cluster does here: tell under which id it runs."""
    seen.append(correlation.peek())


def fail_with_a_phone() -> None:
    raise ValueError("não foi possível ligar para 5511900001234")


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    seen.clear()
    before = correlation.peek()
    yield
    assert correlation.peek() == before, "a piece of work left its id behind"


@pytest.fixture
def operacao() -> Client:
    return backoffice.logged_in(Role.OPERACAO)


@pytest.fixture
def chip(simulator: SimulatorProcess, live_server: Any, open_operation: None) -> Chip:
    create_missing_rows()
    found = factories.chip("julia-01")
    simulator.register(
        found.instance_name,
        phone=found.telefone,
        webhook_url=f"{live_server.url}/webhooks/evolution/{found.instance_name}",
        webhook_headers={"X-Instance-Secret": found.webhook_secret},
    )
    return found


def run_offered_tasks() -> int:
    """What the cluster takes from its broker now, through django-q2's own worker."""
    offered = list(OrmQ.objects.order_by("id"))
    for row in offered:
        payload = row.payload
        row.delete()
        contextvars.copy_context().run(_sync, payload)  # the cluster's processes are not ours
    return len(offered)


def act(client: Client, row: Any, name: str, under: str, **answers: str) -> None:
    url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_act", args=[row.pk, name])
    response = client.post(url, answers, headers={"X-Correlation-ID": under})
    assert (response.status_code, response["X-Correlation-ID"]) == (302, under)


def test_a_campaign_is_one_id_from_the_click_to_the_echo(
    simulator: SimulatorProcess, chip: Chip, operacao: Client
) -> None:
    factories.clientes(3)
    campanha = factories.campanha(status="rascunho", audience_filters={"quantidade_alvo": 3})
    act(operacao, campanha, "iniciar", "clique01")
    assert run_offered_tasks() == 1
    Mensagem.objects.update(agendar_para=database_now())
    drain()
    simulator.wait_quiet()
    process()

    campanha.refresh_from_db()
    messages = list(Mensagem.objects.all())
    assert len(messages) == 3
    assert campanha.correlation_id == "clique01"
    assert {each.correlation_id for each in messages} == {"clique01"}
    assert {each.status for each in messages} == {"enviada"}
    assert set(Tentativa.objects.values_list("correlation_id", flat=True)) == {"clique01"}
    assert {call.correlation_id for call in simulator.calls()} == {"clique01"}
    told = EventoRecebido.objects.filter(kind__in=["eco", "recibo"])
    assert told.exists()
    assert set(told.values_list("correlation_id", flat=True)) == {"clique01"}
    assert AuditEntry.objects.get(acao="campanha_iniciada").correlation_id == "clique01"

    lines = story("clique01", with_acts=True).lines
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert {line.sort for line in lines} >= {"Auditoria", "Campanha", "Mensagem", "Tentativa", "Provedor", "Webhook",
                                             "Conversa"}  # fmt: skip
    assert Interacao.objects.filter(tipo="saida").count() == sum(line.sort == "Conversa" for line in lines)


def test_a_test_send_goes_by_the_id_of_its_click(simulator: SimulatorProcess, chip: Chip, operacao: Client) -> None:
    campanha = factories.campanha(status="rascunho")
    act(operacao, campanha, "testar", "teste001", telefone="5511900001234")
    drain()
    (call,) = simulator.calls()
    assert call.correlation_id == "teste001" == Tentativa.objects.get().correlation_id


def test_a_job_run_by_a_person_goes_by_the_id_of_the_click_also_through_the_cluster(operacao: Client) -> None:
    create_missing_rows()
    for number, name in enumerate(("heartbeat", "limpar_execucoes")):
        url = reverse("admin:core_jobexecution_run", args=[name])
        under = f"job0000{number}"
        response = operacao.post(url, {"motivo": MOTIVO}, headers={"X-Correlation-ID": under})
        assert response.status_code == 302, response.content
        run_offered_tasks()
        assert JobExecution.objects.get(job_name=name).correlation_id == under
        assert AuditEntry.objects.get(acao="job_executado", entidade_id=name).correlation_id == under


def test_a_task_runs_under_the_id_of_whoever_queued_it_and_leaves_nothing_to_the_next() -> None:
    with correlation.use("primeira"):
        async_task("tests.julia.test_rastro.note_the_id")
    async_task("tests.julia.test_rastro.note_the_id")
    with correlation.use("terceira"):
        async_task("tests.julia.test_rastro.note_the_id")
    assert run_offered_tasks() == 3
    assert (seen[0], seen[2]) == ("primeira", "terceira")
    assert len(set(seen)) == 3
    assert len(seen[1]) == 8


def test_a_failed_task_is_kept_without_the_phone_in_its_error() -> None:
    async_task("tests.julia.test_rastro.fail_with_a_phone")
    run_offered_tasks()
    kept = Failure.objects.get().result
    assert "ValueError" in kept
    assert "***1234" in kept
    assert "5511900001234" not in kept


def test_an_answer_goes_by_the_id_of_the_message_that_asked_for_it(
    simulator: SimulatorProcess, chip: Chip, client: Client
) -> None:
    doctor = factories.cliente()
    response = client.post(
        f"/webhooks/evolution/{chip.instance_name}",
        data={
            "instance": chip.instance_name, "event": "messages.upsert",
            "data": {"key": {"remoteJid": f"{doctor.telefone}@s.whatsapp.net", "fromMe": False, "id": "3A77"},
                     "message": {"conversation": "quero sair"}, "messageType": "conversation",
                     "messageTimestamp": 1772542800},
        },
        content_type="application/json",
        headers={"X-Instance-Secret": chip.webhook_secret, "X-Correlation-ID": "chegou01"},
    )  # fmt: skip
    assert response.json() == {"status": "received"}
    process()
    reply = Mensagem.objects.get(tipo="confirmacao_opt_out")
    assert reply.correlation_id == "chegou01"
    drain()
    assert [call.correlation_id for call in simulator.calls()] == ["chegou01"]
    assert AuditEntry.objects.filter(correlation_id="chegou01").exists()
    sorts = [line.sort for line in story("3A77", with_acts=True).lines]
    assert {"Webhook", "Conversa", "Mensagem", "Tentativa"} <= set(sorts)


def test_a_restriction_takes_its_messages_id_to_circuit_alert_and_audit(
    simulator: SimulatorProcess, chip: Chip
) -> None:
    simulator.fault("restrito", instance=chip.instance_name)
    message = factories.mensagem(tipo="lembrete", correlation_id="restr001")
    drain(seconds=8)
    assert Tentativa.objects.filter(origem_id=message.pk).exists()
    transition = CircuitTransition.objects.filter(circuit_name=f"chip:{chip.pk}").earliest("created_at")
    assert (transition.correlation_id, transition.causa) == ("restr001", f"mensagem:{message.pk}")
    assert Alerta.objects.get(tipo="chip_degradado").correlation_id == "restr001"
    assert AuditEntry.objects.get(acao="chip_degradado").correlation_id == "restr001"
    sorts = {line.sort for line in story("restr001", with_acts=True).lines}
    assert {"Circuito", "Alerta", "Auditoria", "Mensagem"} <= sorts


def test_messages_of_one_batch_keep_their_own_ids(simulator: SimulatorProcess, open_operation: None) -> None:
    for number in range(4):
        other = factories.chip()
        simulator.register(other.instance_name, phone=other.telefone)
        factories.mensagem(tipo="lembrete", correlation_id=f"lote{number:04d}")
    drain()
    by_message = dict(Mensagem.objects.values_list("telefone_destino", "correlation_id"))
    assert {call.recipient: call.correlation_id for call in simulator.calls()} == by_message
    assert len(set(by_message.values())) == 4


def test_a_probe_and_a_persons_act_are_known_by_their_ids() -> None:
    Circuit.objects.update_or_create(name="zapi", defaults={"state": "open", "retry_at": database_now()})
    with correlation.use("pessoa01"):
        circuits.reset("zapi", actor="ana", motivo=MOTIVO)
    assert CircuitTransition.objects.get().correlation_id == "pessoa01"
    Circuit.objects.filter(name="zapi").update(state="open", retry_at=database_now())
    assert circuits.acquire(["zapi"], owner="x", causes={"zapi": ("sonda001", "mensagem:7")})
    probe = CircuitTransition.objects.latest("created_at")
    assert (probe.to_state, probe.correlation_id, probe.causa) == ("half_open", "sonda001", "mensagem:7")


def test_an_alert_remembers_the_work_that_raised_it() -> None:
    from core.alerts.models import Severidade

    with correlation.use("alerta01"):
        raise_alert("teste_do_rastro", severidade=Severidade.WARNING, titulo="t", mensagem="m")
    assert Alerta.objects.get(tipo="teste_do_rastro").correlation_id == "alerta01"


def test_two_requests_at_once_never_mix() -> None:
    clients = [backoffice.logged_in(Role.OPERACAO)]
    with correlation.use():
        backoffice.world()
    together, ids = Barrier(8), [f"pedido{n:02d}" for n in range(8)]

    def ask(under: str) -> tuple[str, list[str]]:
        client = Client()
        client.cookies = clients[0].cookies
        try:
            together.wait()
            answered = [
                client.get(reverse("admin:rastro"), headers={"X-Correlation-ID": under})["X-Correlation-ID"]
                for _ in range(3)
            ]
            return correlation.peek(), answered
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=8) as executor:
        found = dict(zip(ids, executor.map(ask, ids), strict=True))
    assert found == {under: ("", [under] * 3) for under in ids}


def test_an_inbox_look_gives_each_event_its_own_id(chip: Chip, client: Client) -> None:
    for number in range(3):
        doctor = factories.cliente()
        client.post(
            f"/webhooks/evolution/{chip.instance_name}",
            data={
                "instance": chip.instance_name, "event": "messages.upsert",
                "data": {"key": {"remoteJid": f"{doctor.telefone}@s.whatsapp.net", "fromMe": False,
                                 "id": f"3A8{number}"},
                         "message": {"conversation": "pare de me escrever"}, "messageType": "conversation",
                         "messageTimestamp": 1772542800},
            },
            content_type="application/json",
            headers={"X-Instance-Secret": chip.webhook_secret, "X-Correlation-ID": f"entrada{number}"},
        )  # fmt: skip
    assert process_inbox(limit=10, now=database_now()) == 3
    replies = Mensagem.objects.filter(tipo="confirmacao_opt_out").values_list("correlation_id", flat=True)
    assert sorted(replies) == ["entrada0", "entrada1", "entrada2"]


def test_a_row_of_raw_sql_has_an_id_too(simulator: SimulatorProcess, chip: Chip) -> None:
    doctor = factories.cliente()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO fila_mensagens (cliente_id, conteudo) VALUES (%s, 'oi')", [doctor.pk])
    drain()
    (call,) = simulator.calls()
    assert call.correlation_id == Mensagem.objects.get().correlation_id
    assert len(call.correlation_id) == 8
    assert Campanha.objects.count() == 0
