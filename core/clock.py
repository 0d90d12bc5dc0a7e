"""One clock: the database's. Rows are compared with `agora()`, and the Python edge reads it once and passes it on.

In the scratch database of a fault drill `agora()` is a simulated time (julia/exercicio), so whatever decides over rows
takes `database_now()`. `now()` is for pages, log lines and health, which must answer without a database.
"""

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
    """The instant now on this process's clock, aware, UTC. Only entry points that decide nothing call it."""
    return datetime.now(UTC)


def database_now() -> datetime:
    """The instant now on the database's clock, aware, UTC."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT agora()")
        instant: datetime = cursor.fetchone()[0]
    return instant
