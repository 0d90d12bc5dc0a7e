"""A PostgreSQL for the test session, ready before pytest-django reads the settings.

A plugin of its own (`-p tests.plugin` in pyproject.toml) because conftest files load after that. Workers of
pytest-xdist inherit DATABASE_URL and start nothing. A `.env` file is not read: tests never meet its services.
"""

import atexit
import os
import shutil

import pytest

from julia import embedded


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    os.environ["APP_ENV"] = "test"
    if not os.environ.get("DATABASE_URL"):
        try:
            server = embedded.use_for_tests()
        except embedded.EmbeddedPostgresError as error:
            raise pytest.UsageError(str(error)) from error
        atexit.register(server.release)
        os.environ["DATABASE_URL"] = server.cluster.url


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that two workers end together; browser tests only where there is a browser."""
    items.sort(key=lambda item: not (item.get_closest_marker("slow") or item.get_closest_marker("browser")))
    chromium = os.environ.get("JULIA_CHROMIUM") or shutil.which("chromium")
    if chromium:
        os.environ["JULIA_CHROMIUM"] = chromium
        return
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason="no Chromium: `make test` installs it on Debian, see .ci/chromium"))
