"""When a campaign has ended, and when it has not: undecided acknowledgements, rows that were opened again."""

from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest
from django.db import connection, transaction

from chips.models import Tentativa
from core.audit.models import AuditEntry
from core.clock import database_now
from core.database import execute, rows
from fila.campanhas import lifecycle, services, upkeep
from fila.models import Campanha, Mensagem
from tests import factories

NOW = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)


def finished(**values: object) -> Campanha:
    return factories.campanha(
        **({"status": "concluida", "concluida_em": database_now(), "enfileirada_em": NOW} | values)
    )


def enqueued(**values: object) -> Campanha:
    return factories.campanha(**({"enfileirada_em": NOW} | values))


def sent_with_error(campanha: Campanha, *, seconds_ago: int, undelivered: bool = False) -> Tentativa:
    """A sent message whose acknowledgement was ERROR."""
    message = factories.mensagem(campanha=campanha, status="enviada", outcome="SENT", delivery_status="failed")
    at = database_now() - timedelta(seconds=seconds_ago)
    return Tentativa.objects.create(
        origem_id=message.id,
        chip=factories.chip(),
        provider="evolution",
        cliente_id=message.cliente_id,
        destino=message.telefone_destino,
        tipo_mensagem="prospeccao",
        proativa=True,
        balde_em=at,
        dia_local=at.date(),
        texto_hash="0" * 64,
        lote="00000000-0000-0000-0000-000000000001",
        consumidor="teste",
        resultado="enviado",
        delivery_status="failed",
        delivery_status_at=at,
        nao_entregue_em=at if undelivered else None,
    )


@pytest.mark.django_db
class TestUndecidedAcknowledgements:
    def test_an_error_acknowledgement_that_is_not_decided_keeps_the_campaign_open(self):
        campanha = enqueued()
        sent_with_error(campanha, seconds_ago=30)
        assert services.conclude_finished(now=NOW) == 0

    def test_after_ninety_seconds_it_is_the_end(self):
        campanha = enqueued()
        sent_with_error(campanha, seconds_ago=91)
        assert services.conclude_finished(now=NOW) == 1
        campanha.refresh_from_db()
        assert campanha.status == "concluida"

    def test_a_decided_one_and_another_campaigns_keep_nothing_open(self):
        campanha, other = enqueued(), enqueued(status="pausada")
        sent_with_error(campanha, seconds_ago=5, undelivered=True)
        sent_with_error(other, seconds_ago=5)
        assert services.conclude_finished(now=NOW) == 1


@pytest.mark.django_db
class TestReopen:
    def test_a_finished_campaign_with_an_open_row_runs_again(self):
        campanha, quiet = finished(), finished()
        factories.mensagem(campanha=campanha)
        assert lifecycle.reopen([campanha.pk, quiet.pk]) == [campanha.pk]
        campanha.refresh_from_db()
        quiet.refresh_from_db()
        assert (campanha.status, campanha.concluida_em) == ("ativa", None)
        assert quiet.status == "concluida"
        assert AuditEntry.objects.get(acao="campanha_reaberta").entidade_id == str(campanha.pk)

    @pytest.mark.parametrize("status", ["cancelada", "pausada", "ativa", "rascunho"])
    def test_any_other_state_stays(self, status: str):
        campanha = factories.campanha(status=status)
        factories.mensagem(campanha=campanha)
        assert lifecycle.reopen([campanha.pk]) == []
        campanha.refresh_from_db()
        assert campanha.status == status

    def test_with_nothing_left_open_it_ends_again(self):
        campanha = finished()
        message = factories.mensagem(campanha=campanha)
        lifecycle.reopen([campanha.pk])
        Mensagem.objects.filter(pk=message.pk).update(status="enviada")
        assert services.conclude_finished(now=NOW) == 1

    def test_a_row_opened_by_raw_sql_is_found_within_one_look(self):
        campanha = finished()
        message = factories.mensagem(campanha=campanha, status="erro")
        execute("UPDATE fila_mensagens SET status = 'pendente' WHERE id = %s", [message.id])
        services.conclude_finished(now=NOW)
        campanha.refresh_from_db()
        assert campanha.status == "ativa"

    def test_what_ended_long_ago_is_left_to_the_whole_look(self):
        campanha = finished(concluida_em=NOW - timedelta(days=30))
        factories.mensagem(campanha=campanha)
        services.conclude_finished(now=NOW)
        campanha.refresh_from_db()
        assert campanha.status == "concluida"
        assert upkeep.reopen_stranded() == 1


@pytest.mark.django_db(transaction=True)
def test_two_transactions_that_hold_the_same_campaign_never_wait_for_each_other() -> None:
    """Both hold it shared, as everybody who moves its messages, and both would open it: the next look does."""
    campanha = finished()
    first, second = factories.mensagem(campanha=campanha), factories.mensagem(campanha=campanha)
    Mensagem.objects.update(status="erro")
    both_hold, both_asked = Barrier(2, timeout=20), Barrier(2, timeout=20)
    reopened: list[list[int]] = []

    def open_again(message: Mensagem) -> None:
        try:
            with transaction.atomic():
                rows("SELECT id FROM campanhas WHERE id = %s FOR SHARE", [campanha.pk])
                both_hold.wait()
                execute("UPDATE fila_mensagens SET status = 'pendente' WHERE id = %s", [message.id])
                reopened.append(lifecycle.reopen([campanha.pk]))
                both_asked.wait()
        finally:
            connection.close()

    threads = [Thread(target=open_again, args=[message]) for message in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert reopened == [[], []]
    services.conclude_finished(now=NOW)
    campanha.refresh_from_db()
    assert campanha.status == "ativa"
