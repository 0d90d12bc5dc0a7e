"""The audit trail: an entry commits with its act, says who and why, and carries the correlation id."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction

from core import correlation
from core.audit import services as audit
from core.audit.models import AuditEntry

pytestmark = pytest.mark.django_db

ACT = ("cliente_desbloqueado", "cliente", "42")


@pytest.mark.django_db(transaction=True)
def test_an_entry_outside_the_transaction_of_its_act_is_refused() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        audit.record(*ACT, usuario="ana")


@pytest.mark.django_db(transaction=True)
def test_an_entry_disappears_with_the_act_that_was_rolled_back() -> None:
    with transaction.atomic():
        audit.record(*ACT, usuario="ana")
        transaction.set_rollback(True)
    assert not AuditEntry.objects.exists()


def test_an_entry_says_who_what_why_and_under_which_correlation_id() -> None:
    user = User(username="ana")
    with correlation.use("abc12345"):
        entry = audit.record(
            *ACT, usuario=user, motivo="paciente pediu retorno", detalhes={"antes": "x"}, ip="127.0.0.1"
        )
    stored = AuditEntry.objects.get(pk=entry.pk)
    assert (stored.acao, stored.entidade, stored.entidade_id) == ACT
    assert (stored.usuario, stored.motivo, stored.correlation_id) == ("ana", "paciente pediu retorno", "abc12345")
    assert (stored.detalhes, stored.ip_address) == ({"antes": "x"}, "127.0.0.1")


def test_an_entry_carries_the_given_instant_or_the_databases() -> None:
    at = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
    assert AuditEntry.objects.get(pk=audit.record(*ACT, usuario="ana", now=at).pk).created_at == at
    assert AuditEntry.objects.get(pk=audit.record(*ACT, usuario="ana").pk).created_at > at


@pytest.mark.parametrize("nobody", ["", AnonymousUser()])
def test_somebody_must_have_done_it(nobody: audit.Actor) -> None:
    with pytest.raises(ValueError, match="somebody"):
        audit.record(*ACT, usuario=nobody)


@pytest.mark.parametrize(
    ("motivo", "lawful"), [("123456789", False), ("1234567890", True), (" " * 20, False), ("x" * 501, False)]
)
def test_a_motivo_has_ten_to_five_hundred_characters(motivo: str, lawful: bool) -> None:
    if lawful:
        assert audit.check_motivo(f"  {motivo} ") == motivo
    else:
        with pytest.raises(audit.MotivoMissing):
            audit.check_motivo(motivo)
