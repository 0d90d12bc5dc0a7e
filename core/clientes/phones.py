"""The canonical telephone: E.164 digits without `+`, Brazilian mobiles always with the ninth digit.

A number is identity here. What could be read as two numbers, or loses digits when cleaned (letters between digits,
extensions, a spreadsheet's `.0` or `E+12`), is refused with a sentence for the operator, never repaired.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

import phonenumbers

from core.clientes.ddd import DDDS


class Kind(StrEnum):
    MOBILE = "mobile"
    LANDLINE = "landline"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Phone:
    """`e164` has no `+`; `ddd` is None for a foreign number."""

    e164: str
    kind: Kind
    ddd: str | None


class InvalidPhone(ValueError):
    """`reason_code` is stable, `sentence` is for the operator; neither contains the number."""

    def __init__(self, reason_code: str) -> None:
        self.reason_code = reason_code
        self.sentence = _SENTENCES[reason_code]
        super().__init__(f"{reason_code}: {self.sentence}")


_SENTENCES = {
    "vazio": "telefone vazio",
    "letras": "telefone com letras entre os números: deixe só o número",
    "ramal": "telefone com ramal: ramais não recebem WhatsApp, informe o número direto",
    "decimal": "telefone com casa decimal (a planilha o tratou como número): formate a coluna como texto",
    "notacao_cientifica": "telefone em notação científica (a planilha perdeu dígitos): "
    "formate a coluna como texto e exporte de novo",
    "mais_de_um": "mais de um telefone na mesma célula: deixe só um",
    "simbolos": "telefone com símbolos que não fazem parte de um número",
    "ambiguo": "telefone com dígitos soltos no fim: apague-os se forem ramal, junte-os se forem do número",
    "sem_ddd": "telefone sem DDD: escreva com os dois dígitos da cidade, por exemplo (11) 90000-0001",
    "ddd_invalido": "DDD que não existe",
    "tamanho": "quantidade de dígitos errada: use DDD + número; se for do exterior, comece com + e o código do país",
    "assinante": "depois do DDD, celular tem 9 dígitos começando com 9 e fixo tem 8 dígitos começando com 2 a 5",
    "pais_invalido": "número do exterior que não existe: confira o código do país",
    "lid": "identificador interno do WhatsApp (@lid), não é telefone",
    "nao_e_pessoa": "endereço de grupo, lista ou canal do WhatsApp, não é telefone de uma pessoa",
}

_BRAZIL = "55"
_PERSON_SERVERS = ("s.whatsapp.net", "c.us")
_NOT_A_PERSON = ("g.us", "broadcast", "newsletter")
_MOBILE_LENGTH = 13
_SHORTEST = 8  # clientes_telefone_is_e164_digits; a few islands have shorter numbers

# The spellings of most rows. It accepts a subset of what `parse_by_rules` accepts, with the same result.
_PLAIN = re.compile(
    rf"(?:\+?55 ?)?\(?({'|'.join(sorted(DDDS))})\)? ?(9[0-9]{{4}}|[2-9][0-9]{{3}})[- ]?([0-9]{{4}})", re.ASCII
)

_LABEL = r"(?:tel(?:efone)?|cel(?:ular)?|fone|whats(?:app)?|wpp|zap)"
_LABEL_AROUND = re.compile(rf"^{_LABEL}\b\s*[.:]?:?\s*|\s*\(?\b{_LABEL}\)?\.?$", re.IGNORECASE)
_DASHES = re.compile("[\u2010-\u2015\u2212]")
_WITH_DEVICE = re.compile(r"([0-9]{8,15}):[0-9]{1,3}")
_JID_USER = re.compile(r"\+?([0-9]{6,15})(?::[0-9]{1,3})?")

# First match decides. Each is something that, stripped of its non-digits, could be somebody else's number.
_REFUSALS = (
    (re.compile(r"[0-9]+(?:[.,][0-9]*)?e[+-]?[0-9]+", re.IGNORECASE), "notacao_cientifica"),
    (re.compile(r"\+?[0-9]{8,}[.,][0-9]+|.*\.[0-9]{1,2}"), "decimal"),
    (re.compile(r".*[0-9)][ ,;.(-]*(?:ramal|ram|ext|r|x|#)[ .:=]*[0-9]+\)?", re.IGNORECASE), "ramal"),
    (re.compile(r".*[0-9].*[/,;|\\].*[0-9].*"), "mais_de_um"),
    (re.compile(r".*[^\W\d_].*"), "letras"),
    (re.compile(r"(?!\(?\+? ?[0-9(][-0-9 ().]*$).*"), "simbolos"),
)
_LONGEST_TEXT = 60


def parse(raw: str) -> Phone:
    """The canonical number of what a person typed or a provider sent. Raises `InvalidPhone`."""
    if plain := _PLAIN.fullmatch(raw):
        ddd, head, tail = plain.groups()
        if len(head) == 5:
            return Phone(f"55{ddd}{head}{tail}", Kind.MOBILE, ddd)
        return _eight_digits(ddd, head + tail)
    return parse_by_rules(raw)


def parse_by_rules(raw: str) -> Phone:
    """The whole rule, of which `parse` takes a shortcut for plain spellings."""
    text = _typed(raw)
    if not text:
        raise InvalidPhone("vazio")
    if len(text) > _LONGEST_TEXT:
        raise InvalidPhone("tamanho")
    if "@" in text:
        return _from_jid(text)
    if with_device := _WITH_DEVICE.fullmatch(text):
        return _international(with_device[1])
    text = _LABEL_AROUND.sub("", text)
    for pattern, reason_code in _REFUSALS:
        if pattern.fullmatch(text):
            raise InvalidPhone(reason_code)
    groups = re.findall("[0-9]+", text)
    if not groups:
        raise InvalidPhone("vazio")
    plus = "+" in text
    phone = _from_digits("".join(groups), plus=plus)
    if phone.kind is not Kind.FOREIGN and len(groups[-1]) <= 3 and _is_number("".join(groups[:-1]), plus=plus):
        raise InvalidPhone("ambiguo")  # "(55) 3333-4444 12", "11 9000-0001 2": complete before the loose digits
    return phone


def _typed(raw: str) -> str:
    """Without what copying adds: direction marks, no-break spaces, typographic dashes, a spreadsheet's text mark."""
    if not raw.isascii():
        raw = "".join(char for char in raw if unicodedata.category(char) != "Cf")
        raw = _DASHES.sub("-", raw)
    return " ".join(raw.split()).removeprefix("'").strip()


