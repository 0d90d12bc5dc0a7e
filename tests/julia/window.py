"""A browser window at the live server, with what an operator does in it, and the pictures of docs/telas."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from django.contrib.auth.models import Group, User
from playwright.sync_api import Browser, Page, ViewportSize, expect

from core.flags.services import create_missing_rows
from core.rights import Role, sync_roles
from julia.embedded.places import PROJECT

PASSWORD = "uma senha inventada e longa"
TIMEOUT_MS = 10_000
TELAS = PROJECT / "docs" / "telas"  # written with JULIA_TELAS=1
WIDE, NARROW = ViewportSize(width=1440, height=900), ViewportSize(width=390, height=844)
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# (file name, page, window, theme)
Picture = tuple[str, str, ViewportSize, Literal["light", "dark"]]


@dataclass(frozen=True, slots=True)
class Backoffice:
    """A browser window at the live server, with what an operator does in it."""

    page: Page
    url: str

    def open(self, path: str) -> None:
        answer = self.page.goto(self.url + path)
        assert answer is not None
        assert answer.status == 200, path

    def log_in(self, username: str) -> None:
        self.page.goto(self.url + "/")
        self.page.get_by_label("Usuário").fill(username)
        self.page.get_by_label("Senha").fill(PASSWORD)
        self.page.locator("button[type=submit]").click()
        expect(self.page.get_by_role("link", name="Campanhas").first).to_be_visible()

    def press(self, name: str) -> None:
        """A button or a link that looks like one, in the content of the page."""
        button = self.page.locator("a.jl-button, button.jl-button, a.bg-primary-600").filter(has_text=name)
        button.first.click()

    def says(self, text: str | re.Pattern[str]) -> None:
        expect(self.page.locator("body")).to_contain_text(text)

    def reload(self) -> None:
        self.page.reload()


@contextmanager
def opened(browser: Browser, url: str) -> Iterator[Backoffice]:
    """A fresh browser profile. Whatever the page asks of another host is refused, and fails the test."""
    context = browser.new_context(viewport=WIDE, locale="pt-BR", color_scheme="light")
    asked: list[str] = []
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.on("request", lambda request: asked.append(request.url))
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield Backoffice(page, url)
    context.close()
    assert not [each for each in asked if not each.startswith((url, "data:", "blob:"))]
    assert not errors


def operator(username: str = "marina", role: Role = Role.OPERACAO) -> User:
    sync_roles()
    create_missing_rows()
    user = User.objects.create_user(username, password=PASSWORD, is_staff=True, first_name=username.title())
    user.groups.set([Group.objects.get(name=role.value)])
    return user


def fits(page: Page, name: str, window: ViewportSize) -> None:
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, f"{name} scrolls sideways by {wide} px at {window['width']} px"


def take_pictures(page: Page, pictures: tuple[Picture, ...], name: str, window: ViewportSize) -> None:
    """Those that show this page in this window; only with JULIA_TELAS. The theme is the system's while loading."""
    if not os.environ.get("JULIA_TELAS"):
        return
    TELAS.mkdir(parents=True, exist_ok=True)
    for picture, of_page, of_window, theme in pictures:
        if (of_page, of_window) == (name, window):
            page.emulate_media(color_scheme=theme)
            page.reload()
            page.wait_for_load_state("networkidle")
            assert ("dark" in (page.locator("html").get_attribute("class") or "")) == (theme == "dark")
            page.screenshot(path=TELAS / f"{picture}.png", full_page=window == NARROW)
            page.emulate_media(color_scheme="light")
