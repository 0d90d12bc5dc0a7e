"""Attempts and everything that changes with them, locked in the one order and read after the locks."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from django.db import OperationalError, transaction

from chips.choices import Resultado
from core.database import rows, wait_briefly_for_locks

SOMEBODYS_LOCK = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
LOCK_MS = 500


class Busy(Exception):
    """Somebody holds one of the rows: later."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One attempt and its message, as they stand under the locks. The message's fields are None for a warm-up."""

    id: int
    origem: str
    origem_id: UUID
    chip_id: UUID
    provider: str
    resultado: str
    evidencia: str
    regra: str
    erro: str
    delivery_status: str | None
    nao_entregue_em: datetime | None
    iniciado_em: datetime
    buscas: int
    proxima_busca_em: datetime | None
    provider_message_id: str
    mensagem_id: UUID | None
    status: str | None
    outcome: str | None
    tentativa_aberta_id: int | None
    campanha_id: int | None
    cliente_id: UUID | None
    tentativas: int | None
    max_tentativas: int | None

    @property
    def undecided(self) -> bool:
        return self.resultado in (Resultado.INICIADO, Resultado.DESCONHECIDO)

    @property
    def given_up(self) -> bool:
        return self.resultado == Resultado.REJEITADO or self.nao_entregue_em is not None


@contextmanager
def brief_locks(lock_ms: int = LOCK_MS) -> Iterator[None]:
    """A transaction (a savepoint inside another) whose locks wait no longer than `lock_ms`; raises Busy, all undone."""
    try:
        with transaction.atomic():
            wait_briefly_for_locks(lock_ms)
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, SOMEBODYS_LOCK):
            raise Busy from error
        raise


@contextmanager
def held(attempt_ids: Collection[int], *, lock_ms: int = LOCK_MS) -> Iterator[dict[int, Standing]]:
    """The attempts by id, with their campaigns, people, chips and messages locked in that order, each by id.

    For the length of the block, in one transaction (`brief_locks`).
    """
    with brief_locks(lock_ms):
        _lock(attempt_ids)
        yield {row["id"]: Standing(**row) for row in rows(_STANDING, [list(attempt_ids)])}


_CONCERNED = """
SELECT t.chip_id, m.id AS mensagem_id, m.campanha_id, m.cliente_id
FROM envios_tentativas t LEFT JOIN fila_mensagens m ON t.origem = 'fila' AND m.id = t.origem_id WHERE t.id = ANY(%s)
"""
_STANDING = """
SELECT t.id, t.origem, t.origem_id, t.chip_id, t.provider, t.resultado, t.evidencia, t.regra, t.erro,
       t.delivery_status, t.nao_entregue_em, t.iniciado_em, t.buscas, t.proxima_busca_em, t.provider_message_id,
       m.id AS mensagem_id, m.status, m.outcome, m.tentativa_aberta_id, m.campanha_id, m.cliente_id, m.tentativas,
       m.max_tentativas
FROM envios_tentativas t LEFT JOIN fila_mensagens m ON t.origem = 'fila' AND m.id = t.origem_id WHERE t.id = ANY(%s)
"""


def _lock(attempt_ids: Collection[int]) -> None:
    concerned = rows(_CONCERNED, [list(attempt_ids)])
    rows("SELECT id FROM campanhas WHERE id = ANY(%s) ORDER BY id FOR SHARE", [_of(concerned, "campanha_id")])
    rows(
        "SELECT cliente_id FROM doctor_state WHERE cliente_id = ANY(%s) ORDER BY cliente_id FOR NO KEY UPDATE",
        [_of(concerned, "cliente_id")],
    )
    rows("SELECT id FROM chips WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [_of(concerned, "chip_id")])
    rows("SELECT id FROM fila_mensagens WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [_of(concerned, "mensagem_id")])


def _of(found: list[dict[str, Any]], name: str) -> list[Any]:
    return sorted({row[name] for row in found if row[name] is not None})
