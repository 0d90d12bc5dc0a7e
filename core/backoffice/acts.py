"""One thing a person may do to one row: a page that says what will happen, and a POST that does it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import HttpRequest

from core.backoffice.forms import MotivoForm
from core.rights import Right


@dataclass(frozen=True, kw_only=True)
class Act:
    """`run(request, row, cleaned_data)` returns the sentence shown afterwards.

    `refused` are the exceptions with which a service says no (somebody was faster, the state forbids it): their text is
    for the operator. `consequence` says before the press what it will do; `applies` hides the button where it cannot.
    """

    name: str
    label: str
    right: Right
    question: str
    consequence: str | Callable[[Any], str]
    run: Callable[[HttpRequest, Any, Mapping[str, Any]], str]
    form: Callable[..., forms.Form] = MotivoForm
    applies: Callable[[Any], bool] = lambda _row: True
    refused: tuple[type[Exception], ...] = ()
    tone: str = "default"
    icon: str = ""

    def consequence_for(self, row: Any) -> str:
        return self.consequence(row) if callable(self.consequence) else self.consequence


@dataclass(frozen=True, slots=True)
class Button:
    """A link to an act's page (GET changes nothing)."""

    label: str
    url: str
    tone: str = "default"
    icon: str = ""
