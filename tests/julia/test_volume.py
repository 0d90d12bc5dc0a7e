"""The invented database: as lawful as one that grew, and never in a place that matters."""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from pytest_django.plugin import DjangoDbBlocker

from core.clientes import names, phones
from core.clientes.ddd import zone_for
from core.clientes.models import Cliente
from core.database import rows
from core.outcomes import SendOutcome
from fila.campanhas.status import summary
from fila.choices import CampanhaStatus, Status
from fila.models import Campanha, Destinatario, Mensagem
from fila.timeline import timeline
from julia import volume

SIZE = volume.Size.of(6_000)
NEVER_BY_CHANCE = {
    SendOutcome.BLOCKED_DEV_ALLOWLIST,
    SendOutcome.BYPASS,
    SendOutcome.FAILED_TIMEOUT,
    SendOutcome.FAILED_UNKNOWN,
}


def count(sql: str) -> int:
    return int(rows(f"SELECT count(*) AS n FROM {sql}")[0]["n"])


@pytest.fixture(scope="class")
def built(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Built once, in a transaction around all tests of a class, and gone after it."""
    with django_db_blocker.unblock(), transaction.atomic():
        volume.build(SIZE)
        yield
        transaction.set_rollback(True)


@pytest.mark.django_db
@pytest.mark.usefixtures("built")
class TestWhatWasBuilt:
    def test_it_makes_as_many_of_each_as_asked(self) -> None:
        ended = Mensagem.objects.exclude(status=Status.PENDENTE).count()
        waiting = Mensagem.objects.filter(status=Status.PENDENTE).count()
        assert ended + waiting == SIZE.mensagens + SIZE.pendentes
        assert abs(waiting - SIZE.pendentes) < SIZE.pendentes / 10  # who left meanwhile is blocked, not waiting
        assert Cliente.objects.count() == SIZE.medicos
        assert count("chips") == SIZE.chips
        assert Campanha.objects.count() == SIZE.campanhas

    def test_every_status_and_outcome_occurs(self) -> None:
        found = set(Mensagem.objects.values_list("status", flat=True).distinct())
        assert found == set(Status.values) - {Status.PROCESSANDO}
        outcomes = set(Mensagem.objects.exclude(outcome=None).values_list("outcome", flat=True).distinct())
        assert set(SendOutcome.values) - outcomes <= NEVER_BY_CHANCE
        assert set(Campanha.objects.values_list("status", flat=True)) == set(CampanhaStatus.values)

    def test_what_happened_to_a_message_is_told_the_same_way_everywhere(self) -> None:
        sent_without_attempt = """fila_mensagens m WHERE status = 'enviada' AND NOT EXISTS (SELECT 1
            FROM envios_tentativas t WHERE t.origem_id = m.id AND t.resultado = 'enviado'
                AND t.provider_message_id = m.provider_message_id)"""
        unknown_without_open_attempt = """fila_mensagens m WHERE status = 'incerta' AND NOT EXISTS (SELECT 1
            FROM envios_tentativas t WHERE t.id = m.tentativa_aberta_id AND t.resultado = 'desconhecido')"""
        waiting_after_opt_out = """fila_mensagens m JOIN doctor_state d ON d.cliente_id = m.cliente_id
            WHERE m.status = 'pendente' AND d.permission_state = 'opted_out'"""
        told_too_late = "fila_mensagens WHERE outcome_at > agora() OR created_at > agora() OR enviada_em < created_at"
        failed_without_dlq = """fila_mensagens m WHERE status = 'erro'
            AND NOT EXISTS (SELECT 1 FROM fila_mensagens_dlq d WHERE d.mensagem_original_id = m.id)"""
        lies = (sent_without_attempt, unknown_without_open_attempt, waiting_after_opt_out, told_too_late)
        for lie in (*lies, failed_without_dlq):
            assert count(lie) == 0, lie

    def test_a_campaign_adds_up(self) -> None:
        for campanha in Campanha.objects.all():
            numbers = summary(campanha.pk)
            excluded = Destinatario.objects.filter(campanha=campanha, estado="excluido").count()
            assert numbers["audiencia"] == campanha.total_destinatarios
            assert sum(campanha.excluidas.values()) == excluded
            assert (numbers["pendentes"] > 0) <= (campanha.status in (CampanhaStatus.ATIVA, CampanhaStatus.PAUSADA))

    def test_people_are_as_an_import_would_have_made_them(self) -> None:
        for cliente in random.Random(7).sample(list(Cliente.objects.all()), 50):
            assert phones.parse(cliente.telefone).e164 == cliente.telefone
            assert cliente.nome_busca == names.search_key(cliente.nome)
            assert cliente.fuso == zone_for(cliente.telefone).key

    def test_every_message_has_a_story(self) -> None:
        for status in set(Status) - {Status.PROCESSANDO}:
            message = Mensagem.objects.filter(status=status).order_by("id")[:1].get()
            assert timeline(message)


@pytest.mark.django_db(transaction=True)
def test_a_second_volume_comes_beside_the_first() -> None:
    volume.build(SIZE)
    volume.build(SIZE)
    assert Cliente.objects.count() == 2 * SIZE.medicos
    assert count("fila_mensagens") == 2 * (SIZE.mensagens + SIZE.pendentes)


@pytest.mark.django_db(transaction=True)
def test_an_interrupted_run_leaves_nothing() -> None:
    def stop(step: volume.Step) -> None:
        if step.nome == "conversas e mensagens":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        volume.build(SIZE, report=stop)
    assert Cliente.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_the_command_reports_rows_per_second_and_leaves_fresh_statistics(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("carregar_volume", "--mensagens", "2000", "--mesmo-assim")
    assert "linhas/s" in capsys.readouterr().out
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE relname = 'fila_mensagens'")
        assert cursor.fetchone()[0] == 2_200


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (replace(SIZE, campanhas=3), "pelo menos 8 campanhas"),
        (replace(SIZE, medicos=100), "só haveria 100 médicos"),
        (replace(SIZE, chips=10**9), "números inventados"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_before_anything_is_written(size: volume.Size, text: str) -> None:
    with pytest.raises(volume.Impossible, match=text):
        volume.campaigns(size)


def test_production_is_refused_whatever_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PRODUCTION", True)
    with pytest.raises(CommandError, match="produção"):
        call_command("carregar_volume", "--mensagens", "10", "--mesmo-assim")


def test_a_database_of_somebody_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://julia@db.example.org/julia")
    with pytest.raises(CommandError, match="--mesmo-assim"):
        call_command("carregar_volume", "--mensagens", "10")
