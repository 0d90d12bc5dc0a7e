import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clientes import phones
from core.clientes.ddd import DDDS
from core.clientes.phones import InvalidPhone, Kind, Phone

MOBILE = "5511900000001"


@pytest.mark.parametrize(
    "spelling",
    [
        "5511900000001",
        "+5511900000001",
        "11900000001",
        "(11) 90000-0001",
        "+55 (11) 90000-0001",
        "+55 11 9 0000-0001",
        "11.90000.0001",
        "11 900 000 001",
        " 11 90000-0001 ",
        "'11 90000-0001",
        "0055 11 90000-0001",
        "011 90000-0001",
        "+55 (0)11 90000-0001",
        "0 15 11 90000-0001",
        "(015 11) 90000-0001",
        "\u202a+55\u00a011\u00a090000\u20110001\u202c",
        "tel:+55-11-90000-0001",
        "Cel.: (11) 90000-0001",
        "(11) 90000-0001 (WhatsApp)",
        "5511900000001@s.whatsapp.net",
        "5511900000001@c.us",
        "5511900000001:12@s.whatsapp.net",
        "5511900000001:12",
    ],
)
def test_a_mobile_is_one_number_however_it_is_written(spelling):
    assert phones.parse(spelling) == Phone(MOBILE, Kind.MOBILE, "11")


@pytest.mark.parametrize("second_digit", "0123456789")
def test_a_mobile_has_nine_digits_starting_with_9_and_any_second_digit(second_digit):
    assert phones.parse(f"119{second_digit}0000001").kind == Kind.MOBILE


@pytest.mark.parametrize("first_digit", "6789")
def test_eight_digits_starting_6_to_9_gain_the_ninth_digit(first_digit):
    assert phones.parse(f"(11) {first_digit}000-0001") == Phone(f"55119{first_digit}0000001", Kind.MOBILE, "11")
    assert phones.parse(f"+5511{first_digit}0000001").e164 == f"55119{first_digit}0000001"
    assert phones.parse(f"5511{first_digit}0000001@s.whatsapp.net").e164 == f"55119{first_digit}0000001"


@pytest.mark.parametrize("first_digit", "2345")
def test_a_landline_never_gains_the_ninth_digit(first_digit):
    assert phones.parse(f"(11) {first_digit}000-0001") == Phone(f"5511{first_digit}0000001", Kind.LANDLINE, "11")


@pytest.mark.parametrize("ddd", sorted(DDDS))
def test_each_of_the_67_area_codes_is_accepted(ddd):
    assert phones.parse(f"{ddd}900000001") == Phone(f"55{ddd}900000001", Kind.MOBILE, ddd)


def test_no_other_area_code_is_accepted():
    refused = [f"{ddd:02}" for ddd in range(10, 100) if f"{ddd:02}" not in DDDS]
    assert len(DDDS) == 67
    for ddd in refused:
        with pytest.raises(InvalidPhone) as error:
            phones.parse(f"+55 {ddd} 90000-0001")
        assert error.value.reason_code == "ddd_invalido"


def test_area_code_55_is_not_mistaken_for_the_country_code():
    assert phones.parse("(55) 90000-0001").e164 == "5555900000001"
    assert phones.parse("55 55 90000-0001").e164 == "5555900000001"
    assert phones.parse("+55 55 3000-0001").e164 == "555530000001"


@pytest.mark.parametrize(
    ("spelling", "e164"),
    [
        ("+1 415 555 2671", "14155552671"),
        ("001 415 555 2671", "14155552671"),
        ("+44 (0)20 7946 0018", "442079460018"),
        ("+351 912 345 678", "351912345678"),
        ("14155552671@s.whatsapp.net", "14155552671"),
    ],
)
def test_a_foreign_number_keeps_its_own_country(spelling, e164):
    assert phones.parse(spelling) == Phone(e164, Kind.FOREIGN, None)


def test_a_foreign_number_needs_its_international_prefix():
    with pytest.raises(InvalidPhone) as error:
        phones.parse("351 912 345 678")
    assert error.value.reason_code == "tamanho"


