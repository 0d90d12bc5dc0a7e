"""Small pieces of SQL that models of every app use."""

import json
from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import CharField, Func, UUIDField

_JSONB = 3802  # Django leaves jsonb as text on a raw cursor


class GenRandomUUID(Func):
    """`gen_random_uuid()`, in PostgreSQL itself since 13: usable as a `db_default`."""

    template = "gen_random_uuid()"
    output_field = UUIDField()

    def __init__(self) -> None:
        super().__init__()


class FreshCorrelationId(Func):
    """8 random characters, as `core.correlation.fresh`: a `db_default`, so that raw SQL leaves a trace too."""

    template = "left(gen_random_uuid()::text, 8)"
    output_field = CharField()

    def __init__(self) -> None:
        super().__init__()


def rows(sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[dict[str, Any]]:
    """Run one statement on this thread's connection; its rows as dictionaries, jsonb columns parsed."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        if cursor.description is None:
            return []
        names = [column.name for column in cursor.description]
        as_text = [column.name for column in cursor.description if column.type_code == _JSONB]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for row in found:
        for name in as_text:
            row[name] = json.loads(row[name]) if isinstance(row[name], str) else row[name]
    return found


def wait_briefly_for_locks(milliseconds: int = 500) -> None:
    """From here to the end of the transaction a lock held longer raises OperationalError: try again later instead."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {int(milliseconds)}")


def execute(sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> int:
    """Run one statement and return how many rows it changed."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return int(cursor.rowcount)
