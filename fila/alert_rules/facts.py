"""What the rules about the fila read: late messages, recent sends, campaigns without one, outcomes, failures.

Each is one statement over partial indexes of live states, bounded whatever the fila holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from chips import fleet
from chips.choices import ProviderName, TipoMensagem
from chips.selection import ChipFacts, Shortlist
from core.database import rows
from fila.claim import Room
from fila.kinds import CANARIO, PROSPECTING_TIPOS, REPLY_TIPOS, tipos_of
from fila.ledger import global_left
from fila.policy import Rules
from guardrails import hours
from guardrails.choices import Kind
from guardrails.policy import held_kinds

HIGHEST_PRIORITY = 10
PER_PROBE = 100  # of one campaign and priority; more of them change nothing about the verdict
LATE_AT_ONCE = 5000
FLOW = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Late:
    """Messages of one campaign (or none), class, priority and zone that are due and that no switch holds.

    `desdes`: their due times, oldest first, at most `PER_PROBE`.
    """

    campanha_id: int | None
    classe: TipoMensagem
    prioridade: int
    fuso: str
    desdes: tuple[datetime, ...]

    @property
    def desde(self) -> datetime:
        return self.desdes[0]

    def due_before(self, moment: datetime) -> int:
        return sum(due <= moment for due in self.desdes)


# One probe of fila_due_of_campanha per active campaign and priority, one of fila_due_without_campanha per priority; the
# zones by primary key, for what was found alone.
_LATE = """
WITH vencidas AS MATERIALIZED (
    SELECT x.* FROM campanhas k CROSS JOIN generate_series(0, %(top)s) p CROSS JOIN LATERAL (
        SELECT m.cliente_id, m.campanha_id, m.tipo, m.prioridade, m.agendar_para FROM fila_mensagens m
        WHERE m.campanha_id = k.id AND m.prioridade = p AND m.status = 'pendente' AND m.agendar_para <= %(ate)s
            AND m.tentativa_aberta_id IS NULL
        ORDER BY m.agendar_para LIMIT %(por_sonda)s) x
    WHERE k.status = 'ativa' AND %(campanhas)s
    UNION ALL
    SELECT x.* FROM generate_series(0, %(top)s) p CROSS JOIN LATERAL (
        SELECT m.cliente_id, m.campanha_id, m.tipo, m.prioridade, m.agendar_para FROM fila_mensagens m
        WHERE m.campanha_id IS NULL AND m.prioridade = p AND m.status = 'pendente' AND m.agendar_para <= %(ate)s
            AND m.tentativa_aberta_id IS NULL AND m.tipo <> ALL(%(retidos)s)
            AND (%(abertos)s OR m.tipo = ANY(%(conhecidos)s))
        ORDER BY m.agendar_para LIMIT %(por_sonda)s) x
    LIMIT %(limite)s)
SELECT v.campanha_id, v.prioridade, v.fuso, array_agg(v.agendar_para ORDER BY v.agendar_para) AS desdes,
       CASE WHEN v.campanha_id IS NULL AND v.tipo = ANY(%(respostas)s) THEN 'resposta'
            WHEN v.campanha_id IS NOT NULL OR v.tipo = ANY(%(prospeccao)s) THEN 'prospeccao'
            ELSE 'followup' END AS classe
FROM (SELECT v.*, (SELECT c.fuso FROM clientes c WHERE c.id = v.cliente_id) AS fuso FROM vencidas v) v
GROUP BY v.campanha_id, v.prioridade, v.fuso, 5
"""


def late(rules: Rules, *, before: datetime) -> list[Late]:
    """Messages due by `before` that may go: campaign running, kind not held by a switch, nothing of them on the wire.

    Opening hours, limits and chips are not asked here.
    """
    held = held_kinds(rules.policy.switches)
    found = rows(
        _LATE,
        {
            "top": HIGHEST_PRIORITY,
            "ate": before,
            "por_sonda": PER_PROBE,
            "limite": LATE_AT_ONCE,
            "campanhas": Kind.CAMPANHA not in held,
            "retidos": [CANARIO, *tipos_of(held)],
            "abertos": Kind.LEMBRETE not in held,
            "conhecidos": [*REPLY_TIPOS, *PROSPECTING_TIPOS],
            "respostas": REPLY_TIPOS,
            "prospeccao": PROSPECTING_TIPOS,
        },
    )
    return [
        Late(row["campanha_id"], TipoMensagem(row["classe"]), row["prioridade"], row["fuso"], tuple(row["desdes"]))
        for row in sorted(found, key=lambda row: row["desdes"][0])
    ]


@dataclass(frozen=True, slots=True)
class Sent:
    """Messages of one class that a provider accepted within `FLOW`: when each call began, newest first."""

    em: tuple[datetime, ...] = ()

    def since(self, moment: datetime) -> int:
        return sum(at > moment for at in self.em)


# One range of tentativas_newest_of_provider per provider.
_SENT = """
SELECT t.tipo_mensagem AS classe, array_agg(t.iniciado_em ORDER BY t.iniciado_em DESC) AS em FROM envios_tentativas t
WHERE t.provider = ANY(%(providers)s) AND t.iniciado_em > %(desde)s AND t.iniciado_em <= %(now)s
    AND t.resultado = 'enviado'
