"""Housekeeping reads what is open, not what is past: its plans, on tables that are mostly past."""

import json
import random
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django.plugin import DjangoDbBlocker

from core.clock import database_now
from core.database import execute, rows
from core.jobs.deadline import Deadline
from fila import manutencao, metricas, rescue
from fila.campanhas import upkeep
from fila.reprocessar import metrics, services
from fila.reprocessar.filters import Filtros
from tests import factories
from tests.fila.test_claim_plan import make_a_long_past, nodes

FAILED = 6_000
EXPLAINABLE = re.compile(r"\s*(?:SELECT|UPDATE|INSERT|DELETE|WITH)\b")
GROWING = {"fila_mensagens", "envios_tentativas", "fila_eventos"}

Node = dict[str, Any]
Plans = dict[str, list[Node]]

pytestmark = pytest.mark.django_db


def minute() -> Deadline:
    return Deadline(timedelta(seconds=60))


def die_twice() -> None:
    """Two workers died with the same rows, and a third holds them now."""
    taken = [row["id"] for row in rows("SELECT id FROM fila_mensagens WHERE status = 'pendente' LIMIT 3")]
    for dono in ("w1", "w2", "w3"):
        rescue.rescue_expired_leases()
        execute(
            """UPDATE fila_mensagens SET status = 'processando', lease_owner = %s, lease_ate = agora() - interval '1 s',
               processando_desde = agora() - interval '2 minutes' WHERE id = ANY(%s)""",
            [dono, taken],
        )


def reprocess_some() -> None:
    falhas = [row["id"] for row in rows("SELECT id FROM fila_mensagens_dlq ORDER BY id LIMIT 400")]
    run = services.reprocess(
        Filtros(ids=tuple(falhas)), actor="ana", motivo="voltou ao normal", rng=random.Random(1), now=database_now()
    )
    assert run.resultado["reprocessadas"] == 400


WORK: dict[str, Callable[[], object]] = {
    "rescue": rescue.rescue_expired_leases,
    "stuck": lambda: manutencao.resetar_fila_travada(database_now(), minute()),
    "conclude": lambda: upkeep.conclude_finished(now=database_now()),
    "metrics": metricas.obter_metricas_fila,
    "reprocess": reprocess_some,
    "preview": lambda: services.preview(Filtros(outcome="FAILED_PROVIDER")),
    "dlq": metrics.obter_metricas_dlq,
    "expire": lambda: manutencao.limpar_fila_antiga(database_now(), minute()),
}


@pytest.fixture(scope="module")
def plans(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Plans:
    """The plan of every statement of each piece of work, explained right before it runs."""
    found: Plans = {}
    with django_db_blocker.unblock(), transaction.atomic():
        factories.open_operation()
        make_a_long_past()
        make_failures_and_attempts()
        die_twice()
        factories.campanha(enfileirada_em=database_now())
        for name, work in WORK.items():
            found[name] = explained(work)
        transaction.set_rollback(True)
    return found


def make_failures_and_attempts() -> None:
    execute(
        """UPDATE fila_mensagens SET status = 'erro', outcome = 'FAILED_PROVIDER', outcome_reason_code = 'network_error'
           WHERE id IN (SELECT id FROM fila_mensagens WHERE status = 'enviada' ORDER BY id LIMIT %s)""",
        [FAILED],
    )
    execute(
        """INSERT INTO fila_mensagens_dlq (mensagem_original_id, cliente_id, conteudo, tipo, outcome,
               outcome_reason_code) SELECT id, cliente_id, conteudo, tipo, outcome, outcome_reason_code
           FROM fila_mensagens WHERE status = 'erro'"""
    )
    chips = [str(factories.chip().pk) for _ in range(20)]
    execute(
        """INSERT INTO envios_tentativas (origem_id, chip_id, provider, cliente_id, destino, tipo_mensagem, proativa,
               balde_em, dia_local, texto_hash, lote, consumidor, resultado, iniciado_em, delivery_status)
           SELECT id, (%s::uuid[])[1 + (n %% 20)], 'evolution', cliente_id, telefone_destino, 'prospeccao', true,
               agora(), current_date, repeat('0', 64), gen_random_uuid(), 'worker',
               CASE status WHEN 'erro' THEN 'rejeitado' ELSE 'enviado' END, outcome_at, 'delivered'
           FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM fila_mensagens
                 WHERE status IN ('enviada', 'erro')) m""",
        [chips],
    )
    execute(
        """INSERT INTO fila_eventos (mensagem_id, tipo, motivo)
           SELECT id, 'enfileirada', '' FROM fila_mensagens WHERE status IN ('enviada', 'erro')"""
    )
    execute(
        """UPDATE fila_mensagens SET expira_em = agora() - interval '1 hour' WHERE id IN (
               SELECT id FROM fila_mensagens WHERE status = 'pendente' AND agendar_para < agora() LIMIT 300)"""
    )
    execute("ANALYZE")


def explained(work: Callable[[], object]) -> list[Node]:
    found: list[Node] = []

    def explain(run: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if EXPLAINABLE.match(sql) and any(table in sql for table in GROWING | {"fila_mensagens_dlq"}):
            context["cursor"].cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
            (plan,) = context["cursor"].cursor.fetchone()
            found.append((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
        return run(sql, params, many, context)

    with connection.execute_wrapper(explain):
        work()
    return found


def scans(plans: list[Node], kind: str = "Seq Scan") -> Iterator[str]:
    for plan in plans:
        for node in nodes(plan):
            if node["Node Type"] == kind and node.get("Relation Name"):
                yield node["Relation Name"]


def indexes(plans: list[Node]) -> set[str]:
    return {node["Index Name"] for plan in plans for node in nodes(plan) if "Index Name" in node}


@pytest.mark.parametrize("work", [name for name in WORK if name != "preview"])
def test_what_grows_is_read_through_an_index(work: str, plans: Plans) -> None:
    assert plans[work] or work == "dlq"
    assert set(scans(plans[work])) & GROWING == set()


def test_rescue_reads_the_leases_and_the_stories_of_its_rows_alone(plans: Plans) -> None:
    read = indexes(plans["rescue"])
    assert "fila_leases" in read
    assert any(name.startswith("fila_eventos_") for name in read)


def test_expiry_is_a_range_of_its_index(plans: Plans) -> None:
    walks = [
        node["Index Cond"] for plan in plans["expire"] for node in nodes(plan)
        if node.get("Index Name") == "fila_expiring"
    ]  # fmt: skip
    assert walks
    assert all("expira_em < (agora() +" in walk for walk in walks)


def test_undecided_acknowledgements_are_read_by_their_own_index(plans: Plans) -> None:
    assert "tentativas_error_acks" in indexes(plans["conclude"])


def test_an_end_is_asked_once_per_campaign_and_not_once_per_row(plans: Plans) -> None:
    assert "fila_by_campanha_and_status" in indexes(plans["conclude"])


def test_a_dry_run_of_everything_reads_the_failures_once(plans: Plans) -> None:
    (plan,) = plans["preview"]
    read = [name for name in scans([plan]) if name == "fila_mensagens_dlq"]
    assert read == ["fila_mensagens_dlq"]


def test_a_run_by_ids_probes_attempts_by_their_message(plans: Plans) -> None:
    assert {"tentativas_numbered_per_origem", "fila_reprocessed_once"} & indexes(plans["reprocess"])
