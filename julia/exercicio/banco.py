"""Scratch databases: made from a migrated template, dropped afterwards, and cleared away when their owner died.

Everything lives on the server of DATABASE_URL. The owner of a scratch database holds an advisory lock on it for as long
as it lives, so that the next drill can tell a leftover from one that is in use.
"""

import contextlib
import hashlib
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from julia.embedded.places import PROJECT
from julia.exercicio.errors import DrillRefused

PREFIX = "julia_exercicio_"
TEMPLATE = PREFIX + "modelo_"
_OWNED = 0x45786572  # "Exer": class of the owners' advisory locks
_UNDEFINED_TABLE = (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege)
#: What a migrated database depends on, beside the migrations themselves.
_SOURCES = ("*/migrations/*.py", "*/*/migrations/*.py", "chips/vocabulario/*.py", "core/rights.py", "requirements.lock")

Params = Sequence[Any] | dict[str, Any]


def url_of(url: str, name: str) -> str:
    """The same server and login, another database. Text, because libpq's URLs without a host are no proper URLs."""
    found = re.fullmatch(r"([a-z0-9+]+://[^/?]*)(?:/[^?]*)?(\?.*)?", url)
    if found is None:
        raise DrillRefused("DATABASE_URL não é um endereço postgresql://: os exercícios não sabem onde criar o banco.")
    return f"{found[1]}/{name}{found[2] or ''}"


class Banco:
    """Evidence and orders by SQL, on a connection of our own that is opened again after it broke."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def rows(self, statement: str, params: Params = ()) -> list[dict[str, Any]]:
        """One statement in a transaction of its own; a broken connection is tried again once."""
        for last in (False, True):
            try:
                cursor = self._connected().execute(statement.encode(), params or None)
                return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                self.close()
                if last:
                    raise
        raise AssertionError("unreachable")

    def one(self, statement: str, params: Params = ()) -> dict[str, Any]:
        return self.rows(statement, params)[0]

    def value(self, statement: str, params: Params = ()) -> Any:
        return next(iter(self.one(statement, params).values()))

    def run(self, statement: str, params: Params = ()) -> None:
        self.rows(statement, params)

    def script(self, statements: str) -> None:
        """Several statements, without parameters."""
        self._connected().execute(statements.encode())

    def answers(self) -> bool:
        try:
            self.rows("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> "psycopg.Connection[dict[str, Any]]":
        if self._connection is None:
            self._connection = psycopg.connect(
                self.url, autocommit=True, row_factory=dict_row, application_name="exercicio", connect_timeout=5
            )
        return self._connection


class Server:
    """The PostgreSQL server that drills may use. Never one whose database says that it is production."""

    def __init__(self, url: str) -> None:
        self.url = url

    def refuse_production(self) -> None:
        """Raises DrillRefused for APP_ENV=production, and for a database that calls itself production."""
        if os.environ.get("APP_ENV") == "production":
            raise DrillRefused("Exercícios não rodam com APP_ENV=production.")
        try:
            with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
                found = connection.execute("SELECT value FROM app_settings WHERE key = 'environment'").fetchone()
        except _UNDEFINED_TABLE:
            return
        except psycopg.OperationalError as error:
            raise DrillRefused(f"O banco de DATABASE_URL não responde: {str(error).strip()}") from error
        if found and found[0] == "production":
            raise DrillRefused(
                "O banco de DATABASE_URL é de produção (ajuste environment). Use outro servidor, ou nenhum: sem "
                "DATABASE_URL o exercício usa o banco embutido."
            )

    @contextlib.contextmanager
    def scratch(self) -> Iterator["Scratch"]:
        """A fresh database with the schema of now; gone afterwards, however the block ends."""
        with self._maintenance() as connection:
            clear_leftovers(connection)
            template = self._template(connection)
            name = PREFIX + secrets.token_hex(6)
            scratch = Scratch(name, url_of(self.url, name), self.url)
            try:
                scratch.hold()
                try:
                    connection.execute(
                        sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
                    )
                except psycopg.errors.InsufficientPrivilege as error:
                    raise DrillRefused(
                        "O usuário de DATABASE_URL não pode criar bancos (CREATEDB), e cada exercício precisa de um."
                    ) from error
                yield scratch
            finally:
                scratch.drop()

    def clear_leftovers(self) -> list[str]:
        """Drop scratch databases whose owner is dead; their names."""
        with self._maintenance() as connection:
            return clear_leftovers(connection)

    def clear(self) -> list[str]:
        """Leftovers and templates; the names of what was dropped."""
        with self._maintenance() as connection:
            dropped = clear_leftovers(connection)
            for name in _names(connection, TEMPLATE):
                dropped += [name] if _drop(connection, name, force=False) else []
        return dropped

    def _maintenance(self) -> "psycopg.Connection[Any]":
        try:
            return psycopg.connect(url_of(self.url, "postgres"), autocommit=True, connect_timeout=5)
        except psycopg.OperationalError as error:
            raise DrillRefused(f"O servidor de DATABASE_URL não responde: {str(error).strip()}") from error

    def _template(self, connection: "psycopg.Connection[Any]") -> str:
        """The migrated database to copy, made on first use. One process makes it, the others wait."""
        wanted = TEMPLATE + schema_hash()
        with _held(connection, TEMPLATE):
            known = _names(connection, TEMPLATE)
            if wanted in known:
                return wanted
            for name in known:
                _drop(connection, name, force=False)
            unfinished = wanted + "_novo"
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(unfinished)))
            migrate(url_of(self.url, unfinished))
            connection.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(unfinished), sql.Identifier(wanted))
            )
        return wanted


class Scratch:
    """One drill's database. `hold` says that somebody alive owns it."""

    def __init__(self, name: str, url: str, server_url: str) -> None:
        self.name = name
        self.url = url
        self._server_url = url_of(server_url, "postgres")
        self._owner: psycopg.Connection[Any] | None = None

    def hold(self) -> None:
        """Also to be called after the server was restarted: locks of sessions do not outlive it."""
        self.release()
        self._owner = psycopg.connect(self._server_url, autocommit=True, connect_timeout=5)
        self._owner.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [_OWNED, self.name])

    def release(self) -> None:
        if self._owner is not None:
            self._owner.close()
            self._owner = None

    def drop(self) -> None:
        with psycopg.connect(self._server_url, autocommit=True, connect_timeout=5) as connection:
            _drop(connection, self.name, force=True)
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()


