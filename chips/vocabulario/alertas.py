"""Alerts about results that only people can end: credentials that are refused, requests that we write wrongly."""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from uuid import UUID

from chips.providers.base import Code, SendResult
from chips.vocabulario.rules import Rule
from core import correlation
from core.alerts.models import Severidade
from core.alerts.services import raise_alert
from core.backoffice import ui
from core.circuits.names import of_chip
from core.database import execute, rows

AUTHENTICATION = "falha_autenticacao"
REFUSED = "pedido_recusado"
_TOLD = {
    Code.CREDENTIALS_REJECTED: (AUTHENTICATION, Severidade.CRITICAL, "O provedor recusou as credenciais de {chip}"),
    Code.CREDENTIALS_MISSING: (AUTHENTICATION, Severidade.CRITICAL, "Faltam credenciais em {chip}"),
    Code.REQUEST_REJECTED: (REFUSED, Severidade.ERROR, "O provedor recusou o nosso pedido por {chip}"),
    Code.ROUTE_NOT_FOUND: (REFUSED, Severidade.ERROR, "O endereço do provedor está errado para {chip}"),
}


def raise_for(
    failed: Iterable[tuple[UUID, SendResult]],
    rules: Mapping[str, Rule],
    *,
    correlations: Mapping[UUID, str] = MappingProxyType({}),
) -> int:
    """One open alert per chip and kind, by its newest result; how many were told of.

    In the caller's transaction; nothing is read or written while no result is of these kinds. `correlations`: by chip,
    the id of the work that failed.
    """
    newest = {(_TOLD[result.code][0], chip): result for chip, result in failed if result.code in _TOLD}
    names = _names({chip for _, chip in newest}) if newest else {}
    for (tipo, chip), result in sorted(newest.items(), key=lambda each: each[0]):
        _, severity, title = _TOLD[result.code]
        rule = rules.get(result.rule)
        with correlation.use(correlations.get(chip) or correlation.peek()):
            raise_alert(
                tipo,
                of_chip(chip),
                severidade=severity,
                titulo=title.format(chip=names.get(chip, "um chip")),
                mensagem=rule.sentence if rule else result.reason_code,
                contexto={"regra": result.rule, "http_status": result.http_status, "detalhe": result.detail},
            )
    return len(newest)


def resolve_for(chips: Collection[UUID]) -> int:
    """Chips whose call was accepted: their credentials and our requests are right again."""
    if not chips:
        return 0
    return execute(
        """UPDATE alertas SET resolvido_em = agora() WHERE id IN (
               SELECT id FROM alertas WHERE tipo = ANY(%s) AND chave = ANY(%s) AND resolvido_em IS NULL
               ORDER BY id FOR UPDATE)""",
        [[AUTHENTICATION, REFUSED], [of_chip(chip) for chip in sorted(chips)]],
    )


def _names(chips: Collection[UUID]) -> dict[UUID, str]:
    found = rows("SELECT id, instance_name FROM chips WHERE id = ANY(%s)", [sorted(chips)])
    return {row["id"]: ui.short_digits(row["instance_name"]) for row in found}
