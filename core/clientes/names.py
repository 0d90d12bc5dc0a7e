"""Names of people and places: what is kept of what was typed, and the key by which it is found again."""

import re
import unicodedata

_ACCENTS = re.compile("[\u0300-\u036f]+")
_BRACES = re.compile(r"[{}]")

# Titles in front of a name, in either gender and with or without the dot: "Dr.", "Dra", "Profª", "Dr(a)."
_HONORIFIC = re.compile(
    r"(?:(?:dr|prof|sr)(?:a|ª|\.ª|\(a\))?|doutora?|professora?)(?:\.\s*|\s+|$)",
    re.IGNORECASE,
)


def clean(text: str) -> str:
    """Composed accents, single spaces, no control or invisible characters, no braces (they are template syntax)."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _stand_in(char) for char in text)
    if "{" in text or "}" in text:
        text = _BRACES.sub("", text)
    return " ".join(text.split())


def _stand_in(char: str) -> str:
    """A space for white space (tab, line break, no-break space), nothing for what cannot be seen."""
    return " " if char.isspace() else ""


def search_key(text: str) -> str:
    """Lower case without accents: the normalised column, because PostgreSQL without extensions has no unaccent."""
    key = text.lower()
    if not key.isascii():
        key = _ACCENTS.sub("", unicodedata.normalize("NFKD", text).lower())
        if not key.isascii():
            key = "".join(char for char in key if unicodedata.category(char) != "Mn")
    return " ".join(key.split())


def without_honorifics(nome: str) -> str:
    """ "Profa. Dra. Ana Souza" -> "Ana Souza". A name that is nothing but a title becomes empty."""
    while found := _HONORIFIC.match(nome):
        nome = nome[found.end() :]
    return nome


def split(nome: str) -> tuple[str, str]:
    """(primeiro_nome, sobrenome) of a cleaned full name, titles dropped; a single name has an empty sobrenome."""
    primeiro_nome, _, sobrenome = without_honorifics(nome).partition(" ")
    return primeiro_nome, sobrenome
