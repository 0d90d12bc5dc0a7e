"""An alert on its page and through the API: who may take, silence and end it, and what the page explains."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core import clock
from core.alerts import cleanup, rules
from core.alerts.evaluator import evaluate
from core.alerts.models import Alerta, Severidade, Silencio
from core.alerts.services import raise_alert, resolve
from core.audit.models import AuditEntry
from core.database import execute, rows
from core.rights import Role
from tests.core.alerting import MIN, finding, rule

pytestmark = pytest.mark.django_db

MOTIVO = "troca de aparelho combinada"


@pytest.fixture(autouse=True)
def own_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_rules", {})


def client_of(role: Role) -> Client:
    user = User.objects.create_user(role.value, password="senha-de-teste", is_staff=True)
    user.groups.add(Group.objects.get(name=role.value))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def operator(db: None) -> Client:
    return client_of(Role.OPERACAO)


@pytest.fixture
def alert(db: None) -> Alerta:
    raise_alert(
        "chip_degradado", "chip:1", severidade=Severidade.CRITICAL, titulo="Chip fora", mensagem="Confira no celular."
    )
    return Alerta.objects.get()


def act(client: Client, alert: Alerta, name: str, **data: str) -> str:
    url = f"/admin/core/alerta/{alert.pk}/acao/{name}/"
    return client.post(url, data, follow=True).content.decode()


def page(client: Client, alert: Alerta) -> str:
    return client.get(f"/admin/core/alerta/{alert.pk}/change/").content.decode()


# Acts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scope", "chave"), [("este", "chip:1"), ("tipo", "")])
def test_silencing_keeps_quiet_for_as_long_and_as_wide_as_chosen(
    operator: Client, alert: Alerta, scope: str, chave: str
) -> None:
    shown = act(operator, alert, "silenciar", horas="4", alcance=scope, motivo=MOTIVO)
    silence = Silencio.objects.get()
    assert (silence.chave, silence.usuario, silence.motivo) == (chave, "operação", MOTIVO)
    assert timedelta(hours=3, minutes=59) < silence.ate - clock.database_now() <= timedelta(hours=4)
    assert MOTIVO in shown
    assert "Tirar silêncio" in shown
    assert ">Silenciar<" not in shown
    entry = AuditEntry.objects.get(acao="alerta_silenciado")
    assert (entry.motivo, entry.entidade_id) == (MOTIVO, str(alert.pk))
    assert evaluate(clock.database_now()).notified == 0

    act(operator, alert, "tirar_silencio", motivo="aparelho já trocado")
    assert evaluate(clock.database_now()).notified == 1
    assert AuditEntry.objects.filter(acao="alerta_silencio_retirado").count() == 1


@pytest.mark.parametrize("motivo", ["", "curto", "         x "])
def test_there_is_no_silence_without_a_motivo(operator: Client, alert: Alerta, motivo: str) -> None:
    act(operator, alert, "silenciar", horas="1", alcance="este", motivo=motivo)
    assert not Silencio.objects.exists()


@pytest.mark.parametrize("name", ["assumir", "silenciar", "encerrar"])
def test_who_only_reads_changes_nothing(alert: Alerta, name: str) -> None:
    client = client_of(Role.LEITURA)
    url = f"/admin/core/alerta/{alert.pk}/acao/{name}/"
    assert client.post(url, {"motivo": MOTIVO, "horas": "1", "alcance": "este"}).status_code == 403
    assert "/acao/" not in page(client, alert)
    alert.refresh_from_db()
    assert (alert.reconhecido, alert.resolvido_em, Silencio.objects.count()) == (False, None, 0)


def test_only_what_no_rule_watches_can_be_ended_by_a_person(operator: Client, alert: Alerta) -> None:
    assert "/acao/encerrar/" in page(operator, alert)
    act(operator, alert, "encerrar", motivo="avisei o médico por telefone")
    alert.refresh_from_db()
    assert alert.resolvido_em is not None
    rule("fila_acumulada", finding())
    evaluate(clock.database_now())
    assert "/acao/encerrar/" not in page(operator, Alerta.objects.get(tipo="fila_acumulada"))


# The page ----------------------------------------------------------------------------------------------------------


def test_the_page_says_what_it_means_what_to_do_and_where(operator: Client) -> None:
    rule("fila_acumulada", finding(valor=51, limite=50, correlation_id="feedbeef", contexto={"por_tipo": "campanha"}))
    evaluate(clock.database_now())
    shown = page(operator, Alerta.objects.get())
    for each in ("Mensagens vencidas esperam.", "Veja o worker.", "feedbeef", "por tipo", "51"):
        assert each in shown
    assert 'href="/admin/fila/mensagem/?situacao=vencidas"' in shown


def test_the_page_says_what_was_sent_and_why_not(
    operator: Client, alert: Alerta, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "O Slack não está configurado" in page(operator, alert)
    assert "Nada foi enviado" in page(operator, alert)
    monkeypatch.setattr(settings, "SLACK_WEBHOOK_URL", "http://127.0.0.1:9/x")
    assert "avaliam a cada 30 segundos" in page(operator, alert)
    evaluate(clock.database_now())
    execute("UPDATE alerta_entregas SET motivo = 'http_500', tentativas = 3")
    assert "http_500, 3 tentativas, próxima" in page(operator, alert)
    execute("UPDATE alerta_entregas SET situacao = 'enviada', enviada_em = agora()")
    assert "Enviado ao Slack" in page(operator, alert)
    execute("UPDATE alertas SET inibido_por = 'banco_fora'")
    assert "banco_fora" in page(operator, alert)
    act(operator, alert, "assumir")
    assert "operação assumiu" in page(operator, alert)


def test_an_alert_that_opened_again_within_its_rest_says_when_it_speaks(
    operator: Client, alert: Alerta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SLACK_WEBHOOK_URL", "http://127.0.0.1:9/x")
    evaluate(clock.database_now())
    resolve("chip_degradado", "chip:1")
    evaluate(clock.database_now())
    raise_alert("chip_degradado", "chip:1", severidade=Severidade.CRITICAL, titulo="Chip fora", mensagem="Confira.")
    evaluate(clock.database_now())
    again = Alerta.objects.get(resolvido_em=None)
    assert "o próximo aviso sai" in page(operator, again)


def test_the_list_needs_the_same_statements_for_one_alert_and_for_many(operator: Client, alert: Alerta) -> None:
    operator.get("/admin/core/alerta/")
    with CaptureQueriesContext(connection) as one:
        operator.get("/admin/core/alerta/")
    for number in range(30):
        raise_alert("x", str(number), severidade=Severidade.ERROR, titulo="x", mensagem="x")
    with CaptureQueriesContext(connection) as many:
        assert operator.get("/admin/core/alerta/").status_code == 200
    assert len(many) == len(one)


# The API -----------------------------------------------------------------------------------------------------------


def test_a_service_takes_an_alert_with_its_token(
    client: Client, alert: Alerta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "JOBS_TOKEN", "um-token-de-teste")
    url = f"/alertas/{alert.pk}/reconhecer"
    assert client.post(url).status_code == 401
    assert client.post(url, headers={"X-Jobs-Token": "outro"}).status_code == 401
    answer = client.post(url, headers={"X-Jobs-Token": "um-token-de-teste"})
    assert (answer.status_code, answer.json()["reconhecido_por"]) == (200, "JOBS_TOKEN")
    again = client.post(url, headers={"X-Jobs-Token": "um-token-de-teste"})
    assert (again.status_code, again.json()["status"]) == (409, "error")
    gone = client.post(
        "/alertas/3f0c2a6e-0000-4000-8000-000000000000/reconhecer", headers={"X-Jobs-Token": "um-token-de-teste"}
    )
    assert gone.status_code == 404
    alert.refresh_from_db()
    assert (alert.reconhecido, alert.reconhecido_por) == (True, "JOBS_TOKEN")
    assert AuditEntry.objects.filter(acao="alerta_assumido").count() == 1


@pytest.mark.parametrize(("role", "status"), [(Role.OPERACAO, 200), (Role.LEITURA, 403)])
def test_a_person_takes_an_alert_in_their_own_name(alert: Alerta, role: Role, status: int) -> None:
    answer = client_of(role).post(f"/alertas/{alert.pk}/reconhecer", {"reconhecido_por": "outra pessoa"})
    assert answer.status_code == status
    alert.refresh_from_db()
    assert alert.reconhecido_por == ("operação" if status == 200 else "")


# Clean-up ------------------------------------------------------------------------------------------------------------


def test_open_alerts_stay_for_ever_and_resolved_ones_for_ninety_days() -> None:
    now = clock.database_now()
    for key in ("velho", "recente", "aberto"):
        raise_alert("x", key, severidade=Severidade.ERROR, titulo=key, mensagem="x")
    evaluate(now)
    execute(
        """UPDATE alertas SET created_at = agora() - interval '200 days',
               resolvido_em = CASE chave WHEN 'velho' THEN agora() - interval '91 days'
                                         WHEN 'recente' THEN agora() - interval '89 days' END"""
    )
    execute("UPDATE alerta_entregas SET created_at = agora() - interval '91 days', situacao = 'enviada'")
    execute("UPDATE alerta_estados SET avisado_em = agora() - interval '91 days'")
    assert cleanup.clean(now) == 1
    assert set(Alerta.objects.values_list("chave", flat=True)) == {"recente", "aberto"}
    assert rows("SELECT count(*) AS n FROM alerta_avisos")[0]["n"] == 2
    assert [row["chave"] for row in rows("SELECT chave FROM alerta_estados WHERE tipo = 'x'")] == ["aberto"]
    Alerta.objects.filter(resolvido_em__isnull=False).update(resolvido_em=now - timedelta(days=91))
    Alerta.objects.filter(chave="aberto").update(resolvido_em=now - timedelta(days=91))
    assert cleanup.clean(now) == 2
    assert rows("SELECT count(*) AS n FROM alerta_entregas")[0]["n"] == 0
    assert cleanup.clean(now + MIN) == 0