GROUP BY t.tipo_mensagem
"""


def sent(now: datetime) -> dict[str, Sent]:
    found = rows(_SENT, {"providers": [each.value for each in ProviderName], "desde": now - FLOW, "now": now})
    return {row["classe"]: Sent(tuple(row["em"])) for row in found}


# A range of fila_newest_outcomes, bounded as the other readings of it.
_OVERTOOK = """
SELECT s.campanha_id, s.prioridade, max(s.agendar_para) AS vencimento,
       CASE WHEN s.campanha_id IS NULL AND s.tipo = ANY(%(respostas)s) THEN 'resposta'
            WHEN s.campanha_id IS NOT NULL OR s.tipo = ANY(%(prospeccao)s) THEN 'prospeccao'
            ELSE 'followup' END AS classe
FROM (SELECT campanha_id, prioridade, tipo, agendar_para FROM fila_mensagens
      WHERE outcome_at > %(desde)s AND outcome_at <= %(now)s AND status = 'enviada'
      ORDER BY outcome_at DESC LIMIT %(limite)s) s
GROUP BY s.campanha_id, s.prioridade, 4
"""
Queue = tuple[int | None, TipoMensagem]


def newest_sent(now: datetime, *, within: timedelta) -> dict[Queue, list[tuple[int, datetime]]]:
    """Of each campaign (or none) and class: (priority, latest due time) of what was sent.

    Messages of one such queue and priority leave in the order in which they are due.
    """
    found: dict[Queue, list[tuple[int, datetime]]] = {}
    for row in rows(
        _OVERTOOK,
        {
            "desde": now - within,
            "now": now,
            "respostas": REPLY_TIPOS,
            "prospeccao": PROSPECTING_TIPOS,
            "limite": OUTCOMES_AT_ONCE,
        },
    ):
        key = (row["campanha_id"], TipoMensagem(row["classe"]))
        found.setdefault(key, []).append((row["prioridade"], row["vencimento"]))
    return found


# audit_newest_first; what raw SQL released is not known.
_RELEASES = """
SELECT CASE WHEN entidade = 'campanha' THEN entidade_id END AS campanha, max(created_at) AS em FROM audit_trail
WHERE created_at > %(desde)s AND created_at <= %(now)s
    AND (acao = 'campanha_retomada' OR (acao = 'feature_flag_change' AND entidade_id = ANY(%(chaves)s)))
