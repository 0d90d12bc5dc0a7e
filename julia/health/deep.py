"""`/health/deep`: is this deployment right? Environment, database, schema, and the parts that must be moving.

Only what exists is checked. A check is `ok`, `warning`, `error` or `critical`; `critical` means that this process looks
at a database or a network that is not its own.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal, NotRequired, TypedDict

from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from core.database import rows
from core.health.pages import Answers, Body, stamp
from core.health.reading import Answer, Reading
from core.health.registry import CheckResult
from julia.health import fila, worker
from julia.health.shapes import Erro

OURS = ("core", "chips", "guardrails", "fila", "warmer")
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
CALLED = ("EVOLUTION_API_URL", "ZAPI_BASE_URL")
CONFIGURATION = ("environment", "project_ref", "localhost_check", "redis", "supabase", "tables", "schema_version")

Level = Literal["ok", "warning", "error", "critical", "skipped"]


@dataclass(frozen=True, slots=True)
class Schema:
    """`missing`: tables of our models that the database lacks. `pending`: migrations of ours not applied."""

    missing: tuple[str, ...]
    pending: tuple[str, ...]
    newest: str
    expected: str
    fingerprint: str
    columns: int


_COLUMNS = """
SELECT c.relname AS tabela, a.attname AS coluna, format_type(a.atttypid, a.atttypmod) AS tipo
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v') AND a.attnum > 0
    AND NOT a.attisdropped
ORDER BY 1, 2
"""


def read_schema(now: datetime) -> Schema:
    columns = rows(_COLUMNS)
    present = {row["tabela"] for row in columns}
    text = "\n".join(f"{row['tabela']}.{row['coluna']}:{row['tipo']}" for row in columns)
    applied = set(MigrationRecorder(connection).applied_migrations())
    return Schema(
        missing=tuple(sorted(_our_tables() - present)),
        pending=tuple(f"{app}.{name}" for app, name in _our_migrations() if (app, name) not in applied),
        newest=max((name for app, name in applied if app == "core"), default=""),
        expected=max(name for app, name in _our_migrations() if app == "core"),
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16],
        columns=len(columns),
    )


def _our_tables() -> set[str]:
    return {model._meta.db_table for label in OURS for model in apps.get_app_config(label).get_models()}


@cache
def _our_migrations() -> tuple[tuple[str, str], ...]:
    """Read from the disk once: a process runs the code it was started with."""
    loader = MigrationLoader(None)
    return tuple(sorted(key for key in loader.disk_migrations if key[0] in OURS))


def read_identity(now: datetime) -> dict[str, str]:
    found = rows("SELECT key, value FROM app_settings WHERE key IN ('environment', 'supabase_project_ref')")
    return {row["key"]: str(row["value"] or "") for row in found}


SCHEMA: Reading[Schema] = Reading("esquema", read_schema, cache_s=30.0)
IDENTITY: Reading[dict[str, str]] = Reading("identidade", read_identity)


class Check(TypedDict):
    status: Level
    detail: str
    metrics: NotRequired[dict[str, int | None]]
    missing: NotRequired[list[str]]
    current: NotRequired[str]
    expected: NotRequired[str]
    erro: NotRequired[Erro]


class Version(TypedDict):
    git_sha: str
    deployment_id: str
    railway_environment: str
    run_mode: str


class SchemaShown(TypedDict):
    fingerprint: str | None
    columns: int | None


class DeepBody(TypedDict):
    status: Literal["healthy", "unhealthy", "CRITICAL"]
    deploy_safe: bool
    checks: dict[str, Check]
    version: Version
    runtime_endpoints: dict[str, str]
    schema: SchemaShown
    promessa: str
    timestamp: str


PROMISE = (
    "No máximo uma vez no fio por tentativa, pelo menos uma vez na fila; o que ficou sem resposta é conciliado e "
    "aparece como incerta. Depois da troca de um banco, isso exige replicação síncrona."
)


def compose(answers: Answers, params: Mapping[str, Any]) -> Body:
    checks = dict(_checks(answers))
    levels = {check["status"] for check in checks.values()}
    schema: Schema | None = answers["esquema"].value
    return {
        "status": "CRITICAL" if "critical" in levels else "unhealthy" if "error" in levels else "healthy",
        "deploy_safe": all(checks[name]["status"] not in ("critical", "error") for name in CONFIGURATION),
        "checks": checks,
        "version": settings.VERSION | {"run_mode": settings.RUN_MODE},
        "runtime_endpoints": {
            name: "configurado" if value else "ausente"
            for name, value in (
                ("evolution", settings.EVOLUTION_API_URL),
                ("zapi", settings.ZAPI_BASE_URL),
                ("redis", settings.REDIS_URL),
                ("slack", settings.SLACK_WEBHOOK_URL),
            )
        },
        "schema": {
            "fingerprint": schema.fingerprint if schema else None,
            "columns": schema.columns if schema else None,
        },
        "promessa": PROMISE,
        "timestamp": stamp(*answers.values()),
    }


def code(body: Body) -> int:
    return 200 if body["status"] == "healthy" else 503


def _checks(answers: Answers) -> Iterator[tuple[str, Body]]:
    identity = answers["identidade"]
    yield "environment", _same(identity, "environment", settings.APP_ENV)
    yield "project_ref", _same(identity, "supabase_project_ref", settings.SUPABASE_PROJECT_REF)
    yield "localhost_check", _localhost()
    yield "dev_guardrails", _dev_guardrails()
    for name in ("redis", "supabase"):
        yield name, _readiness(answers["prontidao"], name)
    yield "tables", _of(answers["esquema"], _tables)
    yield "schema_version", _of(answers["esquema"], _version)
    yield "fila", _of(answers["fila"], _fila)
    yield "worker", _of(answers["worker"], _worker)
    yield "jobs", _of(answers["jobs"], _jobs)


def _of(answer: Answer[Any], check: Any) -> Body:
    if answer.failure is None:
        found: Body = check(answer.known)
        return found
    failure = answer.failure
    return _said("error", "não foi possível verificar", erro={"classe": failure.classe, "mensagem": failure.mensagem})


def _same(identity: Answer[dict[str, str]], key: str, ours: str) -> Body:
    """A database that says nothing of itself yet is nobody else's."""
    if not ours:
        return _said("skipped", "não definido no ambiente deste processo")

    def check(found: Mapping[str, str]) -> Body:
        theirs = found.get(key, "")
        if theirs in ("", ours):
            return _said("ok", "o banco é deste ambiente" if theirs else "o banco ainda não diz de que ambiente é")
        return _said("critical", "o banco é de outro ambiente: o envio fica travado até uma pessoa confirmar")

    return _of(identity, check)