@pytest.mark.parametrize(
    ("raw", "reason_code"),
    [
        ("", "vazio"),
        (" \u200b ", "vazio"),
        ("90000-0001", "sem_ddd"),
        ("3000-0001", "sem_ddd"),
        ("+55", "sem_ddd"),
        ("+55 90000-0001", "sem_ddd"),
        ("4004-1234", "sem_ddd"),
        ("20 90000-0001", "ddd_invalido"),
        ("0800 123 4567", "ddd_invalido"),
        ("11 9000-001", "sem_ddd"),
        ("11 900000-00010", "tamanho"),
        ("119000", "tamanho"),
        ("1" * 500, "tamanho"),
        ("11 80000-0001", "assinante"),
        ("11 1000-0001", "assinante"),
        ("11 9OOOO-0001", "letras"),
        ("(0xx11) 90000-0001", "letras"),
        ("11 90000-0001 ou 11 90000-0002", "letras"),
        ("recado com Ana 11 90000-0001", "letras"),
        ("11 3000-0001 ramal 12", "ramal"),
        ("+55 11 3000-0001 x2", "ramal"),
        ("(55) 3000-0001 r. 12", "ramal"),
        ("5511900000001.0", "decimal"),
        ("11900000001,00", "decimal"),
        ("(55) 9000-0001.0", "decimal"),
        ("5,5119E+12", "notacao_cientifica"),
        ("5.511900000001e12", "notacao_cientifica"),
        ("11 90000-0001/0002", "mais_de_um"),
        ("11 90000-0001, 11 90000-0002", "mais_de_um"),
        ("11 90000-0001*", "simbolos"),
        ("55 +11 90000-0001", "simbolos"),
        ("++5511900000001", "simbolos"),
        ("-5511900000001", "simbolos"),
        ("١١٩٠٠٠٠٠٠٠١", "simbolos"),
        ("ana@hospital.example", "simbolos"),
        ("+999 123 456 789", "pais_invalido"),
        ("+0 11 90000-0001", "pais_invalido"),
        ("+683 4000", "pais_invalido"),
        ("11900000001@c.us", "pais_invalido"),
        ("100000000000001@lid", "lid"),
        ("120363000000000001@g.us", "nao_e_pessoa"),
        ("status@broadcast", "nao_e_pessoa"),
        ("120363000000000001@newsletter", "nao_e_pessoa"),
    ],
)
def test_what_could_be_somebody_else_is_refused_and_not_repaired(raw, reason_code):
    with pytest.raises(InvalidPhone) as error:
        phones.parse(raw)
    assert error.value.reason_code == reason_code


@pytest.mark.parametrize(
    ("raw", "other"),
    [
        ("(55) 3130-0001 12", "+553130000112"),
        ("(55) 99900-0001 12", "+5599900000112"),
        ("11 9000-0001 2", "+5511900000012"),
        ("+55 11 9000-0001 2", "+5511900000012"),
    ],
)
def test_loose_digits_after_a_complete_number_are_refused_because_together_they_are_another(raw, other):
    assert phones.parse(other).e164
    with pytest.raises(InvalidPhone) as error:
        phones.parse(raw)
    assert error.value.reason_code == "ambiguo"


def test_a_refusal_tells_the_operator_what_to_do_without_repeating_the_number():
    with pytest.raises(InvalidPhone) as error:
        phones.parse("90000-0001")
    assert error.value.sentence == (
        "telefone sem DDD: escreva com os dois dígitos da cidade, por exemplo (11) 90000-0001"
    )


@given(
    prefix=st.sampled_from(["", "+55", "55", "+55 ", "55 ", "+", "0", "00", "0055 ", "015"]),
    ddd=st.integers(0, 99),
    parentheses=st.sampled_from([("", ""), ("(", ")"), ("(", ") "), ("", " "), ("(", "")]),
    head=st.integers(0, 99_999),
    dash=st.sampled_from(["", "-", " ", "  ", "."]),
    tail=st.integers(0, 99_999),
)
def test_the_fast_path_agrees_with_the_rules(prefix, ddd, parentheses, head, dash, tail):
    before, after = parentheses
    _assert_both_agree(f"{prefix}{before}{ddd:02}{after}{head:04}{dash}{tail:04}")


@given(st.text(alphabet="0123456789+-() .5 9", max_size=22))
def test_the_fast_path_agrees_with_the_rules_on_anything(raw):
    _assert_both_agree(raw)


def _assert_both_agree(raw):
    assert _outcome(phones.parse, raw) == _outcome(phones.parse_by_rules, raw)


def _outcome(parse, raw):
    try:
        return parse(raw)
    except InvalidPhone as error:
        return error.reason_code


@given(st.text(max_size=40))
def test_any_text_is_a_number_or_refused_and_nothing_else(raw):
    outcome = _outcome(phones.parse, raw)
    if isinstance(outcome, Phone):
        assert outcome.e164.isdigit()
        assert 8 <= len(outcome.e164) <= 15


canonical_numbers = st.builds(
    lambda ddd, subscriber: phones.parse(f"{ddd}{subscriber}").e164,
    st.sampled_from(sorted(DDDS)),
    st.from_regex(r"9[0-9]{8}|[2-9][0-9]{7}", fullmatch=True).filter(str.isascii),
)


