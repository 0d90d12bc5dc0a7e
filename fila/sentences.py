"""What a reason code means, in a sentence that an operator can act on."""

from core.outcomes import SendOutcome
from guardrails.choices import SENTENCES, ReasonCode

# Codes of the fila and of the providers (fila reference §1.8); those of the guardrails bring their own sentences.
_KNOWN: dict[str, str] = {
    "ok": "O provedor aceitou a mensagem.",
    "cancelada_por_operador": "Uma pessoa da equipe a cancelou. O motivo está na auditoria.",
    "campanha_cancelada": "A campanha foi cancelada.",
    "campanha_pausada": "A campanha está pausada. Retome a campanha para que a mensagem siga.",
    "campanha_concluida": "A campanha já tinha terminado.",
    "campanha_rascunho": "A campanha voltou a rascunho. Inicie a campanha para que a mensagem siga.",
    "campanha_agendada": "A campanha ainda não começou.",
    "lease_expirado": "O processo que enviava parou antes de registrar o resultado.",
    "sem_dono": "A linha foi mudada à mão enquanto a mensagem estava no fio.",
    "commit_em_duvida": "O banco não confirmou a reserva a tempo, então nada foi enviado nesta tentativa.",
    "expired_after_24h": "Passou de 24 horas além do horário planejado. Se ainda fizer sentido, crie um novo envio.",
    "content_hash_window": "O mesmo texto já foi enviado a esta pessoa há pouco tempo.",
    "no_capacity": "Nenhum chip podia levar a mensagem naquele momento. Ela volta sozinha; veja as recusas abaixo.",
    "rate_limit": "O limite global de envios foi atingido. A mensagem espera a próxima vaga, sem ação sua.",
    "circuit_open": "O circuito do provedor está aberto: nada é enviado até ele responder de novo.",
    "evolution_circuit_open": "O circuito da Evolution está aberto: a mensagem espera na fila, sem penalidade.",
    "worker_exception": "O worker encontrou um erro inesperado. Veja o log pelo código de correlação.",
    "not_on_whatsapp": "O número não existe no WhatsApp. Corrija o telefone no cadastro e crie um novo envio.",
    "account_restricted": "O WhatsApp restringiu este chip. Bloqueie o chip e veja a página dele.",
    "banned": "O WhatsApp baniu este chip. Ele não envia mais.",
    "blocked": "O WhatsApp bloqueou o envio por este chip.",
    "blocked_by_user": "O médico bloqueou o número que enviou.",
    "spam_detected": "O WhatsApp tratou a mensagem como spam. Revise o texto e bloqueie o chip.",
    "privacy_settings": "As configurações de privacidade do médico impedem a mensagem.",
    "rate_limited": "O provedor pediu para enviar mais devagar. O chip descansa e a mensagem tenta de novo.",
    "not_connected": "O chip estava desconectado do WhatsApp. Reconecte-o na página do chip.",
    "instance_not_found": "O provedor não conhece a instância deste chip. Confira o nome da instância.",
    "route_not_found": "O endereço do provedor está errado. Confira a configuração do provedor.",
    "credentials_rejected": "O provedor recusou as credenciais. Troque-as na página do chip.",
    "credentials_missing": "Faltam credenciais do chip. Preencha-as na página do chip.",
    "request_rejected": "O provedor recusou o pedido.",
    "request_invalid": "O provedor considerou o pedido inválido.",
    "withdrawn": "O envio foi desfeito antes de sair, porque algo mudou no último instante.",
    "timeout": "O provedor não respondeu a tempo.",
    "network_error": "A conexão com o provedor falhou.",
    "server_error": "O provedor respondeu com erro interno.",
    "invalid_reply": "O provedor respondeu algo que não se entende.",
    "unknown": "O provedor não disse o motivo.",
    "error_ack": "O WhatsApp avisou que a mensagem não foi entregue.",
}


def reason_sentence(code: str | None, outcome: str | None = None) -> str:
    """The sentence for an `outcome_reason_code` (`base` or `base:detail`); else the outcome's label, else the code."""
    code = code or ""
    base, _, detail = code.partition(":")
    for candidate in (code, base):
        if candidate in _KNOWN:
            return _with_detail(_KNOWN[candidate], detail if candidate != code else "")
        if candidate in ReasonCode.values:
            return SENTENCES[ReasonCode(candidate)]
    if outcome in SendOutcome.values:
        return _with_detail(f"{SendOutcome(outcome).label}.", code)
    return f"Motivo registrado: {code}." if code else ""


_INTERNAL_DETAILS = frozenset({"duplicata", "insert_failed", "chips_no_limite", "limite_global", "queued_for_retry"})


def _with_detail(sentence: str, detail: str) -> str:
    return f"{sentence} (Detalhe: {detail})" if detail and detail not in _INTERNAL_DETAILS else sentence
