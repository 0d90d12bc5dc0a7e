"""A campaign's text with `{variables}`: checked when it is saved, filled in per person, here and in SQL alike.

`{nome}` and `{{nome}}` are the same; `{primeiro_nome|doutor(a)}` says what stands in for an empty value. A value is
data: braces in it are dropped and never read as a variable.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from core.clientes.models import Cliente

VARIABLES = ("nome", "primeiro_nome", "sobrenome", "especialidade", "cidade", "estado")
MAX_LENGTH = 4096

SAMPLE_PERSON: Mapping[str, str] = MappingProxyType(
    {
        "nome": "Ana Souza",
        "primeiro_nome": "Ana",
        "sobrenome": "Souza",
        "especialidade": "Cardiologia",
        "cidade": "Campinas",
        "estado": "SP",
    }
)

# What is cut from both ends of a value: Unicode white space, the same list for Python and for PostgreSQL's btrim.
BLANK = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_PLACEHOLDER = re.compile(r"\{\{([^{}]*)\}\}|\{([^{}]*)\}")
_MARKER = re.compile(r"__\w+?__|__")
_OTHER_BRACKETS = re.compile(rf"\[\s*({'|'.join(VARIABLES)})\s*\]|<\s*({'|'.join(VARIABLES)})\s*>", re.IGNORECASE)
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")  # NUL and halves of characters: PostgreSQL takes neither
_KNOWN = ", ".join(f"{{{name}}}" for name in VARIABLES)


@dataclass(frozen=True, slots=True)
class Variable:
    """`fallback` None: a person without the value does not receive the message."""

    name: str
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """The person has no value for `variable` and the text has nothing to stand in for it."""

    variable: str


Parts = tuple[str | Variable, ...]


def validate(text: str) -> list[str]:
    """What keeps `text` from being sent, one sentence each; empty when nothing does."""
    if not text.strip(BLANK):
        return ["Escreva o texto da mensagem."]
    errors = []
    if len(text) > MAX_LENGTH:
        errors.append(f"O texto tem {len(text)} caracteres; o máximo é {MAX_LENGTH}.")
    if _UNSENDABLE.search(text):
        errors.append("O texto tem um caractere que não pode ser enviado: apague-o e escreva esse trecho de novo.")
    errors.extend(
        f"O texto ainda tem {marker}, que parece uma marca por preencher: escreva ali o texto definitivo."
        for marker in dict.fromkeys(_MARKER.findall(text))
    )
    errors.extend(
        f"{found[0]} sairia assim mesmo: escreva {{{(found[1] or found[2]).lower()}}} entre chaves."
        for found in _OTHER_BRACKETS.finditer(text)
    )
    for content in dict.fromkeys(double or single for double, single in _PLACEHOLDER.findall(text)):
        errors.extend(_placeholder_errors(content))
    if _has_loose_brace(text):
        errors.append("Há uma chave { ou } sem o seu par. As chaves servem só para variáveis, como {nome}.")
    return errors


def _placeholder_errors(content: str) -> list[str]:
    name, bar, fallback = (piece.strip(BLANK) for piece in content.partition("|"))
    if not name:
        return [f"Há chaves sem o nome da variável. Variáveis aceitas: {_KNOWN}."]
    if name not in VARIABLES:
        close = difflib.get_close_matches(name.lower(), VARIABLES, n=1)
        hint = f"Você quis dizer {{{close[0]}}}?" if close else f"Variáveis aceitas: {_KNOWN}."
        return [f"A variável {{{name}}} não existe. {hint}"]
    if bar and not fallback:
        return [f"Em {{{name}|}} falta o que escrever quando o dado está vazio, como {{{name}|doutor(a)}}."]
    if "|" in fallback:
        return [f"Em {{{name}|…}} há mais de uma alternativa: deixe só uma."]
    return []


def _has_loose_brace(text: str) -> bool:
    rest = _PLACEHOLDER.sub("", text)
    return "{" in rest or "}" in rest


def compile(text: str) -> Parts:  # noqa: A001 (the pair of `render`, as in the template engines)
    """Literals and variables in order. Raises ValueError for a text that `validate` refuses."""
    if errors := validate(text):
        raise ValueError(errors[0])
    parts: list[str | Variable] = []
    end = 0
    for found in _PLACEHOLDER.finditer(text):
        if literal := text[end : found.start()]:
            parts.append(literal)
        name, bar, fallback = (piece.strip(BLANK) for piece in (found[1] or found[2]).partition("|"))
        parts.append(Variable(name, fallback if bar else None))
        end = found.end()
    if literal := text[end:]:
        parts.append(literal)
    return tuple(parts)


def render(parts: Parts, person: Mapping[str, str]) -> str | Missing:
    """The text for one person, or the first variable that leaves them out. Values lose braces and outer white space."""
    pieces = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(part)
            continue
        value = _clean(person.get(part.name, "")) or part.fallback
        if value is None:
            return Missing(part.name)
        pieces.append(value)
    return "".join(pieces)


def _clean(value: str) -> str:
    return value.replace("{", "").replace("}", "").strip(BLANK)


def person_of(cliente: Cliente) -> dict[str, str]:
    return {name: getattr(cliente, name) for name in VARIABLES}


def required(parts: Parts) -> tuple[str, ...]:
    """Variables without which a person does not receive the message."""
    missing_matters = (part.name for part in parts if isinstance(part, Variable) and part.fallback is None)
    return tuple(dict.fromkeys(missing_matters))


def sql_expression(parts: Parts, alias: str = "c") -> tuple[str, dict[str, Any]]:
    """`render` as SQL over a row of `clientes` named `alias`; NULL exactly where `render` answers `Missing`.

    Literals and fallbacks travel as parameters and values only as columns: nothing is ever replaced inside a text, so
    a name that looks like a variable stays a name.
    """
    params: dict[str, Any] = {"text_blank": BLANK}
    pieces = []
    for index, part in enumerate(parts):
        if isinstance(part, str):
            params[f"text_{index}"] = part
            pieces.append(f"%(text_{index})s::text")
        elif part.fallback is None:
            pieces.append(_value_sql(part.name, alias))
        else:
            params[f"text_{index}"] = part.fallback
            pieces.append(f"coalesce({_value_sql(part.name, alias)}, %(text_{index})s::text)")
    return " || ".join(pieces) or "''::text", params


def missing_sql(parts: Parts, alias: str = "c") -> tuple[str, dict[str, Any]]:
    """True for a row of `clientes` for which `render` answers `Missing`."""
    tests = [f"{_value_sql(name, alias)} IS NULL" for name in required(parts)]
    return f"({' OR '.join(tests)})" if tests else "false", {"text_blank": BLANK}


def _value_sql(name: str, alias: str) -> str:
    return f"nullif(btrim(translate({alias}.{name}, '{{}}', ''), %(text_blank)s), '')"