GROUP BY 1
"""
_HOLDING = [
    "operacao_pausada", "envio_travado", "worker_fila", "campaigns_enabled", "safe_mode", "envio_campanha",
    "envio_prospeccao", "envio_followup", "envio_resposta", "janela_envio", "limite_global_hora", "limite_global_dia",
]  # fmt: skip
RELEASED_WITHIN = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Releases:
    """When a person last let held messages go: by a switch or a limit, or by resuming their campaign."""

    geral: datetime | None = None
    campanhas: Mapping[int, datetime] = field(default_factory=dict)

    def later(self, moment: datetime, campanha_id: int | None) -> datetime:
        """`moment`, or the release when that was later."""
        known = (self.geral, self.campanhas.get(campanha_id) if campanha_id is not None else None)
        return max([moment, *(each for each in known if each is not None)])


def releases(now: datetime) -> Releases:
    found = rows(_RELEASES, {"desde": now - RELEASED_WITHIN, "now": now, "chaves": _HOLDING})
    return Releases(
        geral=next((row["em"] for row in found if row["campanha"] is None), None),
        campanhas={int(row["campanha"]): row["em"] for row in found if row["campanha"] is not None},
    )


@dataclass(frozen=True, slots=True)
class Operation:
    """What may carry messages at `now`. `left`: weight of the global budget, None without a limit."""

    now: datetime
    rules: Rules
    chips: tuple[ChipFacts, ...]
    left: int | None
    shortlists: Mapping[str, Shortlist]
    releases: Releases = Releases()

    def weight(self, classe: TipoMensagem) -> int:
        return self.rules.policy.campaign_weight if classe == TipoMensagem.PROSPECCAO else 1

    def has_budget(self, classe: TipoMensagem) -> bool:
        """Replies need none."""
        return classe == TipoMensagem.RESPOSTA or self.left is None or self.left >= self.weight(classe)

    def open_for(self, fuso: str, since: datetime) -> timedelta:
        """How much contact time there was in the zone from `since` until now."""
        seconds = hours.open_seconds_between(
            self.rules.policy.window, self.rules.policy.holidays, since, self.now, ZoneInfo(fuso)
        )
        return timedelta(seconds=seconds)


def operation(rules: Rules, now: datetime) -> Operation:
    chips = fleet.load(ill_limit_pct=rules.ill_limit_pct)
    left = global_left(rules.global_hour, rules.global_day)
    shortlists = Room.of(chips, rules.policy, senders=1, now=now).shortlists
    return Operation(now, rules, tuple(chips), left, shortlists, releases(now))


@dataclass(frozen=True, slots=True)
class Unsent:
    """A running campaign without one sent message.

    `pode_desde`: when the first of its messages could have gone, by zone; empty while they are not in the fila yet.
    """

    id: int
    nome: str
    iniciada_em: datetime | None
    enfileirada: bool
    incertas: int
    pode_desde: Mapping[str, datetime]


# fila_by_campanha_and_status says whether anything was sent; the first rows of each priority by fila_due_of_campanha.
# Waiting moves the due time and not the planned one.
_UNSENT = """
SELECT k.id, k.nome_template AS nome, k.iniciada_em, k.enfileirada_em IS NOT NULL AS enfileirada,
       (SELECT count(*) FROM fila_mensagens i WHERE i.campanha_id = k.id AND i.status = 'incerta')::int AS incertas,
       x.fuso, min(greatest(x.desde, k.iniciada_em)) AS desde
FROM campanhas k LEFT JOIN LATERAL (
    SELECT y.desde, (SELECT c.fuso FROM clientes c WHERE c.id = y.cliente_id) AS fuso
    FROM generate_series(0, %(top)s) p CROSS JOIN LATERAL (
        SELECT m.cliente_id, least(m.agendada_originalmente_para, m.agendar_para) AS desde FROM fila_mensagens m
        WHERE m.campanha_id = k.id AND m.prioridade = p AND m.status = 'pendente'
        ORDER BY m.agendar_para LIMIT %(por_sonda)s) y) x ON true
WHERE k.status = 'ativa'
    AND NOT EXISTS (SELECT 1 FROM fila_mensagens e WHERE e.campanha_id = k.id AND e.status = 'enviada')
GROUP BY k.id, x.fuso ORDER BY k.id
"""
FIRST_OF_EACH = 20


def campaigns_without_sends() -> list[Unsent]:
    found: dict[int, Unsent] = {}
    for row in rows(_UNSENT, {"top": HIGHEST_PRIORITY, "por_sonda": FIRST_OF_EACH}):
        known = found.get(row["id"])
        zones = {**known.pode_desde} if known else {}
        if row["fuso"] is not None:
            zones[row["fuso"]] = row["desde"]
        found[row["id"]] = Unsent(
            row["id"], row["nome"], row["iniciada_em"], row["enfileirada"], row["incertas"], zones
        )
    return list(found.values())


# Failures -------------------------------------------------------------------------------------------------------

POSTPONED = ("FAILED_CIRCUIT_OPEN", "FAILED_NO_CAPACITY", "FAILED_RATE_LIMIT")  # waiting is no error
OUTCOMES_AT_ONCE = 20_000

# A range of fila_newest_outcomes. Bounded: a fila that is postponed as a whole writes an outcome on each row.
_OUTCOMES = """
SELECT o.enviada, o.outcome, count(*) FILTER (WHERE o.outcome_at > %(perto)s)::int AS perto, count(*)::int AS n
FROM (SELECT status = 'enviada' AS enviada, outcome, outcome_at FROM fila_mensagens
      WHERE outcome_at > %(desde)s AND outcome_at <= %(now)s AND outcome IS NOT NULL AND outcome <> ALL(%(adiadas)s)
      ORDER BY outcome_at DESC LIMIT %(limite)s) o
