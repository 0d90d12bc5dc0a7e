"""What we know of removals from Z-API's queue, on the attempts themselves: what was meant, confirmed, or disproved.

`evidencia = 'fila_zapi'` on an attempt that is not settled says that the vendor confirmed the removal, and then
`proxima_busca_em` is when its callback is too late to contradict. A removal that was only meant leaves no such mark.
"""

from collections.abc import Sequence
from enum import Enum, auto

from core.database import execute, rows
from fila.reconciliacao.fila_zapi_regras import Entry, InQueue
from fila.reconciliacao.schedule import CALLBACK_PATIENCE


def meant(going: Sequence[InQueue]) -> None:
    """Before it is done, so that a callback finds the attempt, and the next look it, whatever becomes of us.

    Nothing is said about the result: the attempt is due at once, until something settles it.
    """
    sure = [each for each in going if each.sure]
    if sure:
        execute(
            """UPDATE envios_tentativas t SET
                   proxima_busca_em = CASE WHEN t.evidencia = 'fila_zapi' THEN t.proxima_busca_em ELSE agora() END,
                   provider_message_id = coalesce(nullif(t.provider_message_id, ''), e.chave),
                   queue_id = coalesce(nullif(t.queue_id, ''), e.fila)
               FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS e(id, chave, fila)
               WHERE t.id = e.id AND (t.resultado = 'desconhecido' OR (t.resultado = 'enviado'
                   AND t.nao_entregue_em IS NULL AND coalesce(t.delivery_status, 'pending') = 'pending'))""",
            [
                [each.entries[0].id for each in sure],
                [each.queued.message_id[:100] for each in sure],
                [each.queued.zaap_id[:100] for each in sure],
            ],
        )


def confirmed(removed: Sequence[InQueue]) -> None:
    """Unless it is proved at once, the callback has five minutes from now. Other evidence came first, and stays."""
    ids = [each.entries[0].id for each in removed if each.sure]
    if ids:
        execute(
            """UPDATE envios_tentativas SET evidencia = 'fila_zapi', proxima_busca_em = agora() + %s
               WHERE id = ANY(%s) AND evidencia IN ('', 'fila_zapi') AND (resultado = 'desconhecido'
                   OR (resultado = 'enviado' AND nao_entregue_em IS NULL
                       AND coalesce(delivery_status, 'pending') = 'pending'))""",
            [CALLBACK_PATIENCE, ids],
        )


def disproved(entries: Sequence[Entry]) -> None:
    """They are listed all the same, or had left before. What another look confirmed since we read them stays."""
    known = [entry for entry in entries if entry.taken_out]
    if known:
        execute(
            """UPDATE envios_tentativas t SET evidencia = '', proxima_busca_em = NULL
               FROM unnest(%s::bigint[], %s::timestamptz[]) AS e(id, lida)
               WHERE t.id = e.id AND t.evidencia = 'fila_zapi' AND t.proxima_busca_em IS NOT DISTINCT FROM e.lida
                   AND t.resultado IN ('desconhecido', 'enviado') AND t.nao_entregue_em IS NULL""",
            [[entry.id for entry in known], [entry.proxima_busca_em for entry in known]],
        )


class Heard(Enum):
    """What the inbox says about an entry that was taken out."""

    NOTHING = auto()
    UNREAD = auto()
    """Something of this chip is not understood yet: it may be the callback."""
    IT_LEFT = auto()
    """Something names it: the queue had handed it over before we took it out, whatever came of it then."""


# webhook_eventos_newest_first, since the attempt began
_HEARD = """
SELECT e.key_id = %(chave)s OR e.payload->>'zaapId' = %(fila)s AS dela FROM webhook_eventos e
WHERE e.recebido_em >= %(desde)s AND e.instance = %(instancia)s AND e.kind IN ('recibo', 'eco')
    AND (e.status = 'pendente' OR e.key_id = %(chave)s OR e.payload->>'zaapId' = %(fila)s)
ORDER BY dela DESC NULLS LAST LIMIT 1
"""


def heard(instance: str, entry: Entry) -> Heard:
    params = {
        "chave": entry.chave or None,
        "fila": entry.fila_id or None,
        "desde": entry.iniciado_em,
        "instancia": instance,
    }
    found = rows(_HEARD, params)
    if not found:
        return Heard.NOTHING
    return Heard.IT_LEFT if found[0]["dela"] else Heard.UNREAD
