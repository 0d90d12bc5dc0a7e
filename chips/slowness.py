"""Slow providers: how long their last calls took, and how many senders each may hold because of it."""

from datetime import datetime
from typing import Any

from django.db import transaction

from chips.choices import ChipStatus, ProviderName
from core.alerts.models import Severidade
from core.alerts.services import raise_alert, resolve
from core.circuits import bulkhead, store
from core.circuits.bulkhead import Seen, Share
from core.circuits.names import of_provider, spoken
from core.database import rows
from core.logging import get_logger

log = get_logger("chips")

ALERT = "provedor_lento"
MOST_READ = 1000  # fast answers that may have overtaken a slow call

# tentativas_newest_of_provider gives the newest calls. A call is decided when it ended or after 10 s, whichever comes
# first, and the last ones by that instant are looked at: fast calls do not hide slow ones that began before them. What
# never reached the wire, or whose end nobody measured (its worker died), says nothing.
_LAST_CALLS = """
SELECT p.name, agora() AS agora, c.version, c.share, c.slow_since, c.share_since,
       f.chips, t.iniciado_em, t.segundos, t.respondida
FROM unnest(%(names)s::text[], %(providers)s::text[]) AS p(name, provider)
LEFT JOIN circuits c ON c.name = p.name
LEFT JOIN LATERAL (SELECT count(*) AS chips FROM chips WHERE provider = p.provider AND status = %(active)s) f ON true
LEFT JOIN LATERAL (
    SELECT newest.*, iniciado_em + least(segundos, %(slow_s)s) * interval '1 second' AS decidida_em
    FROM (SELECT iniciado_em, resultado <> 'iniciado' AS terminou,
                 http_status IS NOT NULL OR resultado = 'enviado' AS respondida,
                 CASE WHEN resultado = 'iniciado' THEN extract(epoch FROM agora() - iniciado_em)
                      ELSE duracao_ms / 1000.0 END::float8 AS segundos
          FROM envios_tentativas
          WHERE provider = p.provider AND iniciado_em > agora() - %(within)s
              AND NOT (error_kind = 'interno' AND http_status IS NULL)
          ORDER BY iniciado_em DESC LIMIT %(most)s) newest
    WHERE segundos >= %(slow_s)s OR (terminou AND segundos IS NOT NULL)
    ORDER BY decidida_em DESC LIMIT %(window)s) t ON true
ORDER BY p.name, t.iniciado_em
"""


def observe(full: int) -> dict[str, int | None]:
    """Look at each provider's last calls and move its share of the senders: circuit name → senders, None for all.

    `full`: how many senders there are; a provider holds no more than it has chips. One statement while nothing changes.
    A change commits with its alert, or is left to whoever was faster. Call it every second or so.
    """
    of: dict[str, list[dict[str, Any]]] = {}
    for row in rows(_LAST_CALLS, _params()):
        of.setdefault(row["name"], []).append(row)
    return {name: _observe_one(name, found, full).senders for name, found in of.items()}


def _params() -> dict[str, Any]:
    providers = [provider.value for provider in ProviderName]
    return {
        "names": [of_provider(provider) for provider in providers],
        "providers": providers,
        "active": ChipStatus.ACTIVE,
        "slow_s": bulkhead.SLOW_S,
        "within": bulkhead.WITHIN,
        "window": bulkhead.WINDOW,
        "most": MOST_READ,
    }


def _observe_one(name: str, found: list[dict[str, Any]], full: int) -> Share:
    first = found[0]
    share = Share(first["share"], first["slow_since"], first["share_since"])
    calls = [
        Seen(row["iniciado_em"], row["segundos"], row["respondida"]) for row in found if row["iniciado_em"] is not None
    ]
    now: datetime = first["agora"]
    after = bulkhead.step(share, calls, full=min(full, first["chips"]), now=now)
    if after == share or not _persist(name, first["version"], share, after, calls):
        return share
    return after


def _persist(name: str, version: int | None, before: Share, after: Share, calls: list[Seen]) -> bool:
    with transaction.atomic():
        if version is None:
            store.ensure([name])
        if not store.set_share(name, version or 0, after):
            return False
        if after.senders == 1 and before.senders != 1:
            _tell(name, calls)
        elif after.senders is None:
            resolve(ALERT, name)
            log.info("provedor voltou ao ritmo normal", circuito=name)
    return True


def _tell(name: str, calls: list[Seen]) -> None:
    slow = sum(call.slow for call in calls)
    log.warning("provedor lento", circuito=name, lentas=slow, chamadas=len(calls))
    raise_alert(
        ALERT,
        name,
        severidade=Severidade.WARNING,
        titulo=f"{spoken(name)} está lenta",
        mensagem=(
            f"{slow} das últimas {len(calls)} chamadas levaram 10 s ou mais. A Julia deixa um só envio por vez nesse "
            "provedor; os chips dos outros continuam no ritmo normal. Próximo passo: ver se o servidor do provedor "
            "responde e avisar quem cuida dele. O ritmo volta sozinho assim que as respostas voltarem a ser rápidas."
        ),
        contexto={"lentas": slow, "chamadas": len(calls)},
    )
