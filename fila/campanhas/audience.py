"""Who a campaign is for: the filters, and the one query that preview, count and selection share.

`people` names everybody whom the filters name and says of each why they are left out, or nothing. What follows from it
(counts, sample, the selected in their order) is read from that one relation in one statement.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from core.database import rows
from fila.campanhas.filters import AudienceFilters, ModoSelecao
from fila.campanhas.rendering import Parts, missing_sql
from fila.choices import MotivoExclusao
from guardrails.policy import Policy

EM_ATENDIMENTO = timedelta(minutes=30)
CAP_WINDOW = timedelta(days=7)
RESPONDEU_RECENTE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Sql:
    """A relation and its parameters, to be put behind a WITH."""

    text: str
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Audience:
    """Counts of one look. `excluidas` by reason, in the order asked, zeros left out; `fusos` are zones of the selected.

    `candidatos = total + sum(excluidas)`.
    """

    total: int
    candidatos: int
    excluidas: dict[str, int]
    fusos: tuple[str, ...]
    amostra: tuple[UUID, ...] = ()


# CASE asks in this order and only people who passed the tests before. What concerns few people is read once, as a hash
# (IN); what is one probe of an index per person stands behind a test that most people fail first.
_TESTS: tuple[tuple[MotivoExclusao, str], ...] = (
    (MotivoExclusao.OPT_OUT, "d.permission_state = 'opted_out'"),
    (MotivoExclusao.TELEFONE_INVALIDO, "c.status_telefone = 'invalido'"),
    (
        MotivoExclusao.CONTROLE_HUMANO,
        """c.id IN (SELECT v.cliente_id FROM conversations v
                    WHERE v.cliente_id IS NOT NULL AND v.status NOT IN ('completed', 'abandoned')
                        AND (v.controlled_by = 'human' OR v.status IN ('paused', 'escalated')))
           OR c.telefone IN (SELECT x.lead_phone FROM conversation_context x
                             WHERE x.context_data->'agent_pause_state'->>'paused' = 'true')""",
    ),
    (MotivoExclusao.EM_ATENDIMENTO, "d.last_inbound_at > %(em_atendimento)s"),
    (
        MotivoExclusao.EM_PAUSA,
        "d.permission_state = 'cooling_off' AND (d.cooling_off_until IS NULL OR d.cooling_off_until > %(now)s)",
    ),
    (MotivoExclusao.PROXIMO_CONTATO, "d.next_allowed_at > %(now)s"),
    (
        MotivoExclusao.LIMITE_7_DIAS,
        """c.id IN (SELECT t.cliente_id FROM envios_tentativas t
                    WHERE t.proativa AND t.resultado <> 'rejeitado' AND t.iniciado_em > %(cap_desde)s
                        AND t.cliente_id IS NOT NULL
                    GROUP BY t.cliente_id HAVING count(*) >= %(cap)s)""",
    ),
    (MotivoExclusao.CONTATO_RECENTE, "d.last_outbound_at > %(sem_contato_desde)s"),
    (
        MotivoExclusao.OUTRA_CAMPANHA,
        "d.last_touch_campaign_id <> %(campanha)s AND d.last_touch_at > %(outra_campanha_desde)s",
    ),
    (
        MotivoExclusao.RESPONDEU_RECENTE,
        """coalesce(d.last_inbound_at > %(respondeu_desde)s, false) AND NOT EXISTS (
               SELECT 1 FROM conversations v WHERE v.cliente_id = c.id
                   AND v.status NOT IN ('completed', 'abandoned') AND v.updated_at > %(respondeu_desde)s)""",
    ),
    (
        MotivoExclusao.SEM_RESPOSTA,
        # Two different campaigns at least (fila reference §2.4, MAX_UNANSWERED_OUTBOUND), without sorting them.
        """d.last_inbound_at IS NULL AND d.last_outbound_at IS NOT NULL AND (
               SELECT min(f.campanha_id) < max(f.campanha_id) FROM fila_mensagens f
               WHERE f.cliente_id = c.id AND f.status = 'enviada')""",
    ),
    (MotivoExclusao.PRESSAO, "c.pressure_score_atual > %(pressao_max)s"),
)

# What preview and selection start from. The selected are the first `alvo` of those whom nothing excludes.
_WITH = """
WITH pessoas AS MATERIALIZED ({people}),
selecionadas AS MATERIALIZED (
    SELECT s.id, s.fuso, s.chave, row_number() OVER (ORDER BY s.chave, s.id) AS ordem
    FROM (SELECT id, fuso, chave FROM pessoas WHERE motivo_exclusao IS NULL ORDER BY chave, id LIMIT %(alvo)s) s)
"""
_COUNTS = """
SELECT (SELECT count(*) FROM selecionadas) AS total,
       (SELECT count(*) FROM pessoas) AS candidatos,
       (SELECT jsonb_object_agg(m.motivo_exclusao, m.n) FROM (
            SELECT motivo_exclusao, count(*) AS n FROM pessoas
            WHERE motivo_exclusao IS NOT NULL GROUP BY 1) m) AS excluidas,
       ARRAY(SELECT DISTINCT fuso FROM selecionadas ORDER BY fuso) AS fusos,
       ARRAY(SELECT id FROM selecionadas WHERE ordem <= %(amostra)s ORDER BY ordem) AS amostra