def _from_jid(jid: str) -> Phone:
    user, _, server = jid.lower().partition("@")
    if server == "lid":
        raise InvalidPhone("lid")
    if server in _NOT_A_PERSON:
        raise InvalidPhone("nao_e_pessoa")
    number = _JID_USER.fullmatch(user)
    if server not in _PERSON_SERVERS or not number:
        raise InvalidPhone("simbolos")
    return _international(number[1])


def _international(digits: str) -> Phone:
    """Digits that start with a country code, whatever their length."""
    if digits.startswith(_BRAZIL):
        return _brazilian(digits[2:])
    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        raise InvalidPhone("pais_invalido") from None
    if not phonenumbers.is_valid_number(number):
        raise InvalidPhone("pais_invalido")
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
    if len(e164) < _SHORTEST:
        raise InvalidPhone("pais_invalido")
    return Phone(e164, Kind.FOREIGN, None)


def _from_digits(digits: str, *, plus: bool) -> Phone:
    """`00` is an international prefix like `+`; without either the number is Brazilian, the 55 written or not."""
    if plus:
        return _international(digits)
    if digits.startswith("00"):
        return _international(digits[2:])
    if digits.startswith("550") or (len(digits) in (12, 13) and digits.startswith(_BRAZIL)):
        return _brazilian(digits[2:])  # 550: a trunk zero follows, because no number of DDD 55 starts with 0
    return _brazilian(digits)


