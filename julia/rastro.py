"""One piece of work from click or webhook to provider and back, across all tables that keep its correlation id.

Read-only and bounded: a handful of statements, each through an index and with a limit, however large the tables are.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse

from chips.choices import InboxKind, InboxStatus, Resultado
from core import correlation
from core.backoffice.ui import short_digits
from core.circuits import sentences, spoken
from core.circuits.models import CircuitState
from core.clientes import phones
from core.database import rows
from core.jobs.models import JobExecution
from fila.choices import Evento, Status
from fila.sentences import reason_sentence

MOST_MESSAGES = 50
MOST_OF_ONE_SORT = 200
LONGEST_TERM = 100
LARGEST_ID = 2**63 - 1

_TONES = {"error": "bad", "timeout": "bad", "running": "info", "success": "ok", "skipped": "neutral"}
_EVENT_TONES = {
    Evento.ENFILEIRADA: "info", Evento.ADIADA: "warn", Evento.BLOQUEADA: "bad", Evento.CANCELADA: "bad",
    Evento.SEM_CHIP: "warn", Evento.INCERTA: "warn", Evento.FALHA: "bad", Evento.RECIBO: "ok",
}  # fmt: skip
_RESULT_TONES = {Resultado.ENVIADO: "ok", Resultado.REJEITADO: "bad"}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened. `sort` says where it was recorded; `url` is its page, empty where it has none."""

    at: datetime
    sort: str
    title: str
    text: str = ""
    tone: str = "neutral"
    url: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """`ids`: the correlation ids it goes by. `left_out`: sentences about what did not fit. `hidden_acts`: audit entries
    that this person may not read."""

    term: str
    ids: tuple[str, ...] = ()
    found_as: str = ""
    lines: tuple[Line, ...] = ()
    left_out: tuple[str, ...] = ()
    hidden_acts: int = 0


# fila_mensagens_pkey, alertas_pkey, job_executions_pkey, envios_tentativas_pkey, tentativas_by_provider_key, and for an
# inbound message one probe of webhook_eventos_chave per chip.
_RESOLVE = """
SELECT 'mensagem' AS como, correlation_id, id AS mensagem_id FROM fila_mensagens WHERE id = %(uuid)s
UNION ALL SELECT 'alerta', correlation_id, NULL FROM alertas WHERE id = %(uuid)s
UNION ALL SELECT 'execução', correlation_id, NULL FROM job_executions WHERE id = %(uuid)s
UNION ALL SELECT 'tentativa', correlation_id, origem_id FROM envios_tentativas WHERE id = %(number)s
UNION ALL (SELECT 'mensagem do provedor', correlation_id, origem_id FROM envios_tentativas
           WHERE provider_message_id = %(term)s AND provider_message_id <> '' LIMIT 5)
UNION ALL (SELECT 'mensagem recebida', e.correlation_id, NULL FROM chips c
           JOIN webhook_eventos e ON e.chave = c.provider || '|' || c.instance_name || '|entrada|' || %(term)s LIMIT 5)
"""

# Each table through its index over `correlation_id`; `fila_reprocessamentos` has a few rows a day and none.
_ACTS = """
(SELECT 'ato' AS sort, created_at AS at, id::text AS id, acao AS a, usuario AS b, motivo AS c, '' AS d
 FROM audit_trail WHERE correlation_id = ANY(%(ids)s) AND correlation_id <> '' ORDER BY created_at LIMIT %(most)s)
UNION ALL
(SELECT 'job', started_at, id::text, job_name, status, coalesce(error, ''), coalesce(duration_ms::text, '')
 FROM job_executions WHERE correlation_id = ANY(%(ids)s) AND correlation_id <> '' ORDER BY started_at LIMIT %(most)s)
UNION ALL
(SELECT 'campanha', coalesce(iniciada_em, created_at), id::text, nome_template, status, '', ''
 FROM campanhas WHERE correlation_id = ANY(%(ids)s) AND correlation_id <> '' LIMIT %(most)s)
UNION ALL
(SELECT 'importacao', created_at, id::text, nome_arquivo, status, '', ''
 FROM importacoes WHERE correlation_id = ANY(%(ids)s) AND correlation_id <> '' LIMIT %(most)s)
UNION ALL
(SELECT 'reprocessamento', iniciado_em, id::text, usuario, motivo, '', ''
 FROM fila_reprocessamentos WHERE correlation_id = ANY(%(ids)s) LIMIT %(most)s)
UNION ALL
(SELECT 'circuito', created_at, id::text, circuit_name, to_state, reason, causa
 FROM circuit_transitions WHERE correlation_id = ANY(%(ids)s) AND correlation_id <> ''
     AND (%(causas)s::text[] IS NULL OR causa = '' OR causa = ANY(%(causas)s)) ORDER BY created_at LIMIT %(most)s)
UNION ALL
(SELECT 'alerta', primeira_ocorrencia_em, id::text, titulo, severidade, mensagem,
     CASE WHEN resolvido_em IS NULL THEN 'aberto' ELSE 'resolvido' END
 FROM alertas WHERE correlation_id = ANY(%(ids)s) AND correlation_id <> '' LIMIT %(most)s)
"""