GROUP BY o.enviada, o.outcome
"""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of messages in a span: sent, and failed by outcome. Waiting and blocking are neither."""

    enviadas: int
    falhas: Mapping[str, int]


def outcomes(now: datetime, *, near: timedelta, far: timedelta) -> tuple[Outcomes, Outcomes]:
    """Of the last `near` and of the last `far`, in one reading."""
    found = rows(
        _OUTCOMES,
        {
            "now": now,
            "perto": now - near,
            "desde": now - far,
            "adiadas": list(POSTPONED),
            "limite": OUTCOMES_AT_ONCE,
        },
    )
    return _outcomes(found, "perto"), _outcomes(found, "n")


def _outcomes(found: Sequence[Mapping[str, object]], key: str) -> Outcomes:
    counts = [(row["enviada"], str(row["outcome"]), int(str(row[key]))) for row in found]
    failed = {outcome: n for ok, outcome, n in counts if not ok and n and outcome.startswith("FAILED_")}
    return Outcomes(sum(n for ok, _, n in counts if ok), failed)


# job_executions_newest_first; a run lasts five minutes at most.
_FAILED_JOBS = """
SELECT job_name AS nome, count(*)::int AS n FROM job_executions
WHERE started_at > %(desde)s - interval '5 minutes' AND coalesce(finished_at, started_at) > %(desde)s
    AND coalesce(finished_at, started_at) <= %(now)s AND status IN ('error', 'timeout')
GROUP BY job_name ORDER BY job_name
"""
# webhook_eventos_failed
_FAILED_EVENTS = """
SELECT evento AS nome, count(*)::int AS n FROM webhook_eventos
WHERE recebido_em > %(desde)s AND recebido_em <= %(now)s AND status = 'erro'
GROUP BY evento ORDER BY evento
"""


def failed_jobs(now: datetime, *, within: timedelta) -> dict[str, int]:
    return {row["nome"]: row["n"] for row in rows(_FAILED_JOBS, {"desde": now - within, "now": now})}


def failed_webhooks(now: datetime, *, within: timedelta) -> dict[str, int]:
    return {row["nome"]: row["n"] for row in rows(_FAILED_EVENTS, {"desde": now - within, "now": now})}


# fila_dlq_open_newest_first
_DLQ = """
SELECT coalesce(outcome, 'sem desfecho') AS outcome, count(*)::int AS n
FROM fila_mensagens_dlq WHERE NOT reprocessado AND movido_para_dlq_em > %(desde)s AND movido_para_dlq_em <= %(now)s
GROUP BY 1 ORDER BY 2 DESC, 1
"""


def new_failures(now: datetime, *, within: timedelta) -> dict[str, int]:
    """Definitive failures that nobody has reprocessed yet, by outcome, the most frequent first."""
    return {row["outcome"]: row["n"] for row in rows(_DLQ, {"desde": now - within, "now": now})}


# fila_incertas, then the attempts by primary key: the unknown began with the call.
_UNKNOWN = """
SELECT count(*) FILTER (WHERE u.desde < %(uma)s)::int AS velhas, min(u.desde) AS desde FROM (
    SELECT coalesce(t.iniciado_em, m.updated_at) AS desde
    FROM (SELECT tentativa_aberta_id, updated_at FROM fila_mensagens WHERE status = 'incerta'
          ORDER BY updated_at LIMIT 1000) m LEFT JOIN envios_tentativas t ON t.id = m.tentativa_aberta_id) u
"""


def old_unknown(before: datetime) -> tuple[int, datetime | None]:
    """How many messages (counted up to 1000) have been unknown since before that instant, and since when the oldest."""
    found = rows(_UNKNOWN, {"uma": before})[0]
    return int(found["velhas"]), found["desde"]


__all__ = [
    "Late", "Operation", "Outcomes", "Sent", "Unsent", "campaigns_without_sends", "failed_jobs", "failed_webhooks",
    "late", "new_failures", "newest_sent", "old_unknown", "operation", "outcomes", "sent",
]  # fmt: skip