def _is_number(digits: str, *, plus: bool) -> bool:
    try:
        _from_digits(digits, plus=plus)
    except InvalidPhone:
        return False
    return True


def _brazilian(national: str) -> Phone:
    """DDD and subscriber, possibly behind a trunk zero and a carrier code (`0`, `0XX`)."""
    if national.startswith("0"):
        national = national[1:]
        if len(national) in (12, 13):
            national = national[2:]
    if len(national) in (0, 8, 9):
        raise InvalidPhone("sem_ddd")
    if len(national) not in (10, 11):
        raise InvalidPhone("tamanho")
    ddd, subscriber = national[:2], national[2:]
    if ddd not in DDDS:
        raise InvalidPhone("ddd_invalido")
    if len(subscriber) == 8:
        return _eight_digits(ddd, subscriber)
    if subscriber[0] != "9":
        raise InvalidPhone("assinante")
    return Phone(f"55{ddd}{subscriber}", Kind.MOBILE, ddd)


def _eight_digits(ddd: str, subscriber: str) -> Phone:
    """6-9: a mobile from before the ninth digit, which it gains. 2-5: a landline, which never gains it."""
    if subscriber[0] in "6789":
        return Phone(f"55{ddd}9{subscriber}", Kind.MOBILE, ddd)
    if subscriber[0] in "2345":
        return Phone(f"55{ddd}{subscriber}", Kind.LANDLINE, ddd)
    raise InvalidPhone("assinante")


def variants(canonical: str) -> tuple[str, ...]:
    """The spellings under which a provider may know this number, the canonical one first.

    A Brazilian mobile also has the spelling without its ninth digit, unless that would be the number of somebody
    else's landline or of nobody: each variant parses back to the same canonical number.
    """
    if len(canonical) == _MOBILE_LENGTH and canonical.startswith(_BRAZIL) and canonical[5] in "6789":
        return canonical, canonical[:4] + canonical[5:]
    return (canonical,)


def canonical_from_jid(jid: str) -> str | None:
    """The number of a person's jid; None for a LID, a group, a broadcast list, a newsletter or no jid at all."""
    if "@" not in jid:
        return None
    try:
        return _from_jid(jid.strip()).e164
    except InvalidPhone:
        return None


def bare_jid(jid: str) -> str:
    """Lower case and without the device part: `551190000000:12@c.us` and `…@c.us` are one identity."""
    user, at, server = jid.strip().lower().partition("@")
    return user.partition(":")[0] + at + server


def is_lid(jid: str) -> bool:
    return jid.strip().lower().endswith("@lid")


def legal_jids(canonical: str) -> tuple[str, ...]:
    """Where a message to this number may truly arrive; any other `remoteJid` is a mis-delivery (contracts §1.11)."""
    return tuple(f"{spelling}@s.whatsapp.net" for spelling in variants(canonical))


def whatsapp_jid(canonical: str) -> str:
    """The jid the provider's server builds (contracts §1.11): from DDD 31 on, mobiles 9 7…, 9 8…, 9 9… lose the 9."""
    is_mobile = len(canonical) == _MOBILE_LENGTH and canonical.startswith(_BRAZIL)
    if is_mobile and canonical[2:4] >= "31" and canonical[5] in "789":
        canonical = canonical[:4] + canonical[5:]
    return f"{canonical}@s.whatsapp.net"


def mask(phone: str) -> str:
    """First and last four digits of any spelling: "5511...0001"; fewer than eight digits show nothing."""
    digits = re.sub("[^0-9]", "", phone)
    return f"{digits[:4]}...{digits[-4:]}" if len(digits) >= 8 else "****"


def display(canonical: str) -> str:
    """ "+55 11 90000-0001"; foreign numbers as their country writes them."""
    if canonical.startswith(_BRAZIL) and len(canonical) in (12, 13):
        return f"+55 {canonical[2:4]} {canonical[4:-4]}-{canonical[-4:]}"
    try:
        number = phonenumbers.parse(f"+{canonical}")
    except phonenumbers.NumberParseException:
        return f"+{canonical}"
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
