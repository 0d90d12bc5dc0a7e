"""The browser of the tests with the marker `browser`."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.julia.window import Backoffice


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Playwright runs an event loop in this thread as long as it lives; Django would refuse to query beside one."""
    from playwright.sync_api import sync_playwright

    from tests.julia.window import CHROMIUM

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        chromium = playwright.chromium.launch(executable_path=os.environ["JULIA_CHROMIUM"], args=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture
def backoffice(browser: "Browser", live_server: Any) -> "Iterator[Backoffice]":
    """Marina of the operation before a fresh browser profile."""
    from tests.julia.window import opened, operator

    operator("marina")
    with opened(browser, live_server.url) as window:
        yield window
