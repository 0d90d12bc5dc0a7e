"""The pages that machines and operators read: GET without credentials, always an answer within 3 s, never a guess.

A page asks its readings at the same time and composes their answers into a body. What could not be read is null with an
error class and a fixed sentence beside it; the newest body known is shown as such, with `desatualizado_desde`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import resolve_type_hint
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.views import APIView

from core import clock
from core.api import bearer_of, same_secret
from core.health.reading import Answer, Reading
from core.health.registry import Failure, attempt

Body = dict[str, Any]
Answers = Mapping[str, Answer[Any]]

LONGEST_TEXT = 60


class InvalidParam(ValueError):
    """The text is for whoever called."""


@dataclass(frozen=True, slots=True)
class WholeNumber:
    """A parameter of the query string. Missing or empty means `default`."""

    name: str
    default: int
    least: int
    most: int
    description: str

    def read(self, given: str) -> int:
        if not given:
            return self.default
        if re.fullmatch(r"[0-9]{1,9}", given) and self.least <= int(given) <= self.most:
            return int(given)
        raise InvalidParam(f"{self.name} é um número inteiro de {self.least} a {self.most}.")


@dataclass(frozen=True, slots=True)
class Text:
    """A parameter of the query string: letters, digits and `_ : -`. Missing or empty means None."""

    name: str
    description: str

    def read(self, given: str) -> str | None:
        if not given:
            return None
        if re.fullmatch(rf"[\w:-]{{1,{LONGEST_TEXT}}}", given, re.ASCII):
            return given
        raise InvalidParam(f"{self.name} tem até {LONGEST_TEXT} letras, números, hífens, dois-pontos ou sublinhados.")


Param = WholeNumber | Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One path. `compose(answers, params)` is pure; `shape` is its TypedDict and `example` a body of it.

    `code(body)` is the HTTP status. `asked_with`: the readings that get the parameters, in their order. `text`: the
    body is `body["text"]` of this content type instead of JSON. `is_open`: HEALTH_TOKEN does not close it.
    """

    name: str
    summary: str
    compose: Callable[[Answers, Mapping[str, Any]], Body]
    shape: Any
    example: Body
    readings: Mapping[str, Reading[Any]] = field(default_factory=dict)
    params: tuple[Param, ...] = ()
    asked_with: tuple[str, ...] = ()
    code: Callable[[Body], int] = lambda body: 200
    codes: tuple[int, ...] = (200,)
    text: str = ""
    is_open: bool = False

    def body(self, query: Mapping[str, str]) -> Body:
        """Raises InvalidParam."""
        params = {each.name: each.read(query.get(each.name, "")) for each in self.params}
        asked = {
            name: reading.ask(*(params.values() if name in self.asked_with else ()))
            for name, reading in self.readings.items()
        }
        answers = {name: each.wait() for name, each in asked.items()}
        found = attempt(lambda: self.compose(answers, params), self.name)
        if isinstance(found, Failure):
            return {"status": "error", **error_of(found), "timestamp": iso(clock.now())}
        return found


