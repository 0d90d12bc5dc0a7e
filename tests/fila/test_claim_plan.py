"""The claim looks only at what is due: its plans, read from PostgreSQL on a table that is mostly past."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django.plugin import DjangoDbBlocker

from chips.selection import ChipFacts
from core.database import execute
from fila import claim as claiming
from fila.claim import Room
from guardrails.policy import Policy
from tests import factories

FINISHED, WAITING, CAMPAIGNS, PEOPLE = 50_000, 5_000, 20, 2_000
SENDERS, PRIORITIES = 64, 11
OWNER = "plano"
DUE_INDEXES = {"fila_due_of_campanha", "fila_due_without_campanha"}

Node = dict[str, Any]

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def plans(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> list[Node]:
    """The plans of one claim, read once: nothing of the table they were made on stays."""
    with django_db_blocker.unblock(), transaction.atomic():
        make_a_long_past()
        found = plans_of_a_claim()
        transaction.set_rollback(True)
    return found


def make_a_long_past() -> None:
    """Fifty thousand messages that have ended and five thousand that wait, of many campaigns and of none."""
    factories.clientes(PEOPLE)
    for n in range(CAMPAIGNS):
        factories.campanha(status="ativa" if n % 4 == 0 else "concluida", nome_template=f"Campanha {n}")
    execute(
        """CREATE TEMP TABLE gente ON COMMIT DROP AS
           SELECT id, row_number() OVER (ORDER BY telefone) - 1 AS n FROM clientes"""
    )
    execute(
        """CREATE TEMP TABLE planos ON COMMIT DROP AS
           SELECT id, status, row_number() OVER (ORDER BY id) - 1 AS n FROM campanhas"""
    )
    execute(
        """INSERT INTO fila_mensagens (cliente_id, campanha_id, conteudo, tipo, prioridade, status, agendar_para,
               outcome, outcome_at, reenvio_n)
           SELECT p.id, c.id, 'Olá, mensagem ' || k, 'campanha', 3, 'enviada', agora() - (k %% 90) * interval '1 day',
               'SENT', agora() - (k %% 90) * interval '1 day', k / 2000
           FROM generate_series(0, %(count)s - 1) k JOIN gente p ON p.n = k %% 2000 JOIN planos c ON c.n = k %% 20""",
        {"count": FINISHED},
    )
    execute(
        """INSERT INTO fila_mensagens (cliente_id, campanha_id, conteudo, tipo, prioridade, status, agendar_para,
               reenvio_n)
           SELECT p.id, CASE WHEN k %% 3 > 0 THEN c.id END, 'Olá, à espera ' || k,
               CASE WHEN k %% 3 > 0 THEN 'campanha' WHEN k %% 300 = 0 THEN 'resposta' ELSE 'lembrete' END,
               CASE WHEN k %% 300 = 0 THEN 8 ELSE 3 END, 'pendente',
               agora() + (k %% 7 - 2) * interval '1 hour', 100 + k / 2000
           FROM generate_series(0, %(count)s - 1) k JOIN gente p ON p.n = k %% 2000
           JOIN planos c ON c.status = 'ativa' AND c.n = (k %% 5) * 4""",
        {"count": WAITING},
    )
    execute("ANALYZE")


def free_chips(count: int) -> list[ChipFacts]:
    return [
        ChipFacts(
            id=factories.chip().pk, final="0000", provider="evolution", status="active", tipo="julia", trust_score=90,
            conectado=True, tem_segredo=True, bloqueio_manual=False, pode_prospectar=True, pode_followup=True,
            pode_responder=True, cooldown_until=None, connection_cooldown_until=None,
            proximo_envio_em=datetime(2026, 1, 1, tzinfo=UTC), delay_minimo_segundos=0, em_voo=False, peso_hora=0,
            peso_dia=0, limite_hora=1000, limite_dia=1000,
        )
        for _ in range(count)
    ]  # fmt: skip


def plans_of_a_claim() -> list[Node]:
    """The plan of every statement that one claim sends, explained right before it runs; the claim must take rows."""
    plans: list[Node] = []

    def explain(run: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if "fila_mensagens" in sql:
            context["cursor"].cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
            (found,) = context["cursor"].cursor.fetchone()
            plans.append((json.loads(found) if isinstance(found, str) else found)[0]["Plan"])
        return run(sql, params, many, context)

    room = Room.of(free_chips(SENDERS), Policy(), senders=SENDERS, now=datetime(2026, 3, 3, tzinfo=UTC))
    with connection.execute_wrapper(explain):
        taken = claiming.claim(room, Policy(), owner=OWNER, lease_s=120)
    assert len(taken) == SENDERS
    return plans


def nodes(plan: Node) -> Iterator[Node]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def on_the_fila(plan: Node) -> list[Node]:
    return [
        node for node in nodes(plan) if node.get("Relation Name") == "fila_mensagens" and "Scan" in node["Node Type"]
    ]


def test_a_claim_reads_the_fila_through_its_partial_indexes_only(plans: list[Node]) -> None:
    found = [node for plan in plans for node in on_the_fila(plan)]
    assert {node["Node Type"] for node in found} <= {"Index Scan", "Index Only Scan"}
    assert {node["Index Name"] for node in found} == DUE_INDEXES | {"fila_mensagens_pkey"}


def test_replies_and_the_rest_are_one_statement_each(plans: list[Node]) -> None:
    assert [{node["Index Name"] for node in on_the_fila(plan)} & DUE_INDEXES for plan in plans] == [
        {"fila_due_without_campanha"},
        DUE_INDEXES,
    ]


def test_due_time_bounds_the_scan_and_is_no_filter_behind_it(plans: list[Node]) -> None:
    probes = [node for plan in plans for node in on_the_fila(plan) if node["Index Name"] in DUE_INDEXES]
    for probe in probes:
        assert "agendar_para <= agora()" in probe["Index Cond"]
        assert "prioridade" in probe["Index Cond"]


def test_a_claim_sorts_no_more_than_it_could_take(plans: list[Node]) -> None:
    sorts = [node for plan in plans for node in nodes(plan) if node["Node Type"] == "Sort"]
    assert sorts
    assert all(node["Plan Rows"] <= SENDERS * PRIORITIES * CAMPAIGNS for node in sorts)
