"""Raising and resolving alerts in the caller's transaction: an alert commits with what it tells of."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from core.alerts.models import Severidade
from core.database import execute, rows


def raise_alert(
    tipo: str,
    chave: str = "",
    *,
    severidade: Severidade,
    titulo: str,
    mensagem: str,
    contexto: Mapping[str, Any] | None = None,
    valor: Decimal | int | None = None,
    limite: Decimal | int | None = None,
) -> bool:
    """Open the alert of (`tipo`, `chave`), or count one more occurrence of the open one; True when it was opened now.

    `mensagem` is for the operator, with the next step. `contexto` holds evidence: never a phone or a text.
    """
    found = rows(
        """INSERT INTO alertas (tipo, chave, severidade, titulo, mensagem, contexto, valor, limite)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (tipo, chave) WHERE resolvido_em IS NULL DO UPDATE SET
               ocorrencias = alertas.ocorrencias + 1, ultima_ocorrencia_em = agora(), severidade = excluded.severidade,
               titulo = excluded.titulo, mensagem = excluded.mensagem, contexto = excluded.contexto,
               valor = excluded.valor, limite = excluded.limite
           RETURNING ocorrencias = 1 AS nova""",
        [
            tipo,
            chave,
            severidade.value,
            titulo[:160],
            mensagem[:500],
            json.dumps(dict(contexto or {}), default=str),
            valor,
            limite,
        ],
    )
    return bool(found[0]["nova"])


def resolve(tipo: str, chave: str = "") -> bool:
    """The condition is gone. False when nothing was open."""
    return bool(
        execute(
            "UPDATE alertas SET resolvido_em = agora() WHERE tipo = %s AND chave = %s AND resolvido_em IS NULL",
            [tipo, chave],
        )
    )
