"""The documentation of the health pages is what they do, whatever is asked of them."""

import json
from typing import Any

import pytest
import schemathesis
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from core.circuits.models import CircuitTransition
from core.health import beats
from core.health.views import HEALTH, READY
from core.jobs import registry
from julia.health.urls import PAGES
from julia.wsgi import application
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

EVERY_PAGE = {"health": HEALTH, "health/ready": READY, **PAGES}
MEANT_503 = [path for path, page in EVERY_PAGE.items() if 503 in page.codes]
FUZZ = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


def documented() -> dict[str, Any]:
    """The OpenAPI document, plain."""
    document = SchemaGenerator().get_schema(request=None, public=True)
    found: dict[str, Any] = json.loads(json.dumps(document, default=str))
    return found


def operation_of(path: str) -> Any:
    loaded = schemathesis.openapi.from_dict(documented())
    loaded.app = application
    return loaded[f"/{path}"]["GET"]


@pytest.fixture(autouse=True)
def _something_to_show() -> None:
    chip = factories.chip()
    factories.mensagens(2)
    beats.beat("worker", "worker@a:1")
    for name in ("evolution", f"chip:{chip.id}"):
        CircuitTransition.objects.create(circuit_name=name, from_state="closed", to_state="open", reason="reset_manual")


def test_every_page_is_documented_with_an_example_for_each_answer() -> None:
    paths = documented()["paths"]
    for path, page in EVERY_PAGE.items():
        responses = paths[f"/{path}"]["get"]["responses"]
        assert {str(code) for code in page.codes} <= set(responses)
        for response in responses.values():
            (content,) = response["content"].values()
            assert content["examples"]


@pytest.mark.parametrize("path", EVERY_PAGE)
def test_a_page_does_what_its_documentation_says(path: str) -> None:
    checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
    if path not in MEANT_503:
        checks.append(not_a_server_error)
    operation = operation_of(path)

    @FUZZ
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        response = case.call_and_validate(checks=checks)
        assert response.status_code < 500 or response.status_code == 503

    ask()


@pytest.mark.parametrize("path", [path for path, page in EVERY_PAGE.items() if page.params])
def test_a_parameter_may_be_anything_and_is_answered_with_a_sentence(path: str) -> None:
    names = [each.name for each in EVERY_PAGE[path].params]
    client = Client()

    @FUZZ
    @given(query=st.dictionaries(st.sampled_from([*names, "outro"]), st.text(max_size=80)))
    def ask(query: dict[str, str]) -> None:
        try:
            response = client.get(f"/{path}", query)
        except UnicodeEncodeError:
            return  # a surrogate cannot be sent at all
        assert response.status_code in (200, 400)
        assert response.status_code == 200 or response.json()["message"]

    ask()


def test_a_path_may_be_anything_and_is_answered_in_json() -> None:
    client = Client()
    known = [job.path for job in registry.registered()]
    tail = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="?#"), max_size=30)

    @FUZZ
    @given(path=st.one_of(st.tuples(st.sampled_from(["health/", "circuits/", "metrics/", "jobs/"]), tail).map("".join),
                          st.sampled_from([f"jobs/{path}" for path in known])))  # fmt: skip
    def ask(path: str) -> None:
        response = client.get(f"/{path}")
        if path.strip("/") in EVERY_PAGE or path == "metrics":
            return
        assert response.status_code in (401, 404, 405), path
        assert response["Content-Type"].startswith("application/json"), path

    ask()
