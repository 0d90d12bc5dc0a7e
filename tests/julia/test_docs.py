"""The documents say what is: commands, files, tables, words and statements in them exist and work."""

import io
import re
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import call_command, get_commands
from django.db import transaction
from django.test import RequestFactory

from core.alerts.rules import declared
from core.clientes.importacao import RejectedRow, read_rows
from core.clock import now
from core.database import rows
from core.flags import registry as flags
from core.flags.admin import HIDDEN
from core.jobs import registry as jobs
from core.outcomes import SendOutcome
from fila.choices import Status
from julia.backoffice.menu import navigation
from julia.diagnostico import diagnose
from julia.embedded.places import PROJECT
from julia.requirements import PRODUCTION_SECRETS

OURS = ("core", "chips", "guardrails", "fila", "julia", "warmer")
DOCUMENTS = ("README.md", "CHANGELOG.md", "docs/architecture.md", "docs/operacao.md", "docs/jobs.md")


def text(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def section(name: str, title: str) -> str:
    """What stands under a heading, up to the next one."""
    return re.split(rf"^#+ {re.escape(title)}.*$", text(name), maxsplit=1, flags=re.MULTILINE)[1].split("\n## ")[0]


def cells(markdown: str) -> Iterator[list[str]]:
    for line in markdown.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text(name)):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        assert ((PROJECT / name).parent / path).exists() if path else anchor, target
        if not path:
            headings = re.findall(r"^#+ (.+)$", text(name), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


@pytest.mark.parametrize("name", ["README.md", "docs/architecture.md"])
def test_a_file_that_is_named_exists(name: str) -> None:
    named = set(re.findall(r"`((?:[\w-]+/)+[\w-]*(?:\.\w+)?)`", text(name)))
    in_an_app = {path for app in OURS for path in (PROJECT / app).rglob("*")}
    assert named
    for each in named:
        assert (PROJECT / each).exists() or any(str(path).endswith(f"/{each.rstrip('/')}") for path in in_an_app), each


def test_every_command_of_ours_is_in_the_readme() -> None:
    commands = {name for name, app in get_commands().items() if app in OURS}
    told = text("README.md")
    internal = {"sincronizar_agenda", "carregar_demo"}
    assert {name for name in commands - internal if name not in told} == set()


def test_the_readme_names_what_production_refuses_to_start_without() -> None:
    assert {name for name in PRODUCTION_SECRETS if f"`{name}`" not in text("README.md")} == set()


def test_every_table_has_its_place_in_the_architecture() -> None:
    tables = {model._meta.db_table for app in OURS for model in apps.get_app_config(app).get_models()}
    named = set(re.findall(r"`([a-z_]+)`", section("docs/architecture.md", "Tables")))
    assert {table for table in tables if not table.endswith("_history")} - named == set()
    assert named - tables == set()


def test_the_jobs_are_those_of_the_registry(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("documentar_jobs", "--conferir")
    assert all(f"## {job.name}\n" in text("docs/jobs.md") for job in jobs.registered())


def test_the_alerts_are_those_of_the_rules() -> None:
    call_command("documentar_alertas", "--conferir")
    assert all(f"## {rule.tipo}\n" in text("docs/alertas.md") for rule in declared())
    assert [rule.tipo for rule in declared() if not (rule.significa and rule.proximo)] == []


def test_the_manual_knows_every_status_outcome_and_setting() -> None:
    manual = text("docs/operacao.md")
    for status in Status:
        assert f"{status.label} (`{status}`)" in manual
    words = [*SendOutcome.values, *(each.key for each in flags.declared() if each.key not in HIDDEN)]
    assert [word for word in words if f"`{word}`" not in manual] == []


@pytest.mark.django_db
def test_the_manual_knows_every_page() -> None:
    request = RequestFactory().get("/admin/")
    request.user = User(is_superuser=True, is_active=True)
    pages = {row[0] for row in cells(section("docs/operacao.md", "Páginas"))}
    assert pages - {"Página"} == {item["title"] for group in navigation(request) for item in group["items"]}


def test_the_manual_quotes_the_reasons_of_refused_rows() -> None:
    header = "telefone;nome;estado"
    told = list(cells(section("docs/operacao.md", "Importar médicos")))[1:]
    assert len(told) > 5
    for sheet, motivo in told:
        (found,) = read_rows(io.BytesIO(f"{header}\n{_as_row(sheet)}\n".encode()), {})
        assert isinstance(found, RejectedRow), sheet
        assert found.motivo == motivo


def _as_row(described: str) -> str:
    if described == "célula vazia":
        return ";Ana Souza;SP"
    if described == "uma célula a mais":
        return "(11) 90000-0001;Ana Souza;SP;sobra"
    if described.startswith("estado "):
        return f"(11) 90000-0001;Ana Souza;{described.removeprefix('estado ').strip('`')}"
    return f"{described.strip('`')};Ana Souza;SP"


@pytest.mark.django_db
@pytest.mark.parametrize("sql", re.findall(r"```sql\n(.+?)```", text("docs/operacao.md"), re.DOTALL))
def test_the_sql_of_the_manual_runs_as_it_is_printed(sql: str) -> None:
    statements = [each for each in sql.split(";\n") if each.strip()]
    with transaction.atomic():
        for statement in statements:
            rows(statement)
        transaction.set_rollback(True)


@pytest.mark.django_db
def test_the_manual_explains_every_line_of_the_diagnosis() -> None:
    told = {
        word for row in cells(section("docs/operacao.md", "Diagnóstico")) for word in re.findall(r"`(\w+)`", row[0])
    }
    assert {finding.check for finding in diagnose(now())} - told == {"configuracao"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_manage_command_that_is_printed_exists(name: str) -> None:
    for command in re.findall(r"manage\.py (\w+)", text(name)):
        assert command in get_commands(), command


def test_changelog_and_package_agree_on_the_version() -> None:
    version = re.search(r'^version = "(.+)"$', text("pyproject.toml"), re.MULTILINE)
    assert version
    assert f"## [{version[1]}]" in text("CHANGELOG.md")
