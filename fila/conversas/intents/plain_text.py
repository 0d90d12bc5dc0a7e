"""A WhatsApp message as clauses of plain words, for rules to match. Pure."""

import re
import unicodedata
from dataclasses import dataclass

MAX_CHARS = 4000  # of a message; what follows is not read

_SHORT_FORMS = {
    short: written_out
    for written_out, shorts in {
        "nao": "n naum noa nau nn",
        "para": "pra p pr",
        "para o": "pro",
        "voces": "vc vcs ces voce vx vces",
        "que": "q ke qe",
        "porque": "pq pque",
        "quero": "qro kero qero queru quro",
        "estou": "to tou",
        "por favor": "pfv pf pfvr pls please plis porfavor",
        "obrigado": "obg obgd obgda brigado brigada vlw tks",
        "whatsapp": "zap zapp wpp whats wts whatsap watsapp",
        "numero": "nro numro nmr",
        "receber": "recebr reseber receb",
        "plantoes": "plantaos plantos",
        "me": "mim mi",
        "de": "d",
        "hoje": "hj",
    }.items()
    for short in shorts.split()
}
_MESSAGE = re.compile(r"msgs?|men?ss?a?[gj](?:e|em|ems|en|ens|m|ns|i|im|in|ins)?")
_REWRITES = (
    (re.compile(r"\bp/"), "para "),
    (re.compile(r"\b(dra?|sra?|profa?|tel)\."), r"\1 "),  # the point of a title ends no sentence
    (re.compile(r"\bnum (?=quero|me|mand|envi)"), "nao "),
)
_PART = re.compile(r"[a-z0-9]+|[.,;:!?()\n…]")
_CONJUNCTIONS = frozenset({"e", "ou", "porque", "pois", "senao", "portanto"})
_CONTRASTS = frozenset({"mas", "porem", "contudo", "entretanto"})


@dataclass(frozen=True, slots=True)
class Clause:
    """Words in lower case without accents ("é" is "eh"), one space between, common short forms written out."""

    text: str
    is_question: bool


def read(text: str) -> list[Clause]:
    """The clauses of a message. Emoji and invisible characters vanish; punctuation and conjunctions divide.

    A contrast ("mas") stays as the first word of its clause. A question mark marks its whole sentence.
    """
    clauses: list[Clause] = []
    words: list[str] = []
    sentence_start = 0
    for part in [*_PART.findall(_plain(text[:MAX_CHARS])), "\n"]:
        is_word = part[0].isalnum()
        if words and (not is_word or part in _CONJUNCTIONS or part in _CONTRASTS):
            clauses.append(Clause(" ".join(words), is_question=False))
            words.clear()
        if is_word and part not in _CONJUNCTIONS:
            words.append(_spelled_out(part))
        if part == "?":
            clauses[sentence_start:] = [Clause(clause.text, True) for clause in clauses[sentence_start:]]
        if part in ".!?\n":
            sentence_start = len(clauses)
    return clauses


def _plain(text: str) -> str:
    lowered = unicodedata.normalize("NFKC", text).casefold()
    decomposed = unicodedata.normalize("NFKD", re.sub(r"\bé\b", "eh", lowered))
    plain = "".join(char for char in decomposed if unicodedata.category(char) not in ("Mn", "Cf"))
    for pattern, replacement in _REWRITES:
        plain = pattern.sub(replacement, plain)
    return plain


def _spelled_out(word: str) -> str:
    word = re.sub(r"(.)\1{2,}", r"\1", word)
    if len(word) > 3:
        word = re.sub(r"([a-z])\1$", r"\1", word)
    return "mensagem" if _MESSAGE.fullmatch(word) else _SHORT_FORMS.get(word, word)