def _localhost() -> Body:
    if not settings.PRODUCTION:
        return _said("skipped", "só em produção")
    local = [name for name in CALLED if any(host in getattr(settings, name) for host in LOOPBACK)]
    if local:
        return _said("critical", f"em produção, apontam para esta máquina: {', '.join(local)}")
    return _said("ok", "nenhum endereço aponta para esta máquina")


def _dev_guardrails() -> Body:
    if settings.PRODUCTION:
        return _said("skipped", "só fora de produção")
    if settings.SIMULADOR_NONCE:
        return _said("ok", "os provedores são o simulador: nada sai de verdade")
    if not settings.OUTBOUND_ALLOWLIST:
        return _said("error", "fora de produção e com OUTBOUND_ALLOWLIST vazia: todo envio é bloqueado")
    return _said("ok", f"só {len(settings.OUTBOUND_ALLOWLIST)} números podem receber")


def _readiness(answer: Answer[dict[str, CheckResult]], name: str) -> Body:
    def check(found: Mapping[str, CheckResult]) -> Body:
        return _said("ok", "responde") if found[name].ok else _said("error", found[name].detail)

    return _of(answer, check)


def _tables(schema: Schema) -> Body:
    if schema.missing:
        return _said("error", f"faltam {len(schema.missing)} tabelas: rode migrate", missing=list(schema.missing))
    return _said("ok", "todas existem", missing=[])


def _version(schema: Schema) -> Body:
    shown = {"current": schema.newest, "expected": schema.expected}
    if schema.pending:
        return _said("warning", f"{len(schema.pending)} migrações por aplicar: rode migrate", **shown)
    return _said("ok", "o banco está na versão do código", **shown)


def _fila(metrics: Mapping[str, int | None]) -> Body:
    status, alerts = fila.judge(metrics)
    level = {"healthy": "ok", "degraded": "warning", "critical": "error"}[status]
    return _said(level, "; ".join(alerts) or "em dia", metrics=dict(metrics))


def _worker(beats: list[worker.Beat]) -> Body:
    found = worker.body(beats, beats[0]["beat_at"]) if beats else worker.never()
    return _said("ok" if found["status"] == "healthy" else "error", found["mensagem"])


def _jobs(found: Body) -> Body:
    level = {"healthy": "ok", "degraded": "warning", "critical": "error"}[found["status"]]
    stale = found["alerts"]["critical_stale"] or found["alerts"]["stale_jobs"]
    return _said(level, f"atrasados: {', '.join(stale)}" if stale else "nenhum atrasado")


def _said(level: str, detail: str, **more: Any) -> Body:
    return {"status": level, "detail": detail, **more}


EXAMPLE: Body = {
    "status": "healthy",
    "deploy_safe": True,
    "checks": {
        "environment": _said("ok", "o banco é deste ambiente"),
        "supabase": _said("ok", "responde"),
        "fila": _said("ok", "em dia", metrics={"pendentes": 12, "mensagem_mais_antiga_minutos": None}),
    },
    "version": {"git_sha": "9d28bef", "deployment_id": "", "railway_environment": "", "run_mode": "api"},
    "runtime_endpoints": {"evolution": "configurado", "redis": "ausente"},
    "schema": {"fingerprint": "0f1e2d3c4b5a6978", "columns": 512},
    "promessa": PROMISE,
    "timestamp": "2026-03-03T13:00:00+00:00",
}
