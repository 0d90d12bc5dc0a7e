import re

from fila.conversas.intents.choices import Detection, Intent
from fila.conversas.intents.judges import before, tail
from fila.conversas.intents.plain_text import Clause, read
from fila.conversas.intents.rules import RULES, Rule
from fila.conversas.intents.vocabulary import (
    COMMAND,
    CONDITION,
    CONTRAST,
    COURTESY,
    DOES_IT_ONESELF,
    DOUBTFUL_COMMAND,
    FILLER,
    HOW,
    IMPERATIVE,
    LEAVING,
    MAY_I,
    NEGATED,
    OTHER_LISTS,
    POLITE_QUESTION,
    RESERVE,
    SOMEBODY_ELSE,
    STOP_SIGNS,
)

PRECEDENCE = list(Intent)


def classify(text: str) -> Intent:
    """What the message asks for; NONE when it asks for nothing of the kind."""
    return detect(text).intent


def detect(text: str) -> Detection:
    """As `classify`, with the rule that decided."""
    clauses = read(text)
    if not clauses:
        return Detection(Intent.COOLING_OFF, "sinal de pare") if STOP_SIGNS.search(text) else Detection(Intent.NONE)
    by_clause = [_hits(clause) for clause in clauses]
    found = [hit for hits in by_clause for hit in hits] + _command(clauses)
    if not found:
        return Detection(Intent.NONE)
    best = min(found, key=lambda hit: PRECEDENCE.index(hit.intent))
    if best.intent in (Intent.OPT_OUT, Intent.COOLING_OFF) and _has_reserve(clauses, by_clause):
        is_stop = best.intent is Intent.OPT_OUT
        return Detection(Intent.PREFERENCE, f"{best.rule}, com ressalva") if is_stop else Detection(Intent.NONE)
    return best


def _hits(clause: Clause) -> list[Detection]:
    if _asks_how(clause):
        return [Detection(Intent.ASKS_HOW_TO_LEAVE, "pergunta como sair")]
    hits = []
    for rule in RULES:
        match = rule.pattern.search(clause.text)
        intent = _in_context(rule, match, clause) if match else Intent.NONE
        if intent is not Intent.NONE:
            hits.append(Detection(intent, rule.name))
    return hits


def _in_context(rule: Rule, match: re.Match[str], clause: Clause) -> Intent:
    words = before(match)
    if NEGATED.search(words):
        return Intent.NONE
    intent = rule.judge(match)
    if clause.is_question and rule.asked is not None and intent is not Intent.NONE:
        intent = rule.asked
    if rule.in_any_context or not (CONDITION.search(COURTESY.sub("", words)) or SOMEBODY_ELSE.search(words)):
        return intent
    return Intent.PREFERENCE if intent is Intent.OPT_OUT else Intent.NONE


def _asks_how(clause: Clause) -> bool:
    """How to leave, not a polite request that we take them off."""
    leaving = LEAVING.search(clause.text)
    if not leaving or OTHER_LISTS.search(tail(leaving)):
        return False
    words = before(leaving)
    asks_leave = MAY_I.search(words) and DOES_IT_ONESELF.match(leaving.group())
    return bool(HOW.search(words) or (clause.is_question and (asks_leave or CONDITION.search(words))))


def _command(clauses: list[Clause]) -> list[Detection]:
    """A word or two that are the whole message ("pare"). Beside other content even a clear one is a doubt."""
    said = list(dict.fromkeys(filter(None, (_stripped(clause.text) for clause in clauses))))
    if any(clause.is_question for clause in clauses):
        is_request = any(POLITE_QUESTION.fullmatch(words) for words in said)
        return [Detection(Intent.COOLING_OFF, "pergunta se paramos")] if is_request else []
    if said and all(COMMAND.fullmatch(words) or DOUBTFUL_COMMAND.fullmatch(words) for words in said):
        is_clear = any(COMMAND.fullmatch(words) for words in said)
        return [Detection(Intent.OPT_OUT if is_clear else Intent.COOLING_OFF, "comando")]
    if any(IMPERATIVE.fullmatch(words) for words in said):
        return [Detection(Intent.COOLING_OFF, "comando no meio de outro assunto")]
    return []


def _stripped(words: str) -> str:
    """Without filler at the edges, and each word once where it was repeated ("pare pare pare")."""
    words = re.sub(rf"^(?:(?:{FILLER}|agora|mas)\b ?)++", "", words)
    words = re.sub(rf"(?: ?\b(?:{FILLER}|agora))++$", "", words)
    return re.sub(r"\b(\w+)(?: \1\b)+", r"\1", words)


def _has_reserve(clauses: list[Clause], by_clause: list[list[Detection]]) -> bool:
    """Whether another clause takes part of it back: "…, mas pode mandar de dia", "tem outro?"."""
    seen_hit = False
    for clause, hits in zip(clauses, by_clause, strict=True):
        if RESERVE.search(clause.text) or (seen_hit and not hits and CONTRAST.search(clause.text)):
            return True
        seen_hit = seen_hit or bool(hits)
    return False