def clear_leftovers(connection: "psycopg.Connection[Any]") -> list[str]:
    """Drop the scratch databases whose owner is dead; their names."""
    dropped = []
    for name in _names(connection, PREFIX):
        if name.startswith(TEMPLATE):
            continue
        found = connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", [_OWNED, name]).fetchone()
        if found is None or not found[0]:
            continue
        try:
            dropped += [name] if _drop(connection, name, force=True) else []
        finally:
            connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", [_OWNED, name])
    return dropped


@contextlib.contextmanager
def _held(connection: "psycopg.Connection[Any]", name: str) -> Iterator[None]:
    connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [_OWNED, name])
    try:
        yield
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", [_OWNED, name])


def _names(connection: "psycopg.Connection[Any]", prefix: str) -> list[str]:
    found = connection.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1", [prefix])
    return [row[0] for row in found.fetchall()]


def _drop(connection: "psycopg.Connection[Any]", name: str, *, force: bool) -> bool:
    """False when it is in use. With `force` whoever is connected is sent away."""
    statement = sql.SQL("DROP DATABASE IF EXISTS {}" + (" WITH (FORCE)" if force else ""))
    try:
        connection.execute(statement.format(sql.Identifier(name)))
    except psycopg.errors.ObjectInUse:
        return False
    return True


def schema_hash(project: Path = PROJECT) -> str:
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(project.glob(pattern)):
            if ".venv" not in path.parts:
                digest.update(str(path.relative_to(project)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def migrate(url: str) -> None:
    """In a process of its own: our own connection stays where it is. Raises DrillRefused with what it said."""
    for words in (["migrate", "--skip-checks"], ["createcachetable"]):
        done = subprocess.run(
            [sys.executable, "manage.py", *words, "--verbosity", "0"],
            cwd=PROJECT,
            env=os.environ | {"DATABASE_URL": url, "APP_ENV": os.environ.get("APP_ENV") or "dev", "REDIS_URL": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DrillRefused(f"O banco do exercício não pôde ser migrado:\n{(done.stdout + done.stderr)[-2000:]}")
