"""One clock: the database's. Rows are compared with `agora()`; the Python edge reads `now()` once and passes it on."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import DateTimeField, Func

BRASILIA = ZoneInfo("America/Sao_Paulo")


class Agora(Func):
    """The SQL function `agora()`: the instant now, in database time (also usable as a `db_default`)."""

    function = "agora"
    template = "%(function)s()"
    output_field = DateTimeField()

    def __init__(self) -> None:
        super().__init__()


def now() -> datetime:
    """The instant now on this process's clock, aware, UTC. Only entry points call it."""
    return datetime.now(UTC)


def database_now() -> datetime:
    """The instant now on the database's clock, aware, UTC."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT agora()")
        instant: datetime = cursor.fetchone()[0]
    return instant
