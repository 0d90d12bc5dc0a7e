"""`POST /jobs/…`: every job has its address, and nobody without credentials gets through."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from core.audit.models import AuditEntry
from core.flags.models import AppSetting
from core.jobs import api, registry
from core.rights import Right
from tests.core.some_jobs import only_row, register

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_registry")]

TOKEN = "test-jobs-token"


@pytest.fixture
def token(settings: Any) -> dict[str, str]:
    settings.JOBS_TOKEN = TOKEN
    return {"Authorization": f"Bearer {TOKEN}"}


def test_every_job_is_a_post_endpoint(client: Client, token: dict[str, str]) -> None:
    for job in registry.registered():
        for path in (job.path, *job.aliases):
            assert client.get(f"/jobs/{path}", headers=token).status_code == 405


def test_a_post_without_a_body_runs_the_job(client: Client, token: dict[str, str], contar: registry.Job) -> None:
    response = client.generic("POST", "/jobs/contar", headers=token)
    assert (response.status_code, response.json()) == (200, {"status": "ok", "processados": 1})
    assert only_row().origem == "api"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "application/json"])
def test_no_content_type_is_refused(
    client: Client, token: dict[str, str], contar: registry.Job, content_type: str
) -> None:
    assert client.generic("POST", "/jobs/contar", content_type=content_type, headers=token).status_code == 200


def test_parameters_come_in_the_query(
    client: Client, token: dict[str, str], contar: registry.Job, calls: list[Any]
) -> None:
    client.post("/jobs/contar?limite=7&ensaio=true", headers=token)
    assert calls[0][1:] == (7, True)


@pytest.mark.parametrize("query", ["limite=sete", "limit=7"])
def test_a_wrong_parameter_is_400_and_runs_nothing(
    client: Client, token: dict[str, str], contar: registry.Job, calls: list[Any], query: str
) -> None:
    response = client.post(f"/jobs/contar?{query}", headers=token)
    assert (response.status_code, response.json()["status"]) == (400, "error")
    assert calls == []


@pytest.mark.parametrize("path", ["nao-existe", "heartbeat/", "heartbeat/x", ""])
def test_an_unknown_path_is_404_in_json(client: Client, token: dict[str, str], path: str) -> None:
    response = client.post(f"/jobs/{path}", headers=token)
    assert (response.status_code, response.json()["status"]) == (404, "error")
    assert "heartbeat" in response.json()["message"]


def test_a_failed_job_answers_500(client: Client, token: dict[str, str]) -> None:
    register(lambda now: {"status": "error", "message": "sem chips", "processados": 0})
    response = client.post("/jobs/tarefa", headers=token)
    assert (response.status_code, response.json()["message"]) == (500, "sem chips")


def test_a_third_job_at_once_is_429(
    client: Client, token: dict[str, str], contar: registry.Job, calls: list[Any]
) -> None:
    with api._places, api._places:
        response = client.post("/jobs/contar", headers=token)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "5")
    assert calls == []
    assert client.post("/jobs/contar", headers=token).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"X-Jobs-Token": TOKEN}, {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"bearer {TOKEN}"}],
)
def test_the_token_opens_the_door(client: Client, token: Any, contar: registry.Job, headers: dict[str, str]) -> None:
    assert client.post("/jobs/contar", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Jobs-Token": "wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer x"},
        {"Cookie": TOKEN},
    ],
)
def test_without_the_token_it_stays_shut(
    client: Client, token: Any, contar: registry.Job, calls: list[Any], headers: dict[str, str]
) -> None:
    response = client.post("/jobs/contar", headers=headers)
    assert (response.status_code, calls) == (401, [])


def test_an_unset_token_is_no_token(client: Client, contar: registry.Job, settings: Any) -> None:
    settings.JOBS_TOKEN = ""
    assert client.post("/jobs/contar", headers={"X-Jobs-Token": " "}).status_code == 401


def test_a_login_needs_the_right_to_run_jobs(contar: registry.Job, calls: list[Any]) -> None:
    user = User.objects.create_user("ana", is_staff=True)
    client = Client()
    client.force_login(user)
    assert client.post("/jobs/contar").status_code == 403
    user.user_permissions.add(right(Right.JOB_EXECUTAR))
    assert client.post("/jobs/contar").status_code == 200
    assert len(calls) == 1
    (entry,) = AuditEntry.objects.all()
    assert (entry.acao, entry.entidade_id, entry.usuario) == ("job_executado", "contar", "ana")


def right(which: Right) -> Permission:
    anchor = ContentType.objects.get_for_model(AppSetting)
    return Permission.objects.get_or_create(content_type=anchor, codename=which.value, defaults={"name": which})[0]


def test_a_login_needs_the_csrf_token_of_its_page(contar: registry.Job, calls: list[Any]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("chefe"))
    assert client.post("/jobs/contar").status_code == 403
    assert calls == []


LOCAL: dict[str, Any] = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost:8000"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"REMOTE_ADDR": "::1"},
        {"REMOTE_ADDR": "::ffff:127.0.0.1"},
        {"HTTP_HOST": "127.0.0.1"},
        {"HTTP_HOST": "[::1]:8000"},
    ],
)
def test_on_a_developers_machine_a_bare_call_passes(
    client: Client, settings: Any, contar: registry.Job, environ: dict[str, Any]
) -> None:
    settings.APP_ENV = "dev"
    assert client.generic("POST", "/jobs/contar", **{**LOCAL, **environ}).status_code == 200


@pytest.mark.parametrize("app_env", ["test", "production", ""])
def test_outside_development_a_bare_call_is_refused(
    client: Client, settings: Any, contar: registry.Job, app_env: str
) -> None:
    settings.APP_ENV = app_env
    assert client.generic("POST", "/jobs/contar", **LOCAL).status_code == 401


@pytest.mark.parametrize(
    "environ",
    [
        {"REMOTE_ADDR": "192.0.2.7"},
        {"REMOTE_ADDR": ""},
        {"HTTP_HOST": "julia.example"},
        {"HTTP_HOST": "localhost.julia.example"},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_FORWARDED": "for=127.0.0.1"},
        {"HTTP_X_REAL_IP": "127.0.0.1"},
        {"HTTP_VIA": "1.1 proxy"},
        {"HTTP_ORIGIN": "http://localhost:8000"},
        {"HTTP_SEC_FETCH_SITE": "same-origin"},
    ],
)
def test_what_may_come_from_elsewhere_needs_credentials_on_a_developers_machine_too(
    client: Client, settings: Any, contar: registry.Job, environ: dict[str, Any]
) -> None:
    settings.APP_ENV, settings.ALLOWED_HOSTS = "dev", ["*"]
    assert client.generic("POST", "/jobs/contar", **{**LOCAL, **environ}).status_code == 401


def test_the_schema_documents_every_job_for_staff(client: Client) -> None:
    assert client.get("/api/schema").status_code in (401, 403)
    client.force_login(User.objects.create_superuser("chefe"))
    response = client.get("/api/schema?format=json")
    paths = response.content.decode()
    assert response.status_code == 200
    assert all(f"/jobs/{job.path}" in paths for job in registry.registered() if job.name != "contar")
