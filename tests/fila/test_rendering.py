"""A campaign's text: what may be saved, and what leaves for whom."""

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from core.database import rows
from fila.campanhas import rendering
from fila.campanhas.errors import CampanhaInvalida
from fila.campanhas.rendering import SAMPLE_PERSON, VARIABLES, Missing, Variable, render, validate
from fila.campanhas.textos import DEFAULT_TEXTS, parse_tipo, text_to_send
from fila.choices import TipoCampanha

KNOWN = "{nome}, {primeiro_nome}, {sobrenome}, {especialidade}, {cidade}, {estado}"
NOBODY = dict.fromkeys(VARIABLES, "")


def text_for(template: str, **person: str) -> str | Missing:
    return render(rendering.compile(template), NOBODY | person)


@pytest.mark.parametrize("template", ["Oi {nome}!", "Oi {{nome}}!", "Oi { nome }!", "Oi {{ nome }}!"])
def test_single_and_double_braces_are_the_same_variable(template: str):
    assert text_for(template, nome="Ana Souza") == "Oi Ana Souza!"


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_known_variable_is_filled_in(variable: str):
    assert render(rendering.compile(f"<{{{variable}}}"), SAMPLE_PERSON) == f"<{SAMPLE_PERSON[variable]}"


@pytest.mark.parametrize("empty", ["", "   ", "\u00a0", "\t\n", "{}"])
def test_an_empty_value_without_fallback_leaves_the_person_out(empty: str):
    assert text_for("Dr. {sobrenome}!", sobrenome=empty) == Missing("sobrenome")


@pytest.mark.parametrize("empty", ["", "  "])
def test_a_fallback_stands_in_for_an_empty_value(empty: str):
    assert text_for("Oi {primeiro_nome|doutor(a)}!", primeiro_nome=empty) == "Oi doutor(a)!"


def test_a_fallback_is_not_used_where_there_is_a_value():
    assert text_for("Oi {primeiro_nome|doutor(a)}!", primeiro_nome="Ana") == "Oi Ana!"


def test_a_name_that_looks_like_a_variable_stays_a_name_and_loses_its_braces():
    assert text_for("Oi {nome}, de {cidade}", nome="{cidade}", cidade="Recife") == "Oi cidade, de Recife"


def test_outer_white_space_of_a_value_is_cut():
    assert text_for("Oi {nome}!", nome="  Ana Souza ") == "Oi Ana Souza!"


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("", "Escreva o texto da mensagem."),
        (" \n\u3000", "Escreva o texto da mensagem."),
        ("Oi {nme}", "A variável {nme} não existe. Você quis dizer {nome}?"),
        ("Oi {Nome}", "A variável {Nome} não existe. Você quis dizer {nome}?"),
        ("Oi {primeironome}", "A variável {primeironome} não existe. Você quis dizer {primeiro_nome}?"),
        ("Oi {vaga}", f"A variável {{vaga}} não existe. Variáveis aceitas: {KNOWN}."),
        ("Oi {nome", "Há uma chave { ou } sem o seu par. As chaves servem só para variáveis, como {nome}."),
        ("Oi nome}", "Há uma chave { ou } sem o seu par. As chaves servem só para variáveis, como {nome}."),
        ("Oi {{nome}", "Há uma chave { ou } sem o seu par. As chaves servem só para variáveis, como {nome}."),
        ("Oi {{{nome}}}", "Há uma chave { ou } sem o seu par. As chaves servem só para variáveis, como {nome}."),
        ("Oi {nome|}", "Em {nome|} falta o que escrever quando o dado está vazio, como {nome|doutor(a)}."),
        ("Oi {nome|a|b}", "Em {nome|…} há mais de uma alternativa: deixe só uma."),
        ("Oi __X__!", "O texto ainda tem __X__, que parece uma marca por preencher: escreva ali o texto definitivo."),
        ("Oi [nome]", "[nome] sairia assim mesmo: escreva {nome} entre chaves."),
        ("Oi <NOME>", "<NOME> sairia assim mesmo: escreva {nome} entre chaves."),
        ("x" * 4097, "O texto tem 4097 caracteres; o máximo é 4096."),
        ("Oi \0", "O texto tem um caractere que não pode ser enviado: apague-o e escreva esse trecho de novo."),
        ("Oi \ud800", "O texto tem um caractere que não pode ser enviado: apague-o e escreva esse trecho de novo."),
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_sent_is_refused_with_the_next_step(template: str, sentence: str):
    assert validate(template) == [sentence]
    with pytest.raises(ValueError, match=r".+"):
        rendering.compile(template)


