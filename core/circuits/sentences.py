"""Circuits in the operators' words."""

import re

from core.circuits.models import CircuitState, Forced

_REASONS = {
    "recuperado": "A sonda respondeu: voltou ao normal",
    "restricao_classificada": "O WhatsApp restringiu este chip",
    "reset_manual": "Uma pessoa fechou o circuito",
    "aberto_manual": "Uma pessoa abriu o circuito",
    "desligado_manual": "Uma pessoa desligou o circuito",
    "automatico_manual": "Uma pessoa devolveu o circuito ao automático",
}
_NUMBERED = (
    (r"muitas_falhas_([0-9]+)", "{} falhas seguidas"),
    (r"timeout_reset_([0-9]+)s", "Passaram os {} s de espera: uma sonda pode sair"),
    (r"falha_half_open_tentativa_([0-9]+)", "A sonda {} falhou"),
    (r"timeout_half_open_tentativa_([0-9]+)", "A sonda {} ficou sem resposta"),
)
_KINDS = {
    "timeout": "sem resposta no tempo",
    "network": "rede",
    "client_4xx": "pedido recusado (4xx)",
    "server_5xx": "erro do servidor (5xx)",
    "rede": "rede",
    "servidor": "erro do servidor",
    "sessao": "sessão do chip",
    "restricao": "restrição",
    "credencial": "credenciais recusadas",
    "desconhecido": "desconhecido",
}


def reason(code: str) -> str:
    """What a row of `circuit_transitions` tells; the code itself when it is none of ours."""
    if code in _REASONS:
        return _REASONS[code]
    for pattern, sentence in _NUMBERED:
        if found := re.fullmatch(pattern, code):
            return sentence.format(found[1])
    return code


def error_kind(code: str) -> str:
    return _KINDS.get(code, code)


def meaning(state: CircuitState, forced: Forced, *, is_chip: bool) -> str:
    """What this state does to messages now, and what happens next."""
    whose = "este chip" if is_chip else "este serviço"
    if forced is Forced.OPEN:
        return f"Nada passa por {whose} até uma pessoa fechar o circuito ou devolvê-lo ao automático."
    if forced is Forced.DISABLED:
        return f"Tudo passa por {whose} e nenhuma falha é contada, até uma pessoa devolver o circuito ao automático."
    if state is CircuitState.CLOSED:
        return f"Tudo passa por {whose}."
    if state is CircuitState.HALF_OPEN:
        return "Uma única chamada testa se voltou: se responder, o circuito fecha; se falhar, a espera dobra."
    waiting = "As mensagens dele" if is_chip else "As mensagens"
    return (
        f"Nada passa por {whose}. {waiting} vão por outro chip ou provedor que possa levá-las, ou esperam na fila sem "
        "penalidade. Depois da espera, uma única chamada testa se voltou."
    )
