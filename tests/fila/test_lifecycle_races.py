"""Two people decide about one campaign at the same moment: one wins, the other is told, and no half of both is left."""

from collections.abc import Callable
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.db import connection

from core.audit.models import AuditEntry
from core.clock import database_now
from fila.campanhas import services
from fila.campanhas.errors import CampanhaConflict
from fila.models import Campanha, Mensagem, MensagemEvento
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

MOTIVO = "decidido no plantão de hoje"
ROUNDS = 8
MOVES: dict[str, Callable[[int, str], object]] = {
    "pause": lambda pk, who: services.pause(pk, motivo=MOTIVO, actor=who, now=database_now()),
    "resume": lambda pk, who: services.resume(pk, motivo=MOTIVO, actor=who, now=database_now()),
    "cancel": lambda pk, who: services.cancel(pk, motivo=MOTIVO, actor=who, now=database_now()),
    "begin": lambda pk, who: services.begin(pk, actor=who, now=database_now()),
}
STARTS_AS = {"pause": "ativa", "resume": "pausada", "cancel": "ativa", "begin": "rascunho"}
ENDS_AS = {"pause": "pausada", "resume": "ativa", "cancel": "cancelada", "begin": "ativa"}
SPEAKS_OF = {"pause": "a pausou", "resume": "a retomou", "cancel": "a cancelou", "begin": "a iniciou"}


def race(campanha: Campanha, *moves: str) -> dict[str, str]:
    """Each move in a thread and by a person of its own, let go together; what each was told, "" for who won."""
    together = Barrier(len(moves), timeout=20)
    told: dict[str, str] = {}

    def act(who: str, move: str) -> None:
        try:
            together.wait()
            MOVES[move](campanha.pk, who)
            told[who] = ""
        except CampanhaConflict as conflict:
            told[who] = conflict.sentence
        finally:
            connection.close()

    threads = [Thread(target=act, args=[f"pessoa{n}", move]) for n, move in enumerate(moves)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    campanha.refresh_from_db()
    return told


def entries(campanha: Campanha) -> list[str]:
    found = AuditEntry.objects.filter(entidade="campanha", entidade_id=str(campanha.pk), acao__startswith="campanha_")
    return list(found.order_by("created_at").values_list("acao", flat=True))


@pytest.mark.parametrize("move", MOVES)
def test_of_four_people_with_the_same_will_one_wins_and_three_are_told_who(move: str) -> None:
    for _ in range(ROUNDS):
        campanha = factories.campanha(status=STARTS_AS[move])
        told = race(campanha, *[move] * 4)
        (winner,) = [who for who, sentence in told.items() if not sentence]
        assert len(told) == 4
        assert campanha.status == ENDS_AS[move]
        assert len(entries(campanha)) == 1
        losers = [sentence for sentence in told.values() if sentence]
        assert all(f"{winner} {SPEAKS_OF[move]} (hoje, " in sentence for sentence in losers), losers


@pytest.mark.parametrize("other", ["pause", "resume"])
def test_cancelling_wins_over_pausing_and_resuming_in_any_order(other: str) -> None:
    """Who comes second to a cancelled campaign is told; who came first is overtaken. No row stays behind."""
    for _ in range(ROUNDS):
        campanha = factories.campanha(status=STARTS_AS[other])
        factories.mensagens(20, campanha=campanha)
        told = race(campanha, other, "cancel")
        assert told["pessoa1"] == ""
        assert campanha.status == "cancelada"
        assert set(Mensagem.objects.filter(campanha=campanha).values_list("status", flat=True)) == {"cancelada"}
        assert MensagemEvento.objects.filter(mensagem__campanha=campanha, tipo="cancelada").count() == 20
        if told["pessoa0"]:
            assert "está cancelada agora" in told["pessoa0"]
            assert entries(campanha) == ["campanha_cancelada"]
        else:
            assert entries(campanha)[-1] == "campanha_cancelada"


def test_pausing_and_resuming_at_once_leaves_the_will_of_the_last_who_could() -> None:
    for _ in range(ROUNDS):
        campanha = factories.campanha(status="ativa")
        told = race(campanha, "pause", "resume")
        assert told["pessoa0"] == ""
        assert campanha.status == ("pausada" if told["pessoa1"] else "ativa")
        if told["pessoa1"]:
            assert "só se retoma uma campanha pausada" in told["pessoa1"]


def test_starting_and_cancelling_at_once_leaves_no_message_waiting() -> None:
    for _ in range(ROUNDS):
        factories.clientes(3)
        campanha = factories.campanha(status="rascunho")
        told = race(campanha, "begin", "cancel")
        assert told["pessoa1"] == ""
        assert campanha.status == "cancelada"
        assert not Mensagem.objects.filter(campanha=campanha, status="pendente").exists()


def test_a_campaign_that_ends_while_it_is_paused_is_one_of_both() -> None:
    for _ in range(ROUNDS):
        campanha = factories.campanha(enfileirada_em=database_now())
        together = Barrier(2, timeout=20)
        concluded: list[int] = []

        def conclude(together: Barrier = together, concluded: list[int] = concluded) -> None:
            try:
                together.wait()
                concluded.append(services.conclude_finished(now=database_now()))
            finally:
                connection.close()

        thread = Thread(target=conclude)
        thread.start()
        together.wait()
        told = ""
        try:
            services.pause(campanha.pk, motivo=MOTIVO, actor="ana", now=database_now())
        except CampanhaConflict as conflict:
            told = conflict.sentence
        thread.join()
        campanha.refresh_from_db()
        assert (campanha.status, concluded) == (("concluida", [1]) if told else ("pausada", [0]))
        assert ("está concluída agora" in told) is bool(told)


def test_whoever_comes_much_later_is_told_the_state_alone() -> None:
    campanha = factories.campanha(status="ativa")
    services.pause(campanha.pk, motivo=MOTIVO, actor="ana", now=database_now())
    AuditEntry.objects.update(created_at=database_now() - timedelta(hours=1))
    with pytest.raises(CampanhaConflict) as refusal:
        services.pause(campanha.pk, motivo=MOTIVO, actor="bia", now=database_now())
    assert refusal.value.sentence.endswith("está pausada agora e só se pausa uma campanha ativa.")
