"""Brazilian area codes (DDD): the state and the time zone of each.

The zones of the phone library are not used: they are wrong for DDDs 81, 91 and 93 (an island or a far municipality
decides there for everybody). Here the zone is the one in which most people of the area live.
"""

from zoneinfo import ZoneInfo

BRASILIA = ZoneInfo("America/Sao_Paulo")

# UF -> (zone, DDDs). Brazil has had no daylight saving time since 2019: only 68, 69, 92, 95, 97 and the two Mato
# Grossos differ from Brasília. DDD 97 holds a few municipalities of the Acre zone (UTC-5); Manaus (UTC-4) is
# chosen for all of it, as for DDD 92.
_AREAS: dict[str, tuple[str, str]] = {
    "AC": ("America/Rio_Branco", "68"),
    "AL": ("America/Maceio", "82"),
    "AM": ("America/Manaus", "92 97"),
    "AP": ("America/Belem", "96"),
    "BA": ("America/Bahia", "71 73 74 75 77"),
    "CE": ("America/Fortaleza", "85 88"),
    "DF": ("America/Sao_Paulo", "61"),
    "ES": ("America/Sao_Paulo", "27 28"),
    "GO": ("America/Sao_Paulo", "62 64"),
    "MA": ("America/Fortaleza", "98 99"),
    "MG": ("America/Sao_Paulo", "31 32 33 34 35 37 38"),
    "MS": ("America/Campo_Grande", "67"),
    "MT": ("America/Cuiaba", "65 66"),
    "PA": ("America/Belem", "91 94"),
    "PB": ("America/Fortaleza", "83"),
    "PE": ("America/Recife", "81 87"),
    "PI": ("America/Fortaleza", "86 89"),
    "PR": ("America/Sao_Paulo", "41 42 43 44 45 46"),
    "RJ": ("America/Sao_Paulo", "21 22 24"),
    "RN": ("America/Fortaleza", "84"),
    "RO": ("America/Porto_Velho", "69"),
    "RR": ("America/Boa_Vista", "95"),
    "RS": ("America/Sao_Paulo", "51 53 54 55"),
    "SC": ("America/Sao_Paulo", "47 48 49"),
    "SE": ("America/Maceio", "79"),
    "SP": ("America/Sao_Paulo", "11 12 13 14 15 16 17 18 19"),
    "TO": ("America/Araguaina", "63"),
}

UFS = frozenset(_AREAS)

# DDD -> (UF, IANA zone name)
DDDS: dict[str, tuple[str, str]] = {ddd: (uf, zone) for uf, (zone, ddds) in _AREAS.items() for ddd in ddds.split()}
# The west of Pará has a zone of its own, with the same offset today.
DDDS["93"] = ("PA", "America/Santarem")

_ZONES = {ddd: ZoneInfo(zone) for ddd, (_, zone) in DDDS.items()}


def zone_for(telefone: str) -> ZoneInfo:
    """The recipient's zone, from a canonical number (digits, no `+`). A foreign number gets Brasília's."""
    if telefone.startswith("55"):
        return _ZONES.get(telefone[2:4], BRASILIA)
    return BRASILIA


def uf_for(telefone: str) -> str | None:
    """The state of a canonical Brazilian number; None for a foreign one. DDD 61 also serves towns of Goiás."""
    if telefone.startswith("55") and (area := DDDS.get(telefone[2:4])):
        return area[0]
    return None