class AnyAccept(BaseContentNegotiation):
    """One representation, whatever was asked for: nobody gets a 406 from a health page."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class PageSchema(AutoSchema):
    """Documentation of one page, from its declaration."""

    @property
    def _page(self) -> Page:
        page: Page = self.view.page  # type: ignore[attr-defined]
        return page

    def get_operation_id(self) -> str:
        return f"saude_{self._page.name}"

    def get_summary(self) -> str:
        return self._page.summary

    def get_description(self) -> str:  # type: ignore[override]  # drf-spectacular's own signature
        return self._page.summary

    def get_tags(self) -> list[str]:
        return ["saúde"]

    def get_auth(self) -> list[dict[str, list[str]]]:
        return []

    def get_override_parameters(self) -> list[Any]:
        return [_documented(each) for each in self._page.params]

    def get_request_serializer(self) -> None:
        return None

    def get_response_serializers(self) -> Any:
        page = self._page
        found: dict[Any, Any] = {
            (code, page.text.partition(";")[0] or "application/json"): OpenApiResponse(
                {"type": "string"} if page.text else resolve_type_hint(page.shape),
                examples=[OpenApiExample("exemplo", page.example["text"] if page.text else page.example)],
            )
            for code in page.codes
        }
        if page.params:
            found[(400, "application/json")] = REFUSAL
        if not page.is_open:
            found[(401, "application/json")] = REFUSAL
        return found


_REFUSAL = {
    "type": "object",
    "properties": {"status": {"type": "string", "enum": ["error"]}, "message": {"type": "string"}},
    "required": ["status", "message"],
}
REFUSAL = OpenApiResponse(
    _REFUSAL, examples=[OpenApiExample("recusa", {"status": "error", "message": "horas é um número inteiro."})]
)


class PageView(APIView):
    """GET, HEAD and OPTIONS of one page."""

    authentication_classes = ()
    permission_classes = ()
    content_negotiation_class = AnyAccept
    schema = PageSchema()
    page: Page | None = None

    def get(self, request: Any) -> HttpResponseBase:
        page = self.page
        if page is None:
            return refused(404, "Este endereço não existe.")
        if not page.is_open and not may_read(request):
            return closed()
        try:
            body = page.body(request.query_params)
        except InvalidParam as error:
            return refused(400, str(error))
        code = page.code(body)
        if page.text:
            return _unstored(HttpResponse(body["text"], content_type=page.text, status=code))
        return answer(body, code)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return HttpResponse(status=204, headers={"Allow": "GET, HEAD, OPTIONS"})

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return refused(405, "Este endereço só responde a GET.", headers={"Allow": "GET, HEAD, OPTIONS"})


def page(declared: Page) -> Any:
    """The view of a page."""
    return PageView.as_view(page=declared)


def unknown(_request: HttpRequest, *_args: Any, **_kwargs: Any) -> JsonResponse:
    """For paths below those of the pages that none of them has."""
    return refused(404, "Este endereço não existe. Confira o caminho, que não tem barra no fim.")


def may_read(request: Any) -> bool:
    return not settings.HEALTH_TOKEN or same_secret(bearer_of(request), settings.HEALTH_TOKEN)


def closed() -> JsonResponse:
    return refused(401, "Envie Authorization: Bearer HEALTH_TOKEN.", headers={"WWW-Authenticate": "Bearer"})


def refused(code: int, message: str, headers: dict[str, str] | None = None) -> JsonResponse:
    return answer({"status": "error", "message": message}, code, headers)


def answer(body: Body, code: int = 200, headers: dict[str, str] | None = None) -> JsonResponse:
    response = JsonResponse(body, status=code, headers=headers, json_dumps_params={"ensure_ascii": False})
    return _unstored(response)


def _unstored(response: Any) -> Any:
    response["Cache-Control"] = "no-store"
    response._has_been_logged = True  # a 503 here is an answer: Django would log each as an error of the api
    return response


def iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def stamp(*answers: Answer[Any]) -> str:
    """When the oldest of what is shown was read; now, where nothing was."""
    read = [each.known_at for each in answers if each.failure is None and each.known_at is not None]
    return (min(read) if read else clock.now()).isoformat()


def error_of(failure: Failure) -> Body:
    return {"erro": {"classe": failure.classe, "mensagem": failure.mensagem}}


def from_one(answer: Answer[Any], body: Callable[[Any, datetime], Body], empty: Callable[[], Body]) -> Body:
    """The body of a page with one reading, also while that fails: what was last known, and since when it is old.

    `empty` has the same keys, for the time before anything was read.
    """
    if answer.failure is None and answer.known_at is not None:
        return body(answer.known, answer.known_at)
    known = empty() if answer.known_at is None else body(answer.known, answer.known_at)
    return {
        **known,
        "status": "error",
        **error_of(answer.failure or Failure("Vazio", "nada foi lido ainda")),
        "desatualizado_desde": iso(answer.known_at),
        "timestamp": stamp(),
    }


def _documented(param: Param) -> OpenApiParameter:
    if isinstance(param, WholeNumber):
        schema = {"type": "integer", "minimum": param.least, "maximum": param.most}
        return OpenApiParameter(param.name, schema, default=param.default, description=param.description)
    schema = {"type": "string", "maxLength": LONGEST_TEXT, "pattern": "^[A-Za-z0-9_:-]*$"}
    return OpenApiParameter(param.name, schema, description=param.description)
