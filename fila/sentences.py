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
    "travada_60min": "Ficou mais de 60 minutos em envio sem resultado, e nada dela estava no fio.",
    "travada": "Ficou tempo demais em envio sem resultado, e nada dela estava no fio.",
    "quarentena": (
        "Os workers que a pegaram morreram com ela na mão. Veja as evidências em Falhas definitivas e corrija a causa "
        "antes de reprocessar."
    ),
    "reprocessada": "Foi reprocessada: uma nova mensagem, ligada a esta, tenta de novo.",
    "expired_after_24h": "Passou de 24 horas além do horário planejado. Se ainda fizer sentido, crie um novo envio.",
    "expired": "Passou do prazo que uma pessoa deu além do horário planejado. Se ainda fizer sentido, crie um novo "
    "envio.",
    "original_entregue": "A mensagem original chegou afinal: esta, que ia no lugar dela, não é mais necessária.",
    "content_hash_window": "O mesmo texto já foi enviado a esta pessoa há pouco tempo.",
    "no_capacity": "Nenhum chip podia levar a mensagem naquele momento. Ela volta sozinha; veja as recusas abaixo.",
    "no_capacity:frota_doente": "Quase toda a frota está fora: o que a Julia inicia espera. Confira os chips.",
    "no_capacity:chips_no_limite": "Os chips chegaram aos seus limites da hora ou do dia. A mensagem espera a próxima "
    "vaga.",
    "no_capacity:chips_em_descanso": "Os chips estão em descanso depois de falhas. A mensagem volta sozinha.",
    "no_capacity:chips_desconectados": "Os chips estão desconectados do WhatsApp. Reconecte um deles em Chips.",
    "no_capacity:chip_da_conversa": "O chip desta conversa descansa ou aguarda o intervalo. A mensagem espera por ele.",
    "no_capacity:sem_chip": "Nenhum chip em produção pode levar este tipo de mensagem. Veja em Chips por quê.",
    "rate_limit": "O limite global de envios foi atingido. A mensagem espera a próxima vaga, sem ação sua.",
    "circuit_open": "O circuito do provedor está aberto: nada é enviado até ele responder de novo.",
    "circuit_open:chip": "Os chips falharam várias vezes seguidas e descansam; cada um volta com uma única mensagem de "
    "teste.",
    "evolution_circuit_open": "O circuito da Evolution está aberto: a mensagem espera na fila, sem penalidade.",
    "zapi_circuit_open": "O circuito da Z-API está aberto: a mensagem espera na fila, sem penalidade.",
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
    "evidencia_eco": "O provedor avisou por conta própria que a enviou: ela conta como enviada.",
    "evidencia_recibo": "O provedor confirmou um passo da entrega dela: ela conta como enviada.",
    "evidencia_busca": "O provedor guarda exatamente esta mensagem entre as enviadas: ela conta como enviada.",
    "evidencia_fila_zapi": "A fila da Z-API mostrou o que foi feito dela.",
    "evidencia_tardia": "A prova de que chegou veio depois: ela conta como enviada e não será enviada de novo.",
    "evidencia_nao_enviada": "Ficou provado que ela não saiu.",
    "confirmada_por_operador": "Uma pessoa da equipe confirmou que ela foi enviada. O motivo está na auditoria.",
    "reenvio_por_operador": "Uma pessoa da equipe verificou que ela não saiu e a mandou de novo. O motivo está na "
    "auditoria.",
    "sem_evidencia_24h": "Em 24 horas nada provou que ela saiu nem que não saiu. Confira no celular do chip e decida "
    "aqui: foi enviada, ou não foi.",
    "busca_sem_resultado": "O provedor não a tem entre as enviadas. Isso não prova que não saiu: a busca se repete.",
    "busca_varias": "O provedor guarda mais de uma mensagem igual: não dá para saber qual é esta.",
    "busca_incompleta": "O provedor não mostrou tudo o que guarda: a busca se repete.",
    "busca_falhou": "O provedor não respondeu à busca: ela se repete em minutos.",
    "fila_zapi_consultada": "Ela não está na fila da Z-API. Isso não prova que saiu nem que não saiu.",
    "fila_zapi_retirada": "Foi retirada da fila da Z-API. Se em cinco minutos não vier prova de que tinha saído, conta "
    "como não enviada.",
    "fila_zapi_apagada": "Ainda esperava na fila da Z-API e foi apagada de lá sem ter saído.",
    "entrega_desconhecida": "A Z-API não soube dizer se entregou a mensagem ao WhatsApp.",
    "entregue_apos_reenvio": "Uma tentativa que constava como não entregue chegou afinal, e a mensagem já tinha sido "
    "enviada de novo: o médico pode tê-la recebido duas vezes.",
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
