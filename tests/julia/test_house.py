"""What the repository itself promises: its layout, its lock files, its deployment files."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from julia.embedded.places import PROJECT

PACKAGES = {"julia", "core", "fila", "chips", "warmer", "guardrails"}
MANDATORY = PACKAGES | {"manage.py", "templates", "tests", "pyproject.toml"}
FOR_TOOLS = {
    ".ci",
    ".dockerignore",
    ".env.example",
    ".gitignore",
    "CHANGELOG.md",
    "Dockerfile",
    "Makefile",
    "README.md",
    "compose.yaml",
    "docs",
    "requirements-dev.lock",
    "requirements.lock",
    "static",
}
LOCK_FILES = ["requirements.lock", "requirements-dev.lock"]
ROLES = {"whats-agents": "api", "whats-agents-scheduler": "scheduler", "whats-agents-worker": "worker"}


def text(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def ignored() -> set[str]:
    return {line.strip("/") for line in text(".gitignore").splitlines()} | {".git"}


def requirements(name: str) -> dict[str, str]:
    """The whole entry (version, marker, hashes) by package."""
    entries = re.split(r"\n(?=\S)", text(name).replace("\\\n", " ").strip())
    return {re.split(r"[=\[; ]", entry)[0]: entry for entry in entries if not entry.startswith("#")}


def test_the_top_level_holds_exactly_what_the_layout_names() -> None:
    found = {path.name for path in PROJECT.iterdir()} - ignored()
    assert found >= MANDATORY
    assert found - MANDATORY <= FOR_TOOLS


def test_the_packages_are_those_of_the_layer_contract() -> None:
    contract = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"][0]
    assert contract["layers"] == ["julia", "fila | warmer", "guardrails | chips", "core"]
    assert {path.parent.name for path in PROJECT.glob("*/__init__.py")} == PACKAGES | {"tests"}


@pytest.mark.parametrize("name", LOCK_FILES)
def test_a_lock_file_names_no_host(name: str) -> None:
    assert not re.search(r"://|^\s*--(?!hash=)|^\s*-[a-z]\b", text(name), re.MULTILINE)


@pytest.mark.parametrize("name", LOCK_FILES)
def test_every_locked_package_has_one_version_and_a_hash(name: str) -> None:
    found = requirements(name)
    assert len(found) > 20
    for package, entry in found.items():
        assert re.match(rf"{re.escape(package)}(\[[^]]+])?==[^=\s]+ ", entry), entry[:60]
        assert "--hash=sha256:" in entry, package


def test_development_installs_what_production_runs() -> None:
    production, development = (requirements(name) for name in LOCK_FILES)
    assert {name: development.get(name) for name in production} == production


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads(text("pyproject.toml"))
    for names, lock in (
        (project["project"]["dependencies"], "requirements.lock"),
        (project["dependency-groups"]["dev"], "requirements-dev.lock"),
    ):
        wanted = {re.split(r"[\[<>=~ ]", name)[0] for name in names}
        assert wanted <= set(requirements(lock))


def test_compose_runs_the_three_roles_from_one_image() -> None:
    services = yaml.safe_load(text("compose.yaml"))["services"]
    roles = {name: service["environment"].get("RUN_MODE") for name, service in services.items()}
    assert {name: role for name, role in roles.items() if role} == ROLES
    assert {services[name]["image"] for name in ROLES} == {"julia"}
    assert all("healthcheck" in services[name] for name in (*ROLES, "postgres"))


def test_compose_passes_every_secret_of_production_on_and_holds_none() -> None:
    from julia.requirements import PRODUCTION_SECRETS

    services = yaml.safe_load(text("compose.yaml"))["services"]
    for name, service in services.items():
        environment = service["environment"]
        if name in ROLES:
            assert set(PRODUCTION_SECRETS) <= set(environment)
        for variable, value in environment.items():
            if re.search("SECRET|KEY|TOKEN|PASSWORD|DSN|URL", variable):
                assert value is None or str(value).startswith("${"), variable


def test_the_image_installs_by_hash_and_does_not_run_as_root() -> None:
    dockerfile = text("Dockerfile")
    assert "--require-hashes -r requirements.lock" in dockerfile
    assert re.search(r"^USER (?!root)\w+", dockerfile, re.MULTILINE)


def test_each_variable_that_the_settings_read_is_explained() -> None:
    read = set(re.findall(r"\benv(?:\.\w+)?\(\s*\"([A-Z0-9_]+)\"", text("julia/settings.py")))
    assert len(read) > 20
    explained = set(
        re.findall(r"^# .+\n(?:#? .+\n)*#([A-Z0-9_]+)=|^#([A-Z0-9_]+)=", text(".env.example"), re.MULTILINE)
    )
    assert read | {"PORT"} <= {name for pair in explained for name in pair if name}


def test_no_file_of_ours_is_too_long_to_keep_in_mind() -> None:
    sources = [path for package in PACKAGES for path in (PROJECT / package).rglob("*.py")]
    long = {str(path.relative_to(PROJECT)) for path in sources if _lines(path) > 500 and "migrations" not in path.parts}
    assert not long


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
