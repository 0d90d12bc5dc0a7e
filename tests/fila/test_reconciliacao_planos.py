"""The reconciler reads what is open, not what is past: its plans, on tables that are mostly past."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from pytest_django.plugin import DjangoDbBlocker

from chips.choices import Evidencia
from chips.providers.evidence import FoundMessage, SearchResult
from core.clock import database_now
from core.database import execute, rows
from fila import policy
from fila.reconciliacao import avisos_de_erro, buscas, evidencia, fila_zapi, prazo
from fila.reconciliacao.matching import by_key, candidates, person
from fila.reconciliacao.services import look
from tests import factories
from tests.fila.test_claim_plan import make_a_long_past
from tests.fila.test_housekeeping_plans import explained, indexes, make_failures_and_attempts, scans

GROWING = {"fila_mensagens", "envios_tentativas", "fila_eventos", "webhook_eventos"}

Plans = dict[str, list[dict[str, Any]]]

pytestmark = pytest.mark.django_db


def make_a_past_inbox() -> None:
    execute(
        """INSERT INTO webhook_eventos (provider, instance, evento, kind, chave, key_id, payload, status)
           SELECT 'evolution', 'julia_1', 'messages.update', 'recibo', 'k' || n, '3EB' || n, '{}', 'processado'
           FROM generate_series(1, 20000) n"""
    )
    execute(
        """UPDATE envios_tentativas SET provider_message_id = '3EB' || id,
               provider = CASE WHEN mod(id, 2) = 0 THEN 'z-api' ELSE 'evolution' END"""
    )
    execute("UPDATE chips SET provider = 'z-api' WHERE id IN (SELECT id FROM chips ORDER BY id LIMIT 10)")


def make_open_questions() -> list[dict[str, Any]]:
    """Ten unknown attempts of ten minutes ago, and ten that WhatsApp refused two minutes ago."""
    chosen = rows("SELECT id, origem_id FROM envios_tentativas WHERE resultado = 'enviado' ORDER BY id LIMIT 20")
    lost, refused = chosen[:10], chosen[10:]
    unknown = rows(
        """WITH fora AS (DELETE FROM envios_tentativas WHERE id = ANY(%s) RETURNING *)
           INSERT INTO envios_tentativas (origem_id, tentativa_no, chip_id, provider, cliente_id, destino,
               tipo_mensagem, proativa, balde_em, dia_local, texto_hash, lote, consumidor, resultado, iniciado_em)
           SELECT origem_id, 2, chip_id, 'evolution', cliente_id, destino, tipo_mensagem, proativa, balde_em, dia_local,
               texto_hash, lote, consumidor, 'desconhecido', agora() - interval '10 minutes' FROM fora
           RETURNING id, origem_id""",
        [[row["id"] for row in lost]],
    )
    execute(
        """UPDATE envios_tentativas SET delivery_status = 'failed', iniciado_em = agora() - interval '3 minutes',
               delivery_status_at = agora() - interval '2 minutes' WHERE id = ANY(%s)""",
        [[row["id"] for row in refused]],
    )
    execute(
        """UPDATE fila_mensagens m SET status = 'incerta', tentativa_aberta_id = t.id FROM envios_tentativas t
           WHERE t.id = ANY(%s) AND m.id = t.origem_id""",
        [[row["id"] for row in unknown]],
    )
    execute("ANALYZE")
    return unknown


def work_of(unknown: list[dict[str, Any]]) -> dict[str, Callable[[], object]]:
    first, second = unknown[0]["id"], unknown[1]["id"]
    (one,) = rows("SELECT chip_id, destino, cliente_id, texto_hash FROM envios_tentativas WHERE id = %s", [first])
    chip_id: UUID = one["chip_id"]
    found = FoundMessage("3EBNEW", "x@s.whatsapp.net", "", datetime.now(UTC), None)
    return {
        "look": look,
        "bursts": lambda: avisos_de_erro.eject_bursts(now=database_now()),
        "search": lambda: [buscas._verdict(asked, SearchResult((found,), True)) for asked in take()],
        "match": lambda: candidates(chip_id, person(one["destino"], ""), one["texto_hash"], at=database_now()),
        "key": lambda: by_key(chip_id, {"3EB77"}, queue_id="ZAAP"),
        "settle": lambda: evidencia.settle_by_evidence(
            second, evidencia=Evidencia.ECO, accepted=True, provider_message_id="3EBECHO"
        ),
        "queues": lambda: fila_zapi._due(database_now(), policy.read(), timedelta()),
        "end": lambda: prazo.end_overdue(after=timedelta(minutes=5)),
    }


def take() -> list[buscas.Asked]:
    asked = buscas._take(200)
    assert len(asked) == 10
    return asked


@pytest.fixture(scope="module")
def plans(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Plans:
    found: Plans = {}
    with django_db_blocker.unblock(), transaction.atomic():
        factories.open_operation()
        make_a_long_past()
        make_failures_and_attempts()
        make_a_past_inbox()
        for name, work in work_of(make_open_questions()).items():
            found[name] = explained(work)
        transaction.set_rollback(True)
    return found


@pytest.mark.parametrize("work", ["look", "bursts", "search", "match", "key", "settle", "queues", "end"])
def test_what_grows_is_read_through_an_index(work: str, plans: Plans) -> None:
    assert plans[work]
    assert set(scans(plans[work])) & GROWING == set()


@pytest.mark.parametrize(
    ("work", "index"),
    [
        ("look", "tentativas_error_acks"),
        ("look", "tentativas_searches_due"),
        ("bursts", "tentativas_error_acks"),
        ("search", "tentativas_searches_due"),
        ("match", "tentativas_not_settled"),
        ("key", "tentativas_by_provider_key"),
        ("queues", "tentativas_newest_of_provider"),
        ("end", "fila_incertas"),
    ],
)
def test_each_question_has_its_index(work: str, index: str, plans: Plans) -> None:
    assert index in indexes(plans[work])
