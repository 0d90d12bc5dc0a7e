"""The words of a campaign that has none of its own, and the names of the kinds of campaign."""

from core.clientes.names import search_key
from fila.campanhas.errors import CampanhaInvalida
from fila.campanhas.models import Campanha
from fila.choices import TipoCampanha

# Offers are about something definite and have no default; the others open a conversation (fila reference §2.2).
DEFAULT_TEXTS = {
    TipoCampanha.DISCOVERY: (
        "Oi, {primeiro_nome|doutor(a)}! Tudo bem? Sou a Julia, trabalho com escalas médicas na sua região. "
        "Posso te contar em duas linhas como funciona?"
    ),
    TipoCampanha.REATIVACAO: (
        "Oi, {primeiro_nome|doutor(a)}! Faz um tempo que não conversamos. Você ainda tem interesse em plantões?"
    ),
    TipoCampanha.FOLLOWUP: "Oi, {primeiro_nome|doutor(a)}! Conseguiu ver a mensagem que te mandei?",
    TipoCampanha.FEEDBACK: "Oi, {primeiro_nome|doutor(a)}! Como foi o seu último plantão? Sua opinião nos ajuda.",
}

# Spellings that operators use (fila reference §2.2), by their key without accents.
_ALIASES = {"descoberta": TipoCampanha.DISCOVERY, "oferta plantao": TipoCampanha.OFERTA_PLANTAO}


def text_to_send(tipo: str, corpo: str) -> str:
    """`corpo`, or the default of its kind when it is blank; empty for a kind that has none."""
    return corpo if corpo.strip() else DEFAULT_TEXTS.get(TipoCampanha(tipo), "")


def text_of(campanha: Campanha) -> str:
    """What this campaign would send, before the variables are filled in."""
    return text_to_send(campanha.tipo_campanha, campanha.corpo)


def parse_tipo(tipo: str) -> TipoCampanha:
    """Raises CampanhaInvalida for a kind that does not exist; nothing falls back to an offer."""
    key = search_key(tipo)
    if key in _ALIASES:
        return _ALIASES[key]
    name = key.replace(" ", "_")
    if name not in TipoCampanha.values:
        raise CampanhaInvalida(
            {"tipo": [f"O tipo {tipo!r} não existe. Use um destes: {', '.join(TipoCampanha.values)}."]}
        )
    return TipoCampanha(name)