@given(canonical_numbers)
def test_a_canonical_number_is_its_own_canonical_form(canonical):
    for spelling in (canonical, f"+{canonical}", f"{canonical}@c.us", phones.display(canonical)):
        assert phones.parse(spelling).e164 == canonical


@given(canonical_numbers)
def test_every_variant_leads_back_to_the_same_person(canonical):
    variants = phones.variants(canonical)
    assert variants[0] == canonical
    assert {phones.parse(variant).e164 for variant in variants} == {canonical}


@given(canonical_numbers)
def test_the_server_builds_one_of_the_legal_jids(canonical):
    assert phones.whatsapp_jid(canonical) in phones.legal_jids(canonical)


@pytest.mark.parametrize(
    ("canonical", "expected"),
    [
        ("5511980000001", ("5511980000001", "551180000001")),
        ("5541960000001", ("5541960000001", "554160000001")),
        ("551130000001", ("551130000001",)),
        ("14155552671", ("14155552671",)),
    ],
)
def test_a_brazilian_mobile_is_known_with_and_without_its_ninth_digit(canonical, expected):
    assert phones.variants(canonical) == expected


def test_the_landline_that_ends_in_the_same_digits_is_no_variant_of_a_mobile():
    """Contracts §1.11: checking 55 11 3000-0001 once made 55 11 93000-0001 resolve to the landline."""
    assert phones.variants("5511930000001") == ("5511930000001",)
    assert phones.legal_jids("5511930000001") == ("5511930000001@s.whatsapp.net",)


def test_a_mobile_has_two_legal_jids():
    assert phones.legal_jids("5541980000001") == ("5541980000001@s.whatsapp.net", "554180000001@s.whatsapp.net")


@pytest.mark.parametrize(
    ("canonical", "jid"),
    [
        ("5511980000001", "5511980000001@s.whatsapp.net"),
        ("5528990000001", "5528990000001@s.whatsapp.net"),
        ("5531960000001", "5531960000001@s.whatsapp.net"),
        ("5531970000001", "553170000001@s.whatsapp.net"),
        ("5541990000001", "554190000001@s.whatsapp.net"),
        ("554130000001", "554130000001@s.whatsapp.net"),
        ("14155552671", "14155552671@s.whatsapp.net"),
    ],
)
def test_the_server_drops_the_ninth_digit_from_ddd_31_on_before_7_8_and_9(canonical, jid):
    assert phones.whatsapp_jid(canonical) == jid


@pytest.mark.parametrize(
    ("jid", "canonical"),
    [
        ("5511900000001@s.whatsapp.net", MOBILE),
        ("5511900000001:3@s.whatsapp.net", MOBILE),
        ("554180000001@c.us", "5541980000001"),
        ("14155552671@s.whatsapp.net", "14155552671"),
        ("4155552671@s.whatsapp.net", None),
        ("100000000000001@lid", None),
        ("5511900000001@lid", None),
        ("120363000000000001@g.us", None),
        ("5511900000001-1500000000@g.us", None),
        ("status@broadcast", None),
        ("120363000000000001@newsletter", None),
        ("5511900000001", None),
        ("", None),
        ("@s.whatsapp.net", None),
    ],
)
def test_only_a_persons_jid_holds_a_number(jid, canonical):
    assert phones.canonical_from_jid(jid) == canonical


def test_a_lid_is_recognised_with_and_without_device():
    assert phones.is_lid("100000000000001@lid")
    assert phones.is_lid("100000000000001:4@lid")
    assert not phones.is_lid("5511900000001@s.whatsapp.net")


def test_devices_of_one_account_share_a_jid():
    assert phones.bare_jid("5511900000001:12@S.WhatsApp.net") == "5511900000001@s.whatsapp.net"
    assert phones.bare_jid("100000000000001@lid") == "100000000000001@lid"


@pytest.mark.parametrize(
    ("phone", "masked"),
    [
        ("5511900000001", "5511...0001"),
        ("+55 11 90000-0001", "5511...0001"),
        ("5511900000001@s.whatsapp.net", "5511...0001"),
        ("12345678", "1234...5678"),
        ("1234567", "****"),
        ("", "****"),
    ],
)
def test_a_masked_phone_shows_the_first_and_last_four_digits(phone, masked):
    assert phones.mask(phone) == masked


@pytest.mark.parametrize(
    ("canonical", "shown"),
    [
        ("5511900000001", "+55 11 90000-0001"),
        ("551130000001", "+55 11 3000-0001"),
        ("14155552671", "+1 415-555-2671"),
        ("0", "+0"),
    ],
)
def test_a_displayed_phone_reads_as_people_write_it(canonical, shown):
    assert phones.display(canonical) == shown
