"""What anybody may read of the log: one JSON object per line, no telephone, no message text, no credential."""

import contextvars
import json
import logging
import logging.config
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from hypothesis import given, settings
from hypothesis import strategies as st

from core import correlation
from core.integrations.redaction import scrub
from core.logging import AccessLogMiddleware, get_logger, logging_config, user_id_of
from core.scrubbing import scrubbed

DIGITS = re.compile(r"\d")
ddds = st.sampled_from(["11", "21", "47", "81", "99"])
gaps = st.sampled_from(["", " ", "-", ".", "  ", " - ", "\u00a0", "\u2013"])


@st.composite
def phones(draw: st.DrawFn) -> str:
    """One Brazilian mobile number as people, spreadsheets and providers write it."""
    ddd, first, last = draw(ddds), draw(st.integers(6000, 9999)), draw(st.integers(0, 9999))
    country = draw(st.sampled_from(["", "55", "+55", "+55 ", "55 "]))
    area = draw(
        st.sampled_from([ddd, f"({ddd})", f"(0{ddd})", f"0{ddd}"] if not country.strip() else [ddd, f"({ddd})"])
    )
    number = f"{country}{area}{draw(gaps)}9{draw(gaps)}{first:04d}{draw(gaps)}{last:04d}"
    return number + draw(st.sampled_from(["", "@s.whatsapp.net", "@c.us"]))


def surroundings() -> st.SearchStrategy[str]:
    return st.sampled_from(
        ["para {} falhou", "{}", "tel={};", '{{"phone": "{}"}}', "<{}>", "x\n{}\ny", "({})", "wa.me/{}"]
    )


def digits_of(text: str) -> str:
    return "".join(DIGITS.findall(text))


def line_of(logger: str, say: Callable[[Any], None], log_format: str = "json") -> str:
    """What one record looks like on the terminal."""
    config = logging_config(log_format, "DEBUG")
    made = logging.config.DictConfigurator(config)
    formatter = made.configure_formatter(dict(config["formatters"]["line"]))
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(formatter.format(record))

    handler, root = Keep(), logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG)
    try:
        say(get_logger(logger))
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    (line,) = lines
    return line


@given(phones(), surroundings())
def test_a_phone_loses_all_but_its_last_four_digits_however_it_is_written(phone: str, around: str) -> None:
    said = scrub(around.format(phone))
    assert digits_of(said) == digits_of(phone)[-4:]


nested = st.recursive(
    phones() | phones().map(lambda text: text.encode()) | st.sampled_from([5511900001234, 11900001234]),
    lambda inner: st.lists(inner, min_size=1, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, min_size=1, max_size=3)
    | phones().flatmap(lambda phone: inner.map(lambda value: {phone: value})),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(nested, st.sampled_from(["valor", "extra", "dados", "detalhe"]))
def test_no_phone_survives_in_any_field_of_any_depth(value: Any, name: str) -> None:
    for log_format in ("json", "console"):
        line = line_of("t", lambda log: log.info("recebido", **{name: value}), log_format)
        said = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\"line\": \d+", "", line)
        assert not re.search(r"\d[\d\s().–-]{8,}\d", said), line


@settings(max_examples=60, deadline=None)
@given(phones())
def test_no_phone_survives_in_an_exception_or_in_a_librarys_record(phone: str) -> None:
    def fail(log: Any) -> None:
        try:
            raise ValueError(f"não enviada a {phone}") from KeyError(phone)
        except ValueError:
            log.exception("falhou", telefone=phone)

    def library(_: Any) -> None:
        logging.getLogger("biblioteca").warning("para %s", phone, extra={"numero": phone})

    for say in (fail, library):
        record = json.loads(line_of("t", say))
        said = "\n".join(str(record.get(name, "")) for name in ("message", "numero", "telefone", "exception"))
        said = re.sub(r'File "[^"]*", line \d+', "", said)
        assert not re.search(r"\d{5}", digits_of(said.replace(digits_of(phone)[-4:], ""))), said


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=12, max_size=80).filter(
    lambda text: len(text.strip()) >= 12 and len(set(text)) > 4
)


@settings(max_examples=60, deadline=None)
@given(texts)
def test_the_text_of_a_message_is_quoted_by_no_exception(text: str) -> None:
    def fail(log: Any) -> None:
        with correlation.use():
            correlation.hide(text)
            try:
                raise ValueError(f"resposta ilegível: {text}", text)
            except ValueError:
                log.exception("falhou", conteudo=text, detalhe=text, outro={"texto": text})

    record = json.loads(line_of("t", fail))
    assert record["conteudo"] == record["outro"]["texto"] == "[oculto]"
    assert text not in record["detalhe"]
    assert text not in record["exception"]
    assert repr(text)[1:-1] not in record["exception"].replace("[oculto]", "")


def test_the_row_that_postgresql_quotes_is_left_out() -> None:
    said = (
        'Traceback\npsycopg.errors.CheckViolation: new row violates check constraint "x"\n'
        "DETAIL:  Failing row contains (7, Olá Ana,\nmando 3 plantões, 5511900001234).\n\n"
        "The above exception was the direct cause of the following exception:\nIntegrityError: y\nDETAIL:  de novo Ana"
    )
    kept = scrub(said)
    assert "Ana" not in kept
    assert "plantões" not in kept
    assert "The above exception was the direct cause" in kept
    assert 'violates check constraint "x"' in kept