"""
# Excluded people become rows where they were passed over: before the last selected, or all of them when the filters
# name fewer than the target. Everybody beyond is counted, and a small campaign does not copy a large table.
_FREEZE = """,
ultima AS (SELECT chave, id FROM selecionadas ORDER BY ordem DESC LIMIT 1),
congeladas AS (
    INSERT INTO campanha_destinatarios (campanha_id, cliente_id, ordem, estado, motivo_exclusao)
    SELECT %(campanha)s, id, ordem, 'selecionado', NULL FROM selecionadas
    UNION ALL
    SELECT %(campanha)s, p.id, 0, 'excluido', p.motivo_exclusao FROM pessoas p
    WHERE p.motivo_exclusao IS NOT NULL
        AND ((SELECT count(*) FROM selecionadas) < %(alvo)s
             OR (p.chave, p.id) <= (SELECT u.chave, u.id FROM ultima u)))
"""


def people(filters: AudienceFilters, *, campanha_id: int | None, parts: Parts, policy: Policy, now: datetime) -> Sql:
    """Everybody whom `filters` name, each with `motivo_exclusao` (NULL: may receive it) and the order `chave, id`.

    The first reason that holds is given, in the order of `MotivoExclusao`. Deleted people and numbers used for tests
    are nobody. `campanha_id` None stands for a campaign not yet saved.
    """
    vazia, vazia_params = missing_sql(parts)
    tests = [*_TESTS, (MotivoExclusao.VARIAVEL_VAZIA, vazia)]
    cases = "\n".join(f"        WHEN {test} THEN '{motivo.value}'" for motivo, test in tests)
    where, where_params = _where(filters)
    text = f"""
    SELECT c.id, c.fuso, {_chave(filters)} AS chave,
        CASE
{cases}
        END AS motivo_exclusao
    FROM clientes c LEFT JOIN doctor_state d ON d.cliente_id = c.id
    WHERE c.deleted_at IS NULL AND c.origem <> 'teste'{where}"""  # noqa: S608 (constants of this module only)
    params = {
        "now": now,
        "campanha": campanha_id or 0,
        "em_atendimento": now - EM_ATENDIMENTO,
        "cap": policy.contact_cap_7d,
        "cap_desde": now - CAP_WINDOW,
        "sem_contato_desde": now - timedelta(days=filters.dias_sem_contato),
        "outra_campanha_desde": now - policy.campaign_cooldown,
        "respondeu_desde": now - RESPONDEU_RECENTE,
        "pressao_max": filters.pressure_score_max,
    }
    return Sql(text, params | vazia_params | where_params)


def look(people: Sql, *, alvo: int, amostra: int) -> Audience:
    """Count the audience and name its first `amostra` people; nothing is written."""
    return _read(_WITH.format(people=people.text) + _COUNTS, people.params | {"alvo": alvo, "amostra": amostra})


def freeze(people: Sql, *, campanha_id: int, alvo: int) -> Audience:
    """Write the audience into `campanha_destinatarios`, once: a second time raises IntegrityError."""
    sql = _WITH.format(people=people.text) + _FREEZE + _COUNTS
    return _read(sql, people.params | {"alvo": alvo, "amostra": 0, "campanha": campanha_id})


def _read(sql: str, params: dict[str, Any]) -> Audience:
    found = rows(sql, params)[0]
    counted: dict[str, int] = found["excluidas"] or {}
    beyond = found["candidatos"] - found["total"] - sum(counted.values())
    counted[MotivoExclusao.ALEM_DA_QUANTIDADE.value] = beyond
    return Audience(
        total=found["total"],
        candidatos=found["candidatos"],
        excluidas={motivo: counted[motivo] for motivo in MotivoExclusao.values if counted.get(motivo)},
        fusos=tuple(found["fusos"]),
        amostra=tuple(found["amostra"]),
    )


def _where(filters: AudienceFilters) -> tuple[str, dict[str, Any]]:
    """People named one by one override the demographic filters."""
    if filters.clientes_especificos:
        return " AND c.id = ANY(%(especificos)s)", {"especificos": list(filters.clientes_especificos)}
    asked = {
        "regiao": filters.regioes,
        "especialidade": filters.especialidades,
        "estado": filters.estados,
    }
    wanted = {column: list(values) for column, values in asked.items() if values}
    return "".join(f" AND c.{column} = ANY(%({column})s)" for column in wanted), wanted


def _chave(filters: AudienceFilters) -> str:
    """The order's first key; `id` breaks ties. Random order is drawn from campaign and person: it never changes."""
    if filters.modo_selecao == ModoSelecao.ALEATORIO:
        return "md5(%(campanha)s || ':' || c.id::text)"
    return "coalesce(d.last_outbound_at, '-infinity'::timestamptz)"
