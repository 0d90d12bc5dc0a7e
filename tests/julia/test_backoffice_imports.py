"""Importing through the page: a row first, work later, and every refused row back in the hands of who sent it."""

from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from core import clock
from core.clientes import tasks
from core.clientes.models import Cliente, Importacao
from core.models import AuditEntry
from core.rights import Role
from tests.julia import backoffice

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

CSV = b"Nome;Celular\nAna Lima;(11) 90000-7777\nBruno;abc 90000\n=SOMA(A1);123\n"


@pytest.fixture
def operacao() -> Client:
    return backoffice.logged_in(Role.OPERACAO)


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    monkeypatch.setattr(tasks, "async_task", lambda _task, importacao_id, **_options: found.append(importacao_id))
    return found


def upload(client: Client, content: bytes = CSV, **answers: str) -> Importacao:
    form = {"arquivo": SimpleUploadedFile("medicos.csv", content), "mapa": "Celular=telefone"} | answers
    response = client.post(reverse("admin:core_importacao_add"), form)
    assert response.status_code == 302, response.content.decode()
    return Importacao.objects.latest("id")


def test_an_upload_is_a_row_before_it_is_work(
    operacao: Client, offered: list[int], django_capture_on_commit_callbacks: pytest.FixtureRequest
) -> None:
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        importacao = upload(operacao)
    assert (importacao.status, importacao.criado_por, offered) == ("pendente", "operacao", [importacao.pk])
    assert not Cliente.objects.exists()
    assert AuditEntry.objects.get(acao="importacao_enviada").entidade_id == str(importacao.pk)


def test_the_task_imports_once_and_forgets_the_file(operacao: Client, offered: list[int]) -> None:
    importacao = upload(operacao)
    assert tasks.processar_importacao(importacao.pk) == "concluída"
    assert tasks.processar_importacao(importacao.pk) == "nada a fazer"
    importacao.refresh_from_db()
    assert (importacao.status, importacao.novos, importacao.rejeitados) == ("concluida", 1, 2)
    assert importacao.conteudo is None
    assert Cliente.objects.get().telefone == "5511900007777"


def test_a_file_nobody_can_read_is_refused_with_a_sentence(operacao: Client, offered: list[int]) -> None:
    importacao = upload(operacao, b"PK\x03\x04zip", mapa="")
    assert tasks.processar_importacao(importacao.pk) == "recusada"
    html = operacao.get(reverse("admin:core_importacao_change", args=[importacao.pk])).content.decode()
    assert "salve como CSV UTF-8" in html


def test_the_result_page_gives_each_refused_row_with_its_reason(operacao: Client, offered: list[int]) -> None:
    importacao = upload(operacao)
    tasks.processar_importacao(importacao.pk)
    html = operacao.get(reverse("admin:core_importacao_change", args=[importacao.pk])).content.decode()
    assert "telefone com letras" in html


def test_refused_rows_are_downloaded_with_formulas_neutralised_and_audited(
    operacao: Client, offered: list[int]
) -> None:
    importacao = upload(operacao)
    tasks.processar_importacao(importacao.pk)
    response = operacao.get(reverse("admin:core_importacao_csv", args=[importacao.pk]))
    assert "'=SOMA(A1)" in response.content.decode("utf-8-sig")
    assert "attachment" in response["Content-Disposition"]
    AuditEntry.objects.get(acao="importacao_recusadas_baixadas")
    leitura = backoffice.logged_in(Role.LEITURA)
    assert leitura.get(reverse("admin:core_importacao_csv", args=[importacao.pk])).status_code == 403


@pytest.mark.parametrize("mapa", ["Celular", "Celular=fone", "=telefone"])
def test_a_mapping_that_means_nothing_is_refused(mapa: str, operacao: Client) -> None:
    form = {"arquivo": SimpleUploadedFile("medicos.csv", CSV), "mapa": mapa}
    assert "Não entendi a linha" in operacao.post(reverse("admin:core_importacao_add"), form).content.decode()
    assert not Importacao.objects.exists()


def test_an_import_nobody_took_is_offered_again(
    offered: list[int], django_capture_on_commit_callbacks: pytest.FixtureRequest
) -> None:
    now = clock.now()
    old = now - timedelta(minutes=11)
    waiting = Importacao.objects.create(nome_arquivo="a.csv", created_at=old)
    died = Importacao.objects.create(nome_arquivo="b.csv", created_at=old, status="processando", iniciado_em=old)
    Importacao.objects.create(nome_arquivo="c.csv", status="processando", iniciado_em=now)
    Importacao.objects.create(nome_arquivo="d.csv")
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        assert tasks.offer_untaken(now) == 2
    assert sorted(offered) == [waiting.pk, died.pk]