@pytest.mark.parametrize("name", ["text", "texto", "conteudo", "corpo", "payload", "Texto", "apikey", "senha", "token"])
def test_fields_that_carry_texts_or_secrets_are_hidden_by_name(name: str) -> None:
    assert scrubbed({"fora": {name: "qualquer coisa"}}) == {"fora": {name: "[oculto]"}}


def test_ids_and_instants_stay_as_they_are() -> None:
    fields = {
        "mensagem_id": "11119000-0012-3400-9a8b-111122223333", "tentativa": 5511900001234,
        "mensagem_provedor": "3EB06B01DAC30000000017",
    }  # fmt: skip
    record = json.loads(line_of("t", lambda log: log.info("x", **fields)))
    assert {name: record[name] for name in fields} == fields


def test_a_record_in_production_names_where_it_comes_from_and_whose_work_it_is() -> None:
    def fail(log: Any) -> None:
        with (
            correlation.use("abc12345"),
            correlation.bind(
                cliente_id="c", conversa_id="v", mensagem_id="m", campanha_id=3, chip_id="k", outcome=None
            ),
        ):
            try:
                raise ValueError("x")
            except ValueError:
                log.exception("falhou", outcome="FAILED_PROVIDER")

    record = json.loads(line_of("fila", fail))
    assert list(record)[:8] == [
        "timestamp", "level", "logger", "message", "module", "function", "line", "correlation_id",
    ]  # fmt: skip
    assert {name: record[name] for name in list(record)[1:6]} == {
        "level": "error", "logger": "fila", "message": "falhou", "module": "test_logging_scrubbing", "function": "fail",
    }  # fmt: skip
    assert isinstance(record["line"], int)
    assert {name: record[name] for name in ("cliente_id", "conversa_id", "mensagem_id", "campanha_id", "chip_id")} == {
        "cliente_id": "c", "conversa_id": "v", "mensagem_id": "m", "campanha_id": "3", "chip_id": "k",
    }  # fmt: skip
    assert record["outcome"] == "FAILED_PROVIDER"
    assert record["exception"].splitlines()[-1] == "ValueError: x"
    assert list(record)[-1] == "exception"


def test_what_one_piece_of_work_knows_is_not_said_of_the_next() -> None:
    contextvars.Context().run(one_after_the_other)


def one_after_the_other() -> None:
    with correlation.use("primeira"):
        correlation.note(mensagem_id="m1")
        correlation.hide("um texto de alguém")
    assert (correlation.peek(), dict(correlation.fields()), correlation.hidden()) == ("", {}, ())
    record = json.loads(line_of("t", lambda log: log.info("depois")))
    assert record["correlation_id"] == "-"
    assert "mensagem_id" not in record


# --- correlation ids


@pytest.mark.parametrize(
    "offered", ["", "com espaço", "a" * 65, "ção", "5511900001234", "julia_5511900001234", "x\ny", "a;b", "../etc"]
)
def test_an_id_that_is_malformed_or_a_phone_gives_way_to_a_fresh_one(offered: str) -> None:
    with correlation.use(offered) as chosen:
        assert re.fullmatch(r"[0-9a-f]{8}", chosen)


@pytest.mark.parametrize("offered", ["abc", "A-b_9", "4bf92f3577b34da6a3ce929d0e0e4736", "12345678", "a" * 64])
def test_a_lawful_id_is_kept(offered: str) -> None:
    with correlation.use(offered) as chosen:
        assert chosen == offered


def test_an_id_is_made_once_and_then_kept() -> None:
    with correlation.use("fora0000"):
        correlation.begin("")
        first = correlation.get()
        assert correlation.get() == first != "fora0000"
        correlation.begin("dentro01")
        assert correlation.peek() == "dentro01"
        correlation.end()
        assert correlation.peek() == first
        correlation.end()
        assert correlation.peek() == "fora0000"


# --- the access log


def answered(request: HttpRequest) -> dict[str, Any]:
    def ask(_: Any) -> None:
        AccessLogMiddleware(lambda asked: HttpResponse())(request)

    found: dict[str, Any] = json.loads(line_of("acesso", ask))
    return found


def test_the_access_log_says_who_asked_and_under_which_id() -> None:
    request = RequestFactory().get("/admin/?q=5511900001234")
    request.user = User(pk=7, username="ana")
    with correlation.use("acesso01"):
        record = answered(request)
    assert (record["correlation_id"], record["usuario_id"]) == ("acesso01", 7)
    assert (record["method"], record["path"], record["status"]) == ("GET", "/admin/", 200)


@pytest.mark.django_db
def test_asking_who_it_is_costs_no_query() -> None:
    request = RequestFactory().get("/health/ready")

    def query() -> User:
        raise AssertionError("looked up")

    request.user = SimpleLazyObject(query)  # type: ignore[assignment]
    assert user_id_of(request) is None
    request.user = AnonymousUser()
    assert user_id_of(request) is None


def test_the_secret_in_a_webhooks_path_is_masked() -> None:
    record = answered(RequestFactory().post("/webhooks/evolution/chip-01/s/um-segredo"))
    assert "um-segredo" not in json.dumps(record)
