import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clientes import names


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  Ana   Souza ", "Ana Souza"),
        ("Ana\tSouza\r\nLima", "Ana Souza Lima"),
        ("Ana\u00a0Souza", "Ana Souza"),
        ("Jose\u0301", "José"),
        ("Ana\u200b\u202e Souza\x07", "Ana Souza"),
        ("{Ana} {{Souza}}", "Ana Souza"),
        ("João d'Ávila-Müller", "João d'Ávila-Müller"),
    ],
)
def test_a_name_is_kept_without_what_cannot_be_seen(typed, kept):
    assert names.clean(typed) == kept


@given(st.text(max_size=60))
def test_a_clean_name_is_printable_one_line_and_no_template(typed):
    kept = names.clean(typed)
    assert kept == names.clean(kept)
    assert kept.isprintable()
    assert not set(kept) & set("{}")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Conceição ÁVILA", "conceicao avila"),
        ("  São  Luís ", "sao luis"),
        ("Zoë Müller", "zoe muller"),
        ("ANA", "ana"),
    ],
)
def test_names_are_found_without_regard_to_case_and_accents(text, key):
    assert names.search_key(text) == key


@given(st.text(max_size=60))
def test_a_search_key_is_stable(text):
    assert names.search_key(names.search_key(text)) == names.search_key(text)


@pytest.mark.parametrize(
    ("nome", "parts"),
    [
        ("Dra. Ana Souza", ("Ana", "Souza")),
        ("DR JOÃO PEDRO ÁVILA", ("JOÃO", "PEDRO ÁVILA")),
        ("Dr.Paulo Reis", ("Paulo", "Reis")),
        ("Profª. Dra. Inês Lima", ("Inês", "Lima")),
        ("Dr(a). Ana Souza", ("Ana", "Souza")),
        ("Doutora Ana Souza", ("Ana", "Souza")),
        ("Ana", ("Ana", "")),
        ("Drausio Sá", ("Drausio", "Sá")),
        ("Sara Dr. Lima", ("Sara", "Dr. Lima")),
        ("Dra.", ("", "")),
        ("", ("", "")),
    ],
)
def test_a_full_name_is_split_after_its_titles(nome, parts):
    assert names.split(nome) == parts
