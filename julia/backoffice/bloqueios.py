"""What keeps messages from leaving now: by what, since when, who decided it, and where it is changed.

Each kind is read by a panel of its own; only live rows are read, through their partial indexes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from core.backoffice import ui
from core.circuits import sentences, spoken
from core.circuits.models import CircuitState, Forced
from core.circuits.names import is_chip
from core.database import rows
from core.flags import registry
from fila.sentences import reason_sentence
from julia.backoffice.panels import held_text

LOOKED_AT = 10_000
NEXT_DUE = 3_000
REASONS_SHOWN = 8
SHOWN = 8


@dataclass(frozen=True, slots=True)
class Blocked:
    """`since` None: nobody wrote it down. `owner`: the person who decided it; empty where Julia did."""

    what: str
    why: str
    since: datetime | None
    owner: str
    url: str
    link: str


def blocked() -> list[Blocked]:
    """People's decisions first, then what Julia itself holds back."""
    return [*_switches(), *_paused_campaigns(), *_blocked_chips(), *_circuits(), *_waiting()]


def _switches() -> Iterator[Blocked]:
    stored = {row["key"]: row for row in rows("SELECT key, value, updated_at, updated_by FROM app_settings")}
    for setting in registry.switches():
        row = stored.get(setting.key, {})
        if text := held_text(setting, row.get("value")):
            yield Blocked(
                f"Chave {setting.key}",
                text,
                row.get("updated_at"),
                row.get("updated_by") or "",
                reverse("admin:core_appsetting_changelist"),
                "Abrir Ajustes",
            )


# fila_due_of_campanha for the count, audit_by_entity for who paused it
_PAUSED = """
SELECT k.id, k.nome_template, p.n, a.usuario, a.created_at, a.motivo
FROM campanhas k
CROSS JOIN LATERAL (SELECT count(*) AS n FROM (SELECT 1 FROM fila_mensagens m
    WHERE m.campanha_id = k.id AND m.status = 'pendente' LIMIT %(cap)s) y) p
LEFT JOIN LATERAL (SELECT usuario, created_at, motivo FROM audit_trail
    WHERE entidade = 'campanha' AND entidade_id = k.id::text AND acao = 'campanha_pausada'
    ORDER BY created_at DESC LIMIT 1) a ON true
WHERE k.status = 'pausada' AND p.n > 0 ORDER BY p.n DESC, k.id LIMIT %(shown)s
"""


def _paused_campaigns() -> Iterator[Blocked]:
    for row in rows(_PAUSED, {"cap": LOOKED_AT + 1, "shown": SHOWN}):
        why = f"Campanha pausada: {row['motivo']}" if row["motivo"] else "Campanha pausada."
        yield Blocked(
            f"{_capped(row['n'])} de {row['nome_template']}",
            why,
            row["created_at"],
            row["usuario"] or "",
            reverse("admin:fila_campanha_change", args=[row["id"]]),
            "Abrir a campanha",
        )


def _blocked_chips() -> Iterator[Blocked]:
    found = rows(
        """SELECT id, instance_name, bloqueio_motivo, bloqueado_por, bloqueado_em FROM chips
           WHERE bloqueio_manual AND status = 'active' ORDER BY bloqueado_em DESC NULLS LAST LIMIT %s""",
        [SHOWN],
    )
    for row in found:
        yield Blocked(
            f"Chip {ui.short_digits(row['instance_name'])}",
            row["bloqueio_motivo"] or "Bloqueado por uma pessoa, sem motivo escrito.",
            row["bloqueado_em"],
            row["bloqueado_por"],
            reverse("admin:chips_chip_change", args=[row["id"]]),
            "Abrir o chip",
        )


# circuits_not_plain; who forced it is in the audit
_CIRCUITS = """
SELECT c.name, c.state, c.forced, c.opened_at, c.updated_at, c.retry_at, a.usuario
FROM circuits c
LEFT JOIN LATERAL (SELECT usuario FROM audit_trail WHERE c.forced <> '' AND entidade = 'circuits'
    AND entidade_id = c.name ORDER BY created_at DESC LIMIT 1) a ON true
WHERE (c.state <> 'closed' OR c.forced = 'aberto') AND c.forced <> 'desligado'
ORDER BY c.name LIKE 'chip:%%', c.opened_at LIMIT %s
"""


def _circuits() -> Iterator[Blocked]:
    found = rows(_CIRCUITS, [SHOWN])
    titles = spoken.titles(row["name"] for row in found)
    for row in found:
        state, forced = CircuitState(row["state"]), Forced(row["forced"])
        yield Blocked(
            f"Circuito: {titles[row['name']]}",
            sentences.meaning(state, forced, is_chip=is_chip(row["name"])),
            row["opened_at"] or row["updated_at"],
            row["usuario"] or "",
            reverse("admin:core_circuit_change", args=[row["name"]]),
            "Abrir o circuito",
        )


# fila_oldest_due: what is postponed comes back within minutes, so it stands before what is planned. Since when it waits
# for this reason is asked of one message each, by fila_eventos_timeline.
_WAITING = """
WITH perto AS MATERIALIZED (
    SELECT id, outcome_reason_code AS motivo, outcome FROM fila_mensagens
    WHERE status = 'pendente' AND agendar_para > agora() ORDER BY agendar_para LIMIT %(cap)s),
grupos AS (
    SELECT motivo, min(outcome) AS outcome, count(*) AS n, (array_agg(id ORDER BY id))[1] AS id FROM perto
    WHERE motivo <> '' GROUP BY motivo ORDER BY count(*) DESC LIMIT %(shown)s)
SELECT g.motivo, g.outcome, g.n, (SELECT count(*) FROM perto) AS "all",
    (SELECT min(e.em) FROM fila_eventos e WHERE e.mensagem_id = g.id AND e.motivo = g.motivo) AS desde
FROM grupos g ORDER BY g.n DESC, g.motivo
"""


def _waiting() -> Iterator[Blocked]:
    for row in rows(_WAITING, {"cap": NEXT_DUE, "shown": REASONS_SHOWN}):
        least = f"pelo menos {ui.number(row['n'])} mensagens"  # there may be more beyond the ones that were looked at
        yield Blocked(
            least if row["all"] >= NEXT_DUE else _capped(row["n"]),
            reason_sentence(row["motivo"], row["outcome"]),
            row["desde"],
            "",
            f"{reverse('admin:fila_mensagem_changelist')}?status__exact=pendente",
            "Ver as pendentes",
        )


def _capped(count: int) -> str:
    if count > LOOKED_AT:
        return f"mais de {ui.number(LOOKED_AT)} mensagens"
    return ui.counted(count, "mensagem", "mensagens")