_COLUMNS = """m.id, m.status, m.tipo, m.telefone_destino, m.created_at, m.correlation_id, m.campanha_id, m.conversa_id,
    m.outcome, m.outcome_reason_code"""
_NAMED = f"""
SELECT {_COLUMNS} FROM fila_mensagens m WHERE m.id = ANY(%(mensagens)s) LIMIT %(most)s
"""  # noqa: S608 (constants of this module only)
# fila_by_campanha_and_status for campaigns; fila_by_correlation for all others.
_MESSAGES = f"""
(SELECT {_COLUMNS} FROM campanhas c
 JOIN fila_mensagens m ON m.campanha_id = c.id AND m.correlation_id = c.correlation_id
 WHERE c.correlation_id = ANY(%(ids)s) AND c.correlation_id <> '' LIMIT %(most)s)
UNION
(SELECT {_COLUMNS} FROM fila_mensagens m
 WHERE m.correlation_id = ANY(%(ids)s) AND (m.campanha_id IS NULL OR m.reprocessa_de_id IS NOT NULL) LIMIT %(most)s)
LIMIT %(most)s
"""  # noqa: S608 (constants of this module only)

# fila_eventos_timeline
_EVENTS = """
SELECT mensagem_id, tipo, outcome, motivo, em FROM fila_eventos WHERE mensagem_id = ANY(%(mensagens)s)
ORDER BY em, id LIMIT %(most)s
"""

# tentativas_numbered_per_origem
_ATTEMPTS = """
SELECT t.id, t.origem_id, t.tentativa_no, t.iniciado_em, t.encerrado_em, t.resultado, t.codigo, t.http_status,
    t.duracao_ms, t.provider, t.provider_message_id, t.chip_id, c.instance_name
FROM envios_tentativas t JOIN chips c ON c.id = t.chip_id
WHERE t.origem = 'fila' AND t.origem_id = ANY(%(mensagens)s) ORDER BY t.iniciado_em LIMIT %(most)s
"""

# webhook_eventos_by_correlation
_WEBHOOKS = """
SELECT id, kind, evento, status, motivo, recebido_em, processado_em, provider, instance, key_id
FROM webhook_eventos WHERE correlation_id = ANY(%(ids)s) AND correlation_id <> ''
    AND (%(keys)s::text[] IS NULL OR key_id = ANY(%(keys)s)) ORDER BY recebido_em LIMIT %(most)s
"""

# the index of the foreign key mensagem_id; interacoes_once_per_provider_message
_INTERACTIONS = """
SELECT i.id, i.tipo, i.conversation_id, i.created_at, i.autor_tipo, i.delivery_status
FROM interacoes i WHERE i.mensagem_id = ANY(%(mensagens)s)
UNION
SELECT i.id, i.tipo, i.conversation_id, i.created_at, i.autor_tipo, i.delivery_status
FROM unnest(%(providers)s::text[], %(instances)s::text[], %(keys)s::text[]) AS e(provider, instance, chave)
JOIN interacoes i ON i.provider = e.provider AND i.instance = e.instance AND i.provider_message_id = e.chave
    AND i.provider_message_id <> ''
ORDER BY created_at LIMIT %(most)s
"""


def story(term: str, *, with_acts: bool) -> Story:
    """What is known under a correlation id, or an id of message, attempt, alert, job run or provider's message.

    `with_acts`: whether this person may read the audit trail. Raises django.db.Error.
    """
    term = term.strip()[:LONGEST_TERM]
    found = rows(_RESOLVE, {"uuid": _uuid(term), "number": _number(term), "term": term}) if term else []
    ids = {row["correlation_id"] for row in found} - {""}
    if correlation.is_valid(term) and not found:
        ids.add(term)
    named = sorted({row["mensagem_id"] for row in found if row["mensagem_id"] is not None})
    if not (ids or named):
        return Story(term)
    lines = _Lines(sorted(ids), named, with_acts=with_acts)
    collected = sorted(lines.all(), key=lambda line: line.at)
    return Story(
        term,
        tuple(sorted(ids)),
        found[0]["como"] if found else "",
        tuple(collected),
        tuple(lines.left_out),
        lines.hidden_acts,
    )