def test_braces_without_a_name_are_refused():
    assert validate("Oi {}")[0].startswith("Há chaves sem o nome da variável.")


def test_every_error_is_named_at_once():
    assert len(validate("{nme} {vaga} [nome] {")) == 4


@pytest.mark.parametrize(
    "template", ["Oi {nome}!", "x" * 4096, "Custa R$ 1.000,00 (100%) *hoje*, _sim_", "{{nome}}{cidade|aí}"]
)
def test_an_ordinary_text_is_accepted(template: str):
    assert validate(template) == []


def test_parts_are_literals_and_variables_in_order():
    assert rendering.compile("Oi {nome|você}, {{cidade}}.") == (
        "Oi ",
        Variable("nome", "você"),
        ", ",
        Variable("cidade"),
        ".",
    )


literals = st.text(st.characters(blacklist_characters="\0{}_[]<>", blacklist_categories=["Cs"]), max_size=20)
fallbacks = st.text(st.characters(blacklist_characters="\0{}_|[]<>", blacklist_categories=["Cs"]), max_size=10)
values = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)
variables = st.builds(
    lambda name, fallback, double: f"{{{{{name}{fallback}}}}}" if double else f"{{{name}{fallback}}}",
    st.sampled_from(VARIABLES),
    fallbacks.map(lambda text: f"|{text}" if text.strip(rendering.BLANK) else ""),
    st.booleans(),
)
templates = st.lists(literals | variables, min_size=1, max_size=6).map("".join)
people = st.fixed_dictionaries(dict.fromkeys(VARIABLES, values))


@given(templates, people)
@example("Oi {nome}!", NOBODY | {"nome": "{cidade} %s %(now)s \\ '"})
@example("100% {cidade|%s} \\", NOBODY)
@example("{estado}", NOBODY | {"estado": "\u00a0\u2003{SP}\x85"})
@settings(max_examples=150, deadline=None)
@pytest.mark.django_db
def test_sql_renders_exactly_what_python_renders(template: str, person: dict[str, str]):
    assume(not validate(template))
    parts = rendering.compile(template)
    rendered = render(parts, person)
    expected = None if isinstance(rendered, Missing) else rendered

    conteudo, params = rendering.sql_expression(parts)
    missing, missing_params = rendering.missing_sql(parts)
    columns = ", ".join(f"%({name})s::varchar AS {name}" for name in VARIABLES)
    found = rows(
        f"SELECT {conteudo} AS conteudo, {missing} AS vazia FROM (SELECT {columns}) c", params | missing_params | person
    )[0]

    assert found["conteudo"] == expected
    assert found["vazia"] == (expected is None)


@given(templates, people)
@settings(max_examples=150, deadline=None)
def test_nothing_unresolved_ever_leaves(template: str, person: dict[str, str]):
    assume(not validate(template))
    text = render(rendering.compile(template), person)
    assert isinstance(text, Missing) or ("{" not in text and "}" not in text and text.strip(rendering.BLANK))


@pytest.mark.parametrize("tipo", DEFAULT_TEXTS)
def test_a_default_text_can_be_sent_to_somebody_of_whom_nothing_is_known(tipo: TipoCampanha):
    text = text_to_send(tipo, "  ")
    assert validate(text) == []
    assert isinstance(render(rendering.compile(text), NOBODY), str)


def test_an_offer_has_no_default_text():
    assert text_to_send(TipoCampanha.OFERTA, "") == ""


@pytest.mark.parametrize(
    ("written", "tipo"),
    [
        ("descoberta", "discovery"),
        ("oferta_plantão", "oferta_plantao"),
        ("Oferta plantão", "oferta_plantao"),
        ("Reativação", "reativacao"),
        ("feedback", "feedback"),
    ],
)
def test_the_kinds_spelling_is_forgiven(written: str, tipo: str):
    assert parse_tipo(written) == tipo


def test_an_unknown_kind_never_becomes_an_offer():
    with pytest.raises(CampanhaInvalida) as error:
        parse_tipo("engajamento")
    assert list(error.value.erros) == ["tipo"]
