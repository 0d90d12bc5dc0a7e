"""What a phrase means with what follows it in its clause. Each takes the match and reads its string around it."""

import re
from collections.abc import Callable

from fila.conversas.intents.choices import Intent
from fila.conversas.intents.vocabulary import (
    DATE,
    EXPLICIT,
    FAMILY,
    FOR_OTHERS,
    LIST,
    ONE_ITEM,
    ONE_OF_THESE,
    ONLY_FILLER,
    ONLY_PRESENT,
    ONLY_US,
    OTHER_LISTS,
    PART,
    SOMETHING_ELSE,
    THIS_NUMBER,
)

Judge = Callable[[re.Match[str]], Intent]


def before(match: re.Match[str]) -> str:
    return match.string[: match.start()].strip()


def tail(match: re.Match[str]) -> str:
    return match.string[match.end() :].strip()


def a_part(match: re.Match[str]) -> Intent:
    """A part of what we send, or something else altogether."""
    words = tail(match)
    if ONE_ITEM.search(words) or FOR_OTHERS.search(words) or SOMETHING_ELSE.search(words):
        return Intent.NONE
    return Intent.PREFERENCE if PART.search(words) else Intent.NONE


def stop(match: re.Match[str]) -> Intent:
    """The verb alone ("não mande") may answer a question of ours: without an object or "mais" it is a doubt."""
    words = tail(match)
    if not ONLY_US.fullmatch(words) or ONE_ITEM.search(words):
        return a_part(match)
    return Intent.OPT_OUT if EXPLICIT.search(f"{match.group()} {words}") else Intent.COOLING_OFF


def stop_plainly(match: re.Match[str]) -> Intent:
    """The phrase is clear without an object; "agora" makes it urgent, not a part."""
    words = re.sub(r" ?\bagora\b", "", tail(match)).strip()
    return Intent.OPT_OUT if ONLY_US.fullmatch(words) and not ONE_ITEM.search(words) else a_part(match)


def stop_doing_it_to_me(match: re.Match[str]) -> Intent:
    """After "pare de me mandar" even an unknown object is a complaint about us."""
    intent = stop_plainly(match)
    return Intent.COOLING_OFF if intent is Intent.NONE and not ONE_ITEM.search(tail(match)) else intent


def pause_if_explicit(match: re.Match[str]) -> Intent:
    return Intent.COOLING_OFF if stop(match) is Intent.OPT_OUT else Intent.NONE


def off_the_list(match: re.Match[str]) -> Intent:
    said, words = match.group(), tail(match)
    if OTHER_LISTS.search(words) or ONE_ITEM.search(words):
        return Intent.NONE
    if THIS_NUMBER.search(f"{said} {words}") or re.search(r"\bgrupo\b", words):
        return Intent.PREFERENCE
    if re.match(rf"{LIST}\b", words):
        return Intent.OPT_OUT if ONLY_US.fullmatch(words) else Intent.PREFERENCE
    if not ONLY_FILLER.fullmatch(words):
        return Intent.NONE
    is_clear = re.search(r"\b(?:remov|exclu|retir|desc|desin)|\bmeus?\b", said) and not re.search(r"\bnome\b", said)
    return Intent.OPT_OUT if is_clear else Intent.COOLING_OFF


def no_interest(match: re.Match[str]) -> Intent:
    """In everything, in one vacancy or date (an ordinary answer), or in a kind of work."""
    words = tail(match)
    if ONLY_PRESENT.fullmatch(words) and not ONE_ITEM.search(words):
        return Intent.COOLING_OFF
    about_one = ONE_OF_THESE.search(words) or ONE_ITEM.search(words) or DATE.search(words)
    return Intent.NONE if about_one else Intent.PREFERENCE


def no_offers(match: re.Match[str]) -> Intent:
    if ONLY_PRESENT.fullmatch(tail(match)):
        return Intent.COOLING_OFF
    is_one_date = DATE.search(tail(match)) and not re.search(r"\bmais\b", match.group())
    return Intent.NONE if is_one_date else a_part(match)


def spam(match: re.Match[str]) -> Intent:
    """An accusation, not a folder where something was looked for."""
    folder = r"\b(?:email|e mail|caixa|pasta|caiu|filtro|lixo|anti|olh\w+|verific\w+|chec\w+|foi|veio|entrou)\b"
    return Intent.NONE if re.search(folder, match.string) else Intent.OPT_OUT_WITH_ALERT


def wrong_number(match: re.Match[str]) -> Intent:
    """Theirs, unless they speak of a number that they gave or of another kind of number."""
    gave = r"\b(?:passei|mandei|digitei|coloquei|anotei|informei|dei|enviei|escrevi|liguei|salvei|cadastr\w+|passou)\b"
    another = r"\b(?:crm|conta|cpf|cnpj|documento|quarto|leito|agencia|pix|protocolo)\b"
    of_something = re.match(r"(?:d[oae]s?|n[oa]s?) (?!dra?\b|doutor)", tail(match))
    about_theirs = of_something or re.search(gave, before(match)) or re.search(another, match.string)
    return Intent.NONE if about_theirs else Intent.WRONG_NUMBER


def not_that_person(match: re.Match[str]) -> Intent:
    still_them = r"\b(?:ainda|responsavel|plantonista|especialista|titular|hospital|coordenador\w*|de plantao)\b"
    return Intent.NONE if re.search(still_them, tail(match)) else Intent.WRONG_NUMBER


def death(match: re.Match[str]) -> Intent:
    """The doctor's; a patient's is none of ours, and one in the family is a reason to be silent for a while."""
    if re.search(r"\b(?:pacientes?|pct|uti|leito|crianca|bebe|atestado|declaracao|de rir)\b", match.string):
        return Intent.NONE
    has_title = re.search(r"\b(?:dra?|doutora?)\b", before(match))
    if FAMILY.search(match.string) and not has_title:
        return Intent.COOLING_OFF
    at_work = re.search(r"\b(?:hospital|plantao|cirurgia|emergencia|sala)\b", match.string)
    if has_title or re.search(r"\b(?:el[ae]|titular|don[oa]|pessoa|medic[oa])\b", before(match)):
        return Intent.COOLING_OFF if at_work else Intent.DECEASED
    return Intent.NONE if match.group() == "morreu" else Intent.COOLING_OFF


def always(intent: Intent) -> Judge:
    return lambda match: intent


def when_tail(words: re.Pattern[str], intent: Intent) -> Judge:
    return lambda match: intent if words.fullmatch(tail(match)) else Intent.NONE


def when_clause(words: re.Pattern[str], intent: Intent) -> Judge:
    """Nothing else stands in the clause, before or after."""
    return lambda match: intent if words.fullmatch(before(match)) and words.fullmatch(tail(match)) else Intent.NONE
