"""What the log says of each message: always under the message's own correlation id, whatever batch it was in."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chips.providers.base import Verdict
from core import correlation
from core.logging import get_logger
from core.outcomes import SendOutcome

if TYPE_CHECKING:
    from fila.dispatch import OpenAttempt
    from fila.results import Settled
    from fila.settle import Step

log = get_logger("fila.envio")

_OUTCOMES = {Verdict.ACEITA: "enviado", Verdict.NAO_ENVIADA: "rejeitado", Verdict.DESCONHECIDA: "desconhecido"}


@contextmanager
def work_of(attempt: "OpenAttempt") -> Iterator[None]:
    """Lines inside go by the message's correlation id, tell whose it is, and quote none of its text."""
    message = attempt.mensagem
    with correlation.use(message.correlation_id):
        correlation.note(
            mensagem_id=message.id, campanha_id=message.campanha_id, cliente_id=message.cliente_id,
            conversa_id=message.conversa_id, chip_id=attempt.chip_id, tentativa=attempt.id,
            provider=attempt.provider, phone=message.telefone_destino,
        )  # fmt: skip
        correlation.hide(message.conteudo)
        yield


def tell(results: "Sequence[tuple[Settled, Step]]") -> None:
    """One line per result that was written. Fixed texts: operators search the log for them (jobs reference §6.1)."""
    for one, step in results:
        with work_of(one.attempt):
            resultado = _OUTCOMES[one.result.verdict]
            if one.result.verdict is Verdict.ACEITA:
                log.info("message sent", etapa="send", resultado=resultado, outcome=SendOutcome.SENT.value,
                         ms=one.duracao_ms, mensagem_provedor=one.result.provider_message_id)  # fmt: skip
                continue
            log.warning(
                "Z-API message send failed", etapa="process_message", resultado=resultado,
                outcome=step.outcome.value if step.outcome else None, error=step.motivo, ms=one.duracao_ms,
                retry=step.until.isoformat() if step.until else None,
            )  # fmt: skip
