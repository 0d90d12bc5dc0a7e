"""Rows and attempts as a consumer that is gone left them."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from chips.models import Tentativa
from core.clock import database_now
from core.database import execute
from fila.models import Mensagem
from tests import factories


def hold(*messages: Mensagem, dono: str = "worker-1", minutes_ago: float = 3, lease_s: float = 120) -> None:
    """Claimed so many minutes ago; with the defaults the lease ran out a minute ago."""
    execute(
        """UPDATE fila_mensagens SET status = 'processando', token = nextval('fila_token_seq'), lease_owner = %(dono)s,
               processando_desde = agora() - %(ago)s, lease_ate = agora() - %(ago)s + %(lease)s
           WHERE id = ANY(%(ids)s)""",
        {
            "dono": dono,
            "ago": timedelta(minutes=minutes_ago),
            "lease": timedelta(seconds=lease_s),
            "ids": [message.pk for message in messages],
        },
    )


def attempt_of(message: Mensagem, **values: Any) -> Tentativa:
    """An attempt for it; an open one is the row's too."""
    now = database_now()
    defaults: dict[str, Any] = {
        "origem_id": message.pk,
        "tentativa_no": Tentativa.objects.filter(origem_id=message.pk).count() + 1,
        "provider": "evolution",
        "cliente_id": message.cliente_id,
        "destino": message.telefone_destino or "5511900000000",
        "tipo_mensagem": "prospeccao",
        "proativa": True,
        "balde_em": now,
        "dia_local": now.date(),
        "texto_hash": "0" * 64,
        "lote": UUID(int=1),
        "consumidor": "worker-1",
    }
    chip = values.pop("chip", None) or factories.chip()
    attempt = Tentativa.objects.create(chip=chip, **(defaults | values))
    if attempt.resultado == "iniciado":
        execute("UPDATE fila_mensagens SET tentativa_aberta_id = %s WHERE id = %s", [attempt.pk, message.pk])
    return attempt
