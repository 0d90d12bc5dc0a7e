"""What circuits are called: one per service we depend on, one per chip."""

from uuid import UUID

EVOLUTION = "evolution"
ZAPI = "zapi"
CLAUDE = "claude"
SUPABASE = "supabase"  # the database; the operators' manual calls it so
CHATWOOT = "chatwoot"
SLACK = "slack"

KNOWN = (EVOLUTION, ZAPI, CLAUDE, SUPABASE, CHATWOOT, SLACK)
PROVIDERS = (EVOLUTION, ZAPI)

_OF_PROVIDER = {"evolution": EVOLUTION, "z-api": ZAPI}
_CHIP = "chip:"
_SPOKEN = {
    EVOLUTION: "Evolution API",
    ZAPI: "Z-API",
    CLAUDE: "Claude",
    SUPABASE: "Banco de dados",
    CHATWOOT: "Chatwoot",
    SLACK: "Slack",
}


class UnknownCircuit(ValueError):
    """No circuit can have this name; the text is for the operator."""


def of_provider(provider: str) -> str:
    """The circuit of a chip's provider. Raises UnknownCircuit."""
    try:
        return _OF_PROVIDER[provider]
    except KeyError:
        raise UnknownCircuit(f"não existe circuito para o provedor {provider!r}") from None


def of_chip(chip_id: UUID) -> str:
    return f"{_CHIP}{chip_id}"


def is_chip(name: str) -> bool:
    return name.startswith(_CHIP)


def chip_of(name: str) -> UUID | None:
    """The chip's id, or None when the circuit is not a chip's."""
    try:
        return UUID(name.removeprefix(_CHIP)) if is_chip(name) else None
    except ValueError:
        return None


def check(name: str) -> str:
    """The name itself. Raises UnknownCircuit, so that a typo never makes a row."""
    if name not in KNOWN and chip_of(name) is None:
        raise UnknownCircuit(f"circuito desconhecido: {name!r}. Existem: {', '.join(KNOWN)} e chip:<id>")
    return name


def spoken(name: str) -> str:
    """As operators read it; a chip by the beginning of its id."""
    return f"Chip {name.removeprefix(_CHIP)[:8]}" if is_chip(name) else _SPOKEN.get(name, name)
