"""A private PostgreSQL for development, demonstration and tests.

With `DATABASE_URL` unset, `manage.py` and pytest start (or attach to) a server of this clone before settings
are read. What it keeps, `<name>` being `postgres` for commands and `tests`, `tests-2` … for test sessions:

    ordinary user   <project>/.julia/<name>/
    root            /var/lib/julia/<hash of the project's path>/<name>/, the server running as `nobody`

        lock         serialises start and stop
        users        a lock that every process using the server holds; the last one out stops the server
        keep         there after `python -m julia.embedded start`: the server outlives its users until `stop`
        data/ run/   the data and the socket (the latter in /tmp when its path would be too long or need quoting)
        server.log

There is no TCP port: the socket's directory, mode 0700, is the only way in, hence `trust`.
"""

from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from julia.embedded.cluster import Cluster, Use
from julia.embedded.errors import EmbeddedPostgresError
from julia.embedded.places import PROJECT, places

__all__ = ["Cluster", "EmbeddedPostgresError", "Use", "cluster", "is_embedded", "use_for_tests"]

DEFAULT_NAME = "postgres"
TEST_NAMES = ("tests", "tests-2", "tests-3", "tests-4", "tests-5", "tests-6", "tests-7", "tests-8")


def cluster(name: str = DEFAULT_NAME, project: Path = PROJECT) -> Cluster:
    return Cluster(places(name, project), disposable=name in TEST_NAMES)


def use_for_tests(project: Path = PROJECT) -> Use:
    """A server for this test session alone: two sessions of one clone never share databases."""
    for name in TEST_NAMES:
        if use := cluster(name, project).use(exclusive=True):
            return use
    raise EmbeddedPostgresError(f"{len(TEST_NAMES)} test sessions of this clone are running already.")


def is_embedded(database_url: str, project: Path = PROJECT) -> bool:
    """True for the private servers of this clone, the only place where demo data and demo login may exist."""
    host = conninfo_to_dict(database_url).get("host")
    return host in {str(places(name, project).sockets) for name in (DEFAULT_NAME, *TEST_NAMES)}
