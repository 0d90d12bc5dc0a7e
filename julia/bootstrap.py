"""What a process of ours needs in its environment before Django reads the settings."""

import atexit
import os
import signal
import sys
from collections.abc import Sequence

import environ

from julia.embedded import Use, cluster
from julia.embedded.places import PROJECT
from julia.requirements import refuse_unsafe_environment

WITHOUT_DATABASE = frozenset({"help", "version", "--help", "-h", "--version", "collectstatic", "findstatic"})


def prepare(arguments: Sequence[str]) -> Use | None:
    """Read `.env`, check the environment and, with DATABASE_URL unset, start or attach to the private server.

    `arguments` are those after `manage.py`; commands that need no database start none. Our children inherit
    DATABASE_URL, so only this process counts as a user of the server, which stops with its last user.

    Raises ImproperlyConfigured or EmbeddedPostgresError, both with a text that says what to do.
    """
    environ.Env.read_env(PROJECT / ".env")
    if os.environ.get("DATABASE_URL"):
        refuse_unsafe_environment(os.environ)
        return None
    if not os.environ.get("APP_ENV"):
        os.environ["APP_ENV"] = "dev"
    refuse_unsafe_environment(os.environ)
    server = cluster()
    os.environ["DATABASE_URL"] = server.url
    if not arguments or arguments[0] in WITHOUT_DATABASE:
        return None
    use = server.use()
    if use is not None:
        atexit.register(use.release)
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # or `atexit` is passed over
    return use
