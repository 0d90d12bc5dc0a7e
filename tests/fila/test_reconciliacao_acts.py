"""What people may decide about a message that nobody knows about, and what time decides after a day."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from chips.models import Chip, EventoRecebido, Tentativa
from chips.providers.base import Code, ErrorKind, Fault
from core.audit.services import MotivoMissing
from core.clock import database_now
from core.database import execute
from core.models import AuditEntry
from core.rights import Role
from fila.conversas.opt_out import opt_out
from fila.models import Campanha, Interacao, Mensagem, MensagemDlq
from fila.reconciliacao import acts, prazo
from fila.reconciliacao.acts import Recusada, _locked
from fila.reconciliacao.buscas import plan_unknown
from fila.timeline import timeline
from guardrails.models import DoctorState
from tests import factories
from tests.chips.results import unknown
from tests.fila.attempts import look, open_one, settle_as
from tests.fila.reconciling import age, attempt_of, holding, status_of, told
from tests.fila.test_reconciliacao_ecos import echo
from tests.fila.webhooks import receipt, receive
from tests.julia.backoffice import logged_in

pytestmark = pytest.mark.django_db
with_processes = pytest.mark.django_db(transaction=True)

UNKNOWN = unknown(ErrorKind.TIMEOUT, Fault.PROVEDOR, Code.TIMEOUT, "sem resposta em 70 s")
T0 = datetime(2026, 3, 3, 16, 0, tzinfo=UTC)  # 13:00 in Brasília
MOTIVO = "vi no celular do chip"


@pytest.fixture
def chip(open_operation: None) -> Chip:
    return factories.chip()


def lost(*, minutes: float = 8, searches: int = 1, **values: object) -> Mensagem:
    """A message whose call nobody answered, `minutes` ago, and for which the provider was asked `searches` times."""
    message = factories.mensagem(**values)
    message.refresh_from_db()
    settle_as(UNKNOWN, open_one())
    age(message, minutes=minutes)
    Tentativa.objects.filter(origem_id=message.pk).update(buscas=searches)
    return message


def confirm(message: Mensagem, actor: str = "ana") -> str:
    return acts.confirm_sent(message.pk, actor=actor, motivo=MOTIVO, now=database_now())


def resend(message: Mensagem, actor: str = "ana") -> str:
    return acts.resend(message.pk, actor=actor, motivo=MOTIVO, now=database_now())


# --- it was sent


def test_a_person_confirms_that_it_was_sent(chip: Chip) -> None:
    campanha = factories.campanha()
    message = lost(minutes=3, searches=0, campanha=campanha)
    assert "conta como enviada" in confirm(message)
    message.refresh_from_db()
    attempt, entry = attempt_of(message), AuditEntry.objects.get(acao="fila_incerta_enviada")
    assert (message.status, message.outcome, message.outcome_reason_code) == (
        "enviada", "SENT", "confirmada_por_operador",
    )  # fmt: skip
    assert (attempt.resultado, attempt.evidencia) == ("enviado", "operador")
    assert (entry.usuario, entry.motivo, entry.entidade_id) == ("ana", MOTIVO, str(message.pk))
    assert DoctorState.objects.get(cliente=message.cliente).last_touch_campaign_id == campanha.pk
    assert Interacao.objects.filter(mensagem=message).exists()


def test_the_key_of_what_a_person_confirmed_is_learned_from_a_late_echo(chip: Chip) -> None:
    message = lost(minutes=3)
    confirm(message)
    receive(chip, echo(message, "3EB0LATE"))
    receive(chip, receipt("READ", "3EB0LATE"))
    message.refresh_from_db()
    assert (message.provider_message_id, message.delivery_status) == ("3EB0LATE", "read")
    assert Interacao.objects.get(mensagem=message).delivery_status == "read"
    assert set(EventoRecebido.objects.values_list("status", flat=True)) == {"processado"}


# --- it was not


def test_a_person_sends_it_again(chip: Chip) -> None:
    message = lost(campanha=factories.campanha())
    assert "voltou para a fila" in resend(message)
    message.refresh_from_db()
    chip.refresh_from_db()
    attempt, entry = attempt_of(message), AuditEntry.objects.get(acao="fila_incerta_reenviada")
    assert (message.status, message.tentativas, message.tentativa_aberta_id) == ("pendente", 0, None)
    assert (attempt.resultado, attempt.evidencia) == ("rejeitado", "operador")
    assert entry.motivo == MOTIVO
    assert message.expira_em is not None
    assert (chip.peso_dia, message.expira_em > database_now() + timedelta(hours=23)) == (0, True)
    assert [each.mensagem.id for each in look()] == [message.pk]
    assert told(message)[-1] == "reenvio_por_operador"


@pytest.mark.parametrize(
    ("age_s", "searches", "sentence"),
    [
        (0, 0, "Ainda é cedo para reenviar: libera hoje, 13:06, depois da busca no provedor."),
        (394, 1, "Ainda é cedo para reenviar: libera hoje, 13:06."),
        (395, 0, "Ainda falta uma busca respondida pelo provedor"),
        (395, 1, ""),
    ],
)
def test_sending_again_unlocks_after_the_longest_call_five_minutes_and_a_search(
    age_s: int, searches: int, sentence: str
) -> None:
    found = _locked("evolution", T0, searches, None, T0 + timedelta(seconds=age_s))
    assert found.startswith(sentence)
    assert bool(found) is bool(sentence)


def test_a_provider_that_cannot_be_searched_only_needs_the_time() -> None:
    assert _locked("outro", T0, 0, None, T0 + timedelta(seconds=395)) == ""


def test_the_sentence_names_the_next_search() -> None:
    now = T0 + timedelta(minutes=10)
    found = _locked("evolution", T0, 0, T0 + timedelta(minutes=15), now)
    assert found.endswith("A próxima é hoje, 13:15.")


@pytest.mark.parametrize(("minutes", "searches"), [(2, 1), (8, 0)])
def test_while_it_is_locked_nothing_changes(chip: Chip, minutes: float, searches: int) -> None:
    message = lost(minutes=minutes, searches=searches)
    with pytest.raises(Recusada):
        resend(message)
    assert (status_of(message), attempt_of(message).resultado) == ("incerta", "desconhecido")
    assert not AuditEntry.objects.filter(acao="fila_incerta_reenviada").exists()


@pytest.mark.parametrize(("how", "status", "said"), [
    ("cancelled", "cancelada", "campanha dela foi cancelada"), ("opted_out", "bloqueada", "pediu para sair"),
])  # fmt: skip
def test_campaign_and_opt_out_still_decide(chip: Chip, how: str, status: str, said: str) -> None:
    message = lost(campanha=factories.campanha())
    if how == "cancelled":
        Campanha.objects.update(status="cancelada")
    else:
        opt_out(message.cliente_id, origem="operador", motivo="pediu por telefone", actor="ana", now=database_now())
    assert said in resend(message)
    assert status_of(message) == status


def test_what_was_reprocessed_is_not_sent_again_too(chip: Chip) -> None:
    message = lost()
    factories.mensagem(cliente=message.cliente, reprocessa_de=message)
    with pytest.raises(Recusada, match="já foi reprocessada"):
        resend(message)
    assert status_of(message) == "incerta"


def test_a_motivo_is_needed(chip: Chip) -> None:
    message = lost()
    for act in (acts.confirm_sent, acts.resend):
        with pytest.raises(MotivoMissing):
            act(message.pk, actor="ana", motivo="curto", now=database_now())
    assert status_of(message) == "incerta"


# --- two people, or a person and a proof


def test_who_comes_second_is_told_what_happened(chip: Chip) -> None:
    message = lost()
    confirm(message)
    with pytest.raises(Recusada, match="decidiu antes: a mensagem está como enviada"):
        resend(message)
    assert status_of(message) == "enviada"


def test_a_proof_that_came_before_the_press_wins(chip: Chip) -> None:
    message = lost()
    receive(chip, echo(message))
    with pytest.raises(Recusada, match="decidiu antes"):
        resend(message)


@with_processes
def test_of_two_people_at_once_exactly_one_wins(chip: Chip) -> None:
    message = lost()
    results: list[str] = []
    start = threading.Barrier(4)

    def decide(act: object, actor: str) -> None:
        try:
            start.wait()
            results.append(act(message, actor))  # type: ignore[operator]
        except Recusada as refusal:
            results.append(f"recusada: {refusal}")
        finally:
            connection.close()

    threads = [
        threading.Thread(target=decide, args=(act, name))
        for act, name in ((confirm, "ana"), (resend, "bia"), (confirm, "caio"), (resend, "davi"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(not result.startswith("recusada") for result in results) == 1
    assert all("decidiu antes" in result or "em uso" in result for result in results if result.startswith("recusada"))
    assert AuditEntry.objects.filter(acao__startswith="fila_incerta").count() == 1
    assert Tentativa.objects.filter(origem_id=message.pk).count() == 1


@with_processes
def test_while_somebody_holds_the_row_the_person_is_asked_to_try_again(chip: Chip) -> None:
    message = lost()
    with holding("SELECT 1 FROM fila_mensagens FOR UPDATE"), pytest.raises(Recusada, match="em uso neste instante"):
        confirm(message)
    assert status_of(message) == "incerta"


# --- after a day


@pytest.mark.parametrize(("hours", "status"), [(23.9, "incerta"), (24.1, "erro")])
def test_after_24_hours_without_evidence_it_ends_visibly(chip: Chip, hours: float, status: str) -> None:
    message = lost(minutes=hours * 60)
    prazo.end_overdue()
    assert status_of(message) == status
    assert MensagemDlq.objects.filter(mensagem_original=message, outcome="FAILED_UNKNOWN").exists() is (hours > 24)


def ended() -> Mensagem:
    message = lost(minutes=25 * 60)
    assert prazo.end_overdue() == 1
    return message


def test_its_attempt_stays_unknown_and_it_is_never_sent_again(chip: Chip) -> None:
    message = ended()
    attempt = attempt_of(message)
    assert (attempt.resultado, attempt.evidencia) == ("desconhecido", "prazo")
    assert (plan_unknown(), prazo.end_overdue(), look()) == (0, 0, [])
    assert (status_of(message), message.outcome, told(message)[-1]) == ("erro", "FAILED_UNKNOWN", "sem_evidencia_24h")


def test_an_update_by_hand_does_not_send_it_either(chip: Chip) -> None:
    message = ended()
    execute("UPDATE fila_mensagens SET status = 'pendente'")
    assert (status_of(message), look()) == ("incerta", [])
    assert prazo.end_overdue() == 1
    assert MensagemDlq.objects.count() == 1


@pytest.mark.parametrize(("act", "status"), [(confirm, "enviada"), (resend, "pendente")])
def test_a_person_may_still_decide_afterwards(chip: Chip, act: object, status: str) -> None:
    message = ended()
    act(message)  # type: ignore[operator]
    assert (status_of(message), MensagemDlq.objects.count()) == (status, 0)


@with_processes
def test_a_row_that_lost_its_attempt_ends_too(chip: Chip) -> None:
    message = factories.mensagem()
    execute("ALTER TABLE fila_mensagens DISABLE TRIGGER fila_volta_guardada")
    execute("UPDATE fila_mensagens SET status = 'incerta', updated_at = agora() - interval '25 hours'")
    execute("ALTER TABLE fila_mensagens ENABLE TRIGGER fila_volta_guardada")
    assert (prazo.end_overdue(), status_of(message)) == (1, "erro")


# --- the page


@pytest.fixture
def supervisor() -> Client:
    return logged_in(Role.SUPERVISAO)


def act_url(message: Mensagem, act: str) -> str:
    return reverse("admin:fila_mensagem_act", args=[message.pk, act])


def test_the_page_offers_both_and_says_when_it_unlocks(chip: Chip, supervisor: Client) -> None:
    message = lost(minutes=2, searches=0)
    page = supervisor.get(reverse("admin:fila_mensagem_change", args=[message.pk])).content.decode()
    assert "Foi enviada" in page
    assert "Não foi: reenviar" in page
    asked = supervisor.get(act_url(message, "reenviar")).content.decode()
    assert "depois da busca no provedor" in asked
    answer = supervisor.post(act_url(message, "reenviar"), {"motivo": MOTIVO}, follow=True).content.decode()
    assert "Ainda é cedo para reenviar" in answer
    assert status_of(message) == "incerta"


def test_the_press_does_it_and_the_story_names_who(chip: Chip, supervisor: Client) -> None:
    message = lost()
    answer = supervisor.post(act_url(message, "foi-enviada"), {"motivo": MOTIVO}, follow=True).content.decode()
    assert "conta como enviada" in answer
    assert status_of(message) == "enviada"
    (entry,) = [entry for entry in timeline(message) if entry.title == "Resultado confirmado"]
    assert entry.details == ("por supervisao",)


@pytest.mark.parametrize("role", [Role.LEITURA, Role.OPERACAO])
def test_others_may_not(chip: Chip, role: Role) -> None:
    message = lost()
    client = logged_in(role)
    for act in ("foi-enviada", "reenviar"):
        assert client.post(act_url(message, act), {"motivo": MOTIVO}).status_code == 403
    page = client.get(reverse("admin:fila_mensagem_change", args=[message.pk])).content.decode()
    assert "reenviar/" not in page
    assert status_of(message) == "incerta"


def test_a_message_that_is_known_offers_neither(chip: Chip, supervisor: Client) -> None:
    message = factories.mensagem()
    page = supervisor.get(reverse("admin:fila_mensagem_change", args=[message.pk])).content.decode()
    assert "Não foi: reenviar" not in page
