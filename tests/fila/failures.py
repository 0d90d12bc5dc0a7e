"""Messages that ended for good, with their rows in the DLQ."""

from typing import Any

from fila.models import Mensagem, MensagemDlq
from fila.returns import to_dlq
from tests import factories
from tests.fila.held import attempt_of


def failed(*, quarentena: bool = False, attempts: tuple[str, ...] = (), **values: Any) -> MensagemDlq:
    """One failure. `attempts`: the results of the attempts that it had."""
    defaults = {"outcome": "FAILED_PROVIDER", "outcome_reason_code": "network_error", "tentativas": 3}
    message = factories.mensagem(status="erro", **(defaults | values))
    for result in attempts:
        attempt_of(message, resultado=result)
    return in_dlq(message, quarentena=quarentena)


def in_dlq(message: Mensagem, **values: Any) -> MensagemDlq:
    to_dlq([message.pk])
    MensagemDlq.objects.filter(mensagem_original=message).update(**values)
    return MensagemDlq.objects.get(mensagem_original=message)


def failures(count: int, **values: Any) -> list[MensagemDlq]:
    defaults = {"outcome": "FAILED_PROVIDER", "outcome_reason_code": "network_error", "tentativas": 3}
    messages = factories.mensagens(count, status="erro", **(defaults | values))
    to_dlq([message.pk for message in messages])
    return list(MensagemDlq.objects.filter(mensagem_original__in=messages).order_by("id"))
