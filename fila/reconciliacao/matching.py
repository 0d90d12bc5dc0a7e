"""Which attempt a piece of evidence is about. By key where there is one; else chip, recipient, text and time.

Ambiguity settles nothing: one echo belongs to at most one attempt, and one of two equal ones stays unknown.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any
from uuid import UUID

from chips.choices import Resultado
from core.clientes import identity, phones
from core.clientes.models import Cliente
from core.database import rows
from fila.reconciliacao.schedule import STALE_AFTER, WINDOW


@dataclass(frozen=True, slots=True)
class Candidate:
    """An attempt that evidence may be about. `parada`: still open, but nobody can have its call open any more.

    `sem_chave`: accepted by a person's word, so that the provider's key is still missing.
    """

    id: int
    resultado: str
    iniciado_em: datetime
    parada: bool = False
    sem_chave: bool = False

    @property
    def may_settle(self) -> bool:
        return self.resultado == Resultado.DESCONHECIDO or (self.resultado == Resultado.INICIADO and self.parada)


class Match(Enum):
    """What evidence without a known key comes to."""

    NONE = auto()
    ONE = auto()
    OPEN = auto()
    """Its attempt may be the one whose own call is still open: the answer decides."""
    CONFIRMED = auto()
    """The attempt that a person confirmed: only the key is news."""
    SEVERAL = auto()


def choose(candidates: Sequence[Candidate]) -> Match:
    """Pure: one candidate that nobody else can settle is a match, several are none."""
    if not candidates:
        return Match.NONE
    if len(candidates) > 1:
        return Match.SEVERAL
    if candidates[0].may_settle:
        return Match.ONE
    return Match.CONFIRMED if candidates[0].sem_chave else Match.OPEN


@dataclass(frozen=True, slots=True)
class Person:
    """Whom evidence names: every legal spelling of the number, and the client behind them or behind a LID."""

    numbers: tuple[str, ...]
    cliente_id: UUID | None

    @property
    def known(self) -> bool:
        return bool(self.numbers) or self.cliente_id is not None


def person(telefone: str, lid: str) -> Person:
    """By canonical number, else by the LID map."""
    cliente_id = identity.resolve(telefone) if telefone else None
    if cliente_id is None and lid:
        cliente_id = identity.resolve(lid)
    if not telefone and cliente_id is not None:
        telefone = Cliente.objects.values_list("telefone", flat=True).get(pk=cliente_id)
    return Person(phones.variants(telefone) if telefone else (), cliente_id)


# The first branch reads tentativas_not_settled (few rows), the second tentativas_same_text.
_CANDIDATES = """
SELECT t.id, t.resultado, t.iniciado_em, t.iniciado_em < agora() - %(parada)s AS parada, false AS sem_chave
FROM envios_tentativas t
WHERE t.resultado IN ('iniciado', 'desconhecido') AND t.iniciado_em BETWEEN %(em)s - %(janela)s AND %(em)s + %(janela)s
    AND t.chip_id = %(chip)s AND (t.destino = ANY(%(numeros)s) OR t.cliente_id = %(cliente)s)
    AND t.provider_message_id = ''
    AND (%(hash)s = '' OR t.texto_hash = %(hash)s)
UNION ALL
SELECT t.id, t.resultado, t.iniciado_em, false, true
FROM envios_tentativas t
WHERE t.cliente_id = %(cliente)s AND t.texto_hash = %(hash)s AND t.resultado = 'enviado'
    AND t.provider_message_id = '' AND t.chip_id = %(chip)s
    AND t.iniciado_em BETWEEN %(em)s - %(janela)s AND %(em)s + %(janela)s
ORDER BY iniciado_em, id LIMIT 3
"""


def candidates(chip_id: UUID, whom: Person, texto_hash: str, *, at: datetime) -> list[Candidate]:
    """Attempts of that chip to that person with that text around `at` (our receipt time) whose key is not known.

    An empty `texto_hash` leaves the text open: Z-API's delivery callbacks do not repeat it.
    """
    params = {
        "chip": chip_id,
        "numeros": list(whom.numbers),
        "cliente": whom.cliente_id,
        "hash": texto_hash,
        "em": at,
        "janela": WINDOW,
        "parada": STALE_AFTER,
    }
    return [Candidate(**row) for row in rows(_CANDIDATES, params)]


@dataclass(frozen=True, slots=True)
class Keyed:
    """The attempt that carries a key. `nao_entregue`: accepted, then proved not delivered."""

    id: int
    origem: str
    mensagem_id: UUID
    resultado: str
    evidencia: str
    parada: bool
    nao_entregue: bool

    @property
    def unknown(self) -> bool:
        return self.resultado == Resultado.DESCONHECIDO or (self.resultado == Resultado.INICIADO and self.parada)

    @property
    def given_up(self) -> bool:
        """It counts as not sent or not delivered, so that its message may have been sent again."""
        return self.nao_entregue or self.resultado == Resultado.REJEITADO


_KEYED = """
SELECT t.id, t.origem, t.origem_id AS mensagem_id, t.resultado, t.evidencia,
       t.iniciado_em < agora() - %(parada)s AS parada, t.nao_entregue_em IS NOT NULL AS nao_entregue
FROM envios_tentativas t
WHERE t.chip_id = %(chip)s AND t.provider_message_id = ANY(%(chaves)s) AND t.provider_message_id <> ''
ORDER BY t.id DESC LIMIT 1
"""
_QUEUED = """
SELECT t.id, t.origem, t.origem_id AS mensagem_id, t.resultado, t.evidencia,
       t.iniciado_em < agora() - %(parada)s AS parada, t.nao_entregue_em IS NOT NULL AS nao_entregue
FROM envios_tentativas t
WHERE t.chip_id = %(chip)s AND t.provider = 'z-api' AND t.iniciado_em > agora() - interval '48 hours'
    AND t.queue_id = %(fila)s
ORDER BY t.id DESC LIMIT 1
"""


def by_key(chip_id: UUID, keys: Collection[str], *, queue_id: str = "") -> Keyed | None:
    """The attempt of that chip that carries one of these keys (ids that we chose included), or that queue entry."""
    wanted = [key for key in keys if key]
    params: dict[str, Any] = {"chip": chip_id, "chaves": wanted, "fila": queue_id, "parada": STALE_AFTER}
    found = rows(_KEYED, params) if wanted else []
    if not found and queue_id:
        found = rows(_QUEUED, params)
    return Keyed(**found[0]) if found else None
