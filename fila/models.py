"""Re-exports: Django looks for an app's models here."""

from fila.campanhas.models import Campanha, Destinatario
from fila.conversas.models import Conversa, ConversaChip, ConversaContexto, Interacao
from fila.mensagens import Mensagem, MensagemDlq, MensagemEvento, Reprocessamento

__all__ = [
    "Campanha",
    "Conversa",
    "ConversaChip",
    "ConversaContexto",
    "Destinatario",
    "Interacao",
    "Mensagem",
    "MensagemDlq",
    "MensagemEvento",
    "Reprocessamento",
]
