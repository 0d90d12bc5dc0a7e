"""The rules in force: read once per batch, folded into results, changed by people with a motivo."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pghistory
from django.db import connection, transaction

from chips.providers.base import Fault, SendResult, Verdict
from chips.vocabulario.catalogo import DEFAULTS, ENTRIES
from chips.vocabulario.choices import ContaEm
from chips.vocabulario.models import RegraErro
from chips.vocabulario.rules import Rule
from core.audit import services as audit
from core.database import execute, rows
from core.logging import get_logger

__all__ = ["Rule", "RuleRefused", "adjust", "apply", "create_missing_rows", "current", "rule_of"]

log = get_logger("chips.vocabulario")

LONGEST_REST = timedelta(days=7)
ADJUSTABLE = ("culpa", "tentar_de_novo", "circuito", "descanso_s", "restricao", "frase")


class RuleRefused(ValueError):
    """The change is not possible; the text is for the operator."""


def current() -> Mapping[str, Rule]:
    """The rule of every result of the set, in one statement. A row that is missing or senseless means the default."""
    rules = dict(DEFAULTS)
    for row in rows("SELECT codigo, culpa, tentar_de_novo, circuito, descanso_s, restricao, frase FROM regras_de_erro"):
        default = DEFAULTS.get(row["codigo"])
        if default is not None:
            rules[row["codigo"]] = rule_of(row, default)
    return rules


def rule_of(row: Mapping[str, Any], default: Rule) -> Rule:
    """The adjusted rule; what the contract says (`may_have_left`) comes from the catalogue whatever the row holds."""
    try:
        return replace(
            default,
            fault=Fault(row["culpa"]),
            retryable=row["tentar_de_novo"],
            circuit=ContaEm(row["circuito"]),
            cooldown=timedelta(seconds=row["descanso_s"]),
            restriction=row["restricao"],
            sentence=row["frase"].strip() or default.sentence,
        )
    except ValueError:
        log.error("regra de erro ilegível: vale o padrão", codigo=row.get("codigo"))
        return default


def columns_of(rule: Rule) -> dict[str, Any]:
    """The adjustable columns of a row that says this rule."""
    return {
        "culpa": rule.fault.value,
        "tentar_de_novo": rule.retryable,
        "circuito": rule.circuit.value,
        "descanso_s": int(rule.cooldown.total_seconds()),
        "restricao": rule.restriction,
        "frase": rule.sentence,
    }


def apply(result: SendResult, rules: Mapping[str, Rule]) -> SendResult:
    """The result under the rules in force: fault, retry, rest and restriction. Its verdict is never touched."""
    rule = rules.get(result.rule)
    if rule is None or result.verdict is Verdict.ACEITA:
        return result
    return replace(
        result,
        fault=rule.fault,
        retryable=rule.retryable and result.verdict is Verdict.NAO_ENVIADA,
        cooldown=rule.rest(result.retry_after),
        restriction=rule.restriction,
    )


def adjust(
    codigo: str,
    rule: Rule,
    *,
    seen: Rule,
    actor: audit.Actor,
    motivo: str,
    now: datetime,
    ip: str | None = None,
) -> bool:
    """Put `rule` in force for this result; row, history and audit entry commit together. False when nothing changes.

    `seen` is the rule that the person saw before changing it. Raises RuleRefused when it is another by now or the new
    one is not possible, MotivoMissing without a motivo, KeyError outside the closed set.
    """
    default = DEFAULTS[codigo]
    motivo = audit.check_motivo(motivo)
    refuse_impossible(rule, default)
    create_missing_rows()
    with transaction.atomic(), pghistory.context(usuario=audit.name_of(actor), motivo=motivo):
        row = RegraErro.objects.select_for_update().values(*ADJUSTABLE, "codigo").get(pk=codigo)
        before = rule_of(row, default)
        if before != seen:
            raise RuleRefused("Outra pessoa mudou esta regra enquanto você editava. Veja os valores novos e refaça.")
        if before == rule:
            return False
        after = columns_of(rule)
        RegraErro.objects.filter(pk=codigo).update(**after, alterada_por=audit.name_of(actor), alterada_em=now)
        audit.record(
            "regra_de_erro_restaurada" if rule == default else "regra_de_erro_ajustada",
            "regras_de_erro",
            codigo,
            usuario=actor,
            motivo=motivo,
            detalhes={name: [row[name], after[name]] for name in ADJUSTABLE if row[name] != after[name]},
            ip=ip,
            now=now,
        )
    return True


def refuse_impossible(rule: Rule, default: Rule) -> None:
    """Raises RuleRefused for a rule that the contract forbids or that no column holds."""
    if rule.may_have_left != default.may_have_left:
        raise RuleRefused("Se a mensagem pode ter saído é um fato do contrato, não um ajuste.")
    if not rule.sentence.strip() or len(rule.sentence) > 200:
        raise RuleRefused("A frase precisa ter de 1 a 200 caracteres.")
    if rule.cooldown > LONGEST_REST:
        raise RuleRefused("O descanso vai até 7 dias. Para tirar o chip por mais tempo, bloqueie o chip.")


def create_missing_rows(**_signal: Any) -> None:
    """A row with the default of every result that has none; adjusted ones stay, only facts of the contract follow it.

    A receiver of `post_migrate` (sender `chips`), so that raw SQL on a rule never misses its row.
    """
    if RegraErro._meta.db_table not in connection.introspection.table_names():
        return  # migrated back to before the table
    entries = list(ENTRIES.values())
    columns = [columns_of(entry.rule) for entry in entries]
    execute(
        """INSERT INTO regras_de_erro AS r (codigo, provider, pode_ter_saido, culpa, tentar_de_novo, circuito,
               descanso_s, restricao, frase)
           SELECT * FROM unnest(%s::text[], %s::text[], %s::bool[], %s::text[], %s::bool[], %s::text[], %s::int[],
               %s::bool[], %s::text[])
           ON CONFLICT (codigo) DO UPDATE SET provider = excluded.provider, pode_ter_saido = excluded.pode_ter_saido,
               tentar_de_novo = r.tentar_de_novo AND NOT excluded.pode_ter_saido
           WHERE (r.provider, r.pode_ter_saido) IS DISTINCT FROM (excluded.provider, excluded.pode_ter_saido)""",
        [
            [entry.codigo for entry in entries],
            [entry.provider for entry in entries],
            [entry.rule.may_have_left for entry in entries],
            *([each[name] for each in columns] for name in ADJUSTABLE),
        ],
    )