@dataclass(slots=True)
class _Lines:
    """Reads table after table; what one finds tells the next what to look for."""

    ids: list[str]
    named: list[UUID]
    with_acts: bool
    left_out: list[str] = field(default_factory=list)
    hidden_acts: int = 0

    def all(self) -> Iterator[Line]:
        messages = self._messages()
        mensagens = [row["id"] for row in messages]
        attempts = self._read(_ATTEMPTS, "tentativas", mensagens=mensagens) if mensagens else []
        keys = sorted({row["provider_message_id"] for row in attempts} - {""}) if self.named else None
        webhooks = self._read(_WEBHOOKS, "eventos recebidos", keys=keys)
        yield from self._acts()
        yield from map(_message, messages)
        if mensagens:
            yield from map(_event, self._read(_EVENTS, "linhas de história", mensagens=mensagens))
        for row in attempts:
            yield from _attempt(row)
        yield from map(_webhook, webhooks)
        yield from map(_interaction, self._interactions(mensagens, webhooks))

    def _messages(self) -> list[dict[str, Any]]:
        found = rows(
            _NAMED if self.named else _MESSAGES,
            {"mensagens": self.named, "ids": self.ids, "most": MOST_MESSAGES + 1},
        )
        if len(found) > MOST_MESSAGES:
            self.left_out.append(
                f"Há mais de {MOST_MESSAGES} mensagens sob este código. Aqui estão {MOST_MESSAGES} delas: para ver as "
                "outras, abra a campanha na Fila e procure pelo id de uma mensagem."
            )
        return found[:MOST_MESSAGES]

    def _acts(self) -> Iterator[Line]:
        causas = [f"mensagem:{each}" for each in self.named] or None
        found = self._read(_ACTS, "atos, jobs, circuitos ou alertas", each=True, causas=causas)
        circuits = spoken.titles({row["a"] for row in found if row["sort"] == "circuito"})
        for row in found:
            row["nome"] = circuits.get(row["a"], row["a"])
            if row["sort"] == "ato" and not self.with_acts:
                self.hidden_acts += 1
            else:
                yield _ACT_LINES[row["sort"]](row)

    def _interactions(self, mensagens: Sequence[UUID], webhooks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        inbound = [row for row in webhooks if row["kind"] == InboxKind.ENTRADA]
        if not (mensagens or inbound):
            return []
        return self._read(
            _INTERACTIONS,
            "linhas de conversa",
            mensagens=list(mensagens),
            providers=[row["provider"] for row in inbound],
            instances=[row["instance"] for row in inbound],
            keys=[row["key_id"] for row in inbound],
        )

    def _read(self, sql: str, what: str, *, each: bool = False, **params: Any) -> list[dict[str, Any]]:
        """`each`: the statement limits every part of it by itself."""
        found = rows(sql, {"ids": self.ids, "most": MOST_OF_ONE_SORT + 1, **params})
        if len(found) > MOST_OF_ONE_SORT and not each:
            self.left_out.append(f"Há mais de {MOST_OF_ONE_SORT} {what}: aqui estão os primeiros.")
            return found[:MOST_OF_ONE_SORT]
        return found


def _audit(row: dict[str, Any]) -> Line:
    motivo = f" Motivo: “{row['c']}”" if row["c"] else ""
    url = reverse("admin:core_auditentry_change", args=[row["id"]])
    return Line(row["at"], "Auditoria", row["a"].replace("_", " "), f"por {row['b']}.{motivo}", "info", url)


def _job(row: dict[str, Any]) -> Line:
    status = JobExecution.Status(row["b"]).label
    took = f" em {row['d']} ms" if row["d"] else ""
    url = reverse("admin:core_jobexecution_change", args=[row["id"]])
    return Line(row["at"], "Job", f"{row['a']}: {status.lower()}{took}", row["c"], _TONES[row["b"]], url)


def _campaign(row: dict[str, Any]) -> Line:
    url = reverse("admin:fila_campanha_change", args=[row["id"]])
    return Line(row["at"], "Campanha", f"Campanha {row['a']}", f"Agora: {row['b']}.", "info", url)


def _import(row: dict[str, Any]) -> Line:
    url = reverse("admin:core_importacao_change", args=[row["id"]])
    return Line(row["at"], "Importação", f"Importação de {row['a']}", f"Agora: {row['b']}.", "info", url)


def _reprocess(row: dict[str, Any]) -> Line:
    url = reverse("admin:fila_reprocessamento_change", args=[row["id"]])
    return Line(row["at"], "Reprocessamento", f"Reprocessamento pedido por {row['a']}", row["b"], "info", url)


def _transition(row: dict[str, Any]) -> Line:
    state = CircuitState(row["b"]) if row["b"] in CircuitState.values else None
    tone = {CircuitState.CLOSED: "ok", CircuitState.OPEN: "bad"}.get(state, "warn") if state else "neutral"
    url = reverse("admin:core_circuit_change", args=[row["a"]])
    title = f"{row['nome']}: {state.label.lower() if state else row['b']}"
    return Line(row["at"], "Circuito", title, f"{sentences.reason(row['c'])}.", tone, url)


def _alert(row: dict[str, Any]) -> Line:
    tone = "info" if row["b"] == "info" else ("warn" if row["b"] == "warning" else "bad")
    url = reverse("admin:core_alerta_change", args=[row["id"]])
    return Line(row["at"], "Alerta", f"{row['a']} ({row['d']})", row["c"], tone, url)


_ACT_LINES = {
    "ato": _audit,
    "job": _job,
    "campanha": _campaign,
    "importacao": _import,
    "reprocessamento": _reprocess,
    "circuito": _transition,
    "alerta": _alert,
}


def _message(row: dict[str, Any]) -> Line:
    status = Status(row["status"])
    tone = {Status.ENVIADA: "ok", Status.ERRO: "bad", Status.BLOQUEADA: "bad", Status.CANCELADA: "bad"}.get(
        status, "info"
    )
    reason = reason_sentence(row["outcome_reason_code"], row["outcome"]) if row["outcome_reason_code"] else ""
    return Line(
        row["created_at"],
        "Mensagem",
        f"Mensagem ({row['tipo']}) para {phones.mask(row['telefone_destino'])} criada",
        f"Agora: {status.label.lower()}. {reason}".strip(),
        tone,
        _message_url(row["id"]),
    )


def _event(row: dict[str, Any]) -> Line:
    kind = Evento(row["tipo"])
    text = reason_sentence(row["motivo"], row["outcome"]) if row["motivo"] and kind is not Evento.ENFILEIRADA else ""
    return Line(
        row["em"], "Fila", kind.label, text, _EVENT_TONES.get(kind, "neutral"), _message_url(row["mensagem_id"])
    )


def _attempt(row: dict[str, Any]) -> Iterable[Line]:
    url, chip = _message_url(row["origem_id"]), short_digits(row["instance_name"])
    number, result = row["tentativa_no"], Resultado(row["resultado"])
    title = f"Tentativa {number} pelo chip {chip} ({row['provider']})"
    yield Line(row["iniciado_em"], "Tentativa", title, f"No registro de tentativas: {row['id']}.", "info", url)
    if row["encerrado_em"] is not None:
        facts = [
            f"HTTP {row['http_status']}" if row["http_status"] else "",
            f"{row['duracao_ms']} ms" if row["duracao_ms"] is not None else "",
            f"id no provedor {row['provider_message_id']}" if row["provider_message_id"] else "",
        ]
        why = reason_sentence(row["codigo"]) if row["codigo"] and result is not Resultado.ENVIADO else ""
        text, tone = ", ".join(filter(None, [why.rstrip("."), *facts])), _RESULT_TONES.get(result, "warn")
        yield Line(row["encerrado_em"], "Provedor", f"Tentativa {number}: {result.label.lower()}", text, tone, url)


def _webhook(row: dict[str, Any]) -> Line:
    tone = {InboxStatus.PROCESSADO: "ok", InboxStatus.ERRO: "bad", InboxStatus.IGNORADO: "neutral"}.get(
        InboxStatus(row["status"]), "warn"
    )
    kind, status = InboxKind(row["kind"]).label, InboxStatus(row["status"]).label.lower()
    text = f"Agora: {status}{': ' + row['motivo'] if row['motivo'] else ''}. Id no provedor: {row['key_id']}."
    title = f"{kind} recebido de {row['provider']} ({short_digits(row['instance'])})"
    return Line(row["recebido_em"], "Webhook", title, text, tone)


def _interaction(row: dict[str, Any]) -> Line:
    title = "Mensagem na conversa" if row["tipo"] == "saida" else "Mensagem do médico na conversa"
    status = f"Entrega: {row['delivery_status']}." if row["delivery_status"] else ""
    url = reverse("admin:fila_conversa_change", args=[row["conversation_id"]])
    return Line(row["created_at"], "Conversa", title, status, "info", url)


def _message_url(mensagem_id: UUID) -> str:
    return reverse("admin:fila_mensagem_change", args=[mensagem_id])


def _uuid(term: str) -> UUID | None:
    try:
        return UUID(term) if re.fullmatch(r"[0-9a-fA-F-]{32,36}", term) else None
    except ValueError:
        return None


def _number(term: str) -> int | None:
    return int(term) if re.fullmatch(r"[0-9]{1,19}", term) and int(term) <= LARGEST_ID else None
