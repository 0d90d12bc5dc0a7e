"""A chip's connection as operators read it: one badge, what is behind it, and what to do when it is not well."""

from collections.abc import Iterator
from datetime import datetime

from django.utils.safestring import SafeString

from chips.choices import ConexaoEstado
from chips.models import Chip
from chips.monitor.rules import CONFIRMED_AFTER, SILENT_FOR, ResultadoVerificacao
from chips.monitor.services import Check
from core.backoffice import moments, ui

_WHY_SILENT = {
    "credencial": "a chave foi recusada ou falta",
    "rate_limit": "o provedor pediu para esperar",
    "sessao": "a instância não está carregada no servidor",
    "servidor": "o servidor respondeu com erro",
    "rede": "não houve ligação com o servidor",
    "timeout": "o servidor não respondeu a tempo",
}


def badge(chip: Chip, now: datetime) -> SafeString:
    """What is known last; the silence of the provider and a mute chip are states of their own."""
    text, tone = _words(chip)
    since = _since(chip)
    if tone is ui.Tone.OK or since is None:
        return ui.badge(text, tone)
    return ui.badge(f"{text} {moments.relative(since, now)}", tone, f"desde {moments.exact(since)}")


def _since(chip: Chip) -> datetime | None:
    if chip.sessao_encerrada_em is not None:
        return chip.sessao_encerrada_em
    if not chip.evolution_connected:
        return chip.disconnected_since
    return chip.conexao_sem_resposta_desde if chip.conexao_sem_resposta >= CONFIRMED_AFTER else chip.conexao_desde


def _words(chip: Chip) -> tuple[str, ui.Tone]:
    if chip.sessao_encerrada_em is not None:
        return "Sessão encerrada", ui.Tone.BAD
    silent = chip.conexao_sem_resposta >= CONFIRMED_AFTER
    if not chip.evolution_connected:
        return ("Desconectado (provedor sem resposta)" if silent else "Desconectado"), ui.Tone.BAD
    if silent:
        return "Sem resposta do provedor", ui.Tone.WARN
    if chip.conexao_estado == ConexaoEstado.CONECTADO_MAS_MUDO:
        return "Conectado, mas mudo", ui.Tone.WARN
    return "Conectado", ui.Tone.OK


def facts_of(chip: Chip, now: datetime) -> list[tuple[str, SafeString]]:
    """Since when, last check, last send, last echo."""
    since = chip.conexao_desde if chip.evolution_connected else (chip.disconnected_since or chip.conexao_desde)
    return [
        ("Conexão desde", ui.moment(since, now, empty="ainda não se sabe")),
        ("Última verificação", ui.moment(chip.conexao_verificada_em, now, empty="nenhuma ainda")),
        ("Último envio aceito", ui.moment(chip.ultimo_envio_em, now, empty="nenhum")),
        ("Último eco ou recibo", ui.moment(chip.conexao_eco_em, now, empty="nenhum visto")),
    ]


_ENDED = (
    "Reconecte o número pelo QR code no provedor. Depois disso ele continua pausado até a administração mudar a "
    "situação em Editar."
)
_DOWN = (
    "{falhas} verificações seguidas o encontraram fora. Confira no celular se há internet e se a Julia ainda está em "
    "Aparelhos conectados; se não, leia o QR code no provedor. Ao voltar, ele envia de novo sem ação sua."
)
_MUTE = (
    "O provedor diz que está conectado, mas há mais de {minutos} minutos nenhum eco nem recibo volta do que ele envia. "
    "Confira no celular se as mensagens saíram, e no provedor se os webhooks desta instância apontam para a Julia. Ele "
    "continua enviando: bloqueie-o se elas não saem."
)
_SILENT = (
    "{vezes} verificações seguidas sem resposta: {motivo}. O que se sabia da conexão continua valendo. Confira o "
    "servidor do provedor e as credenciais do chip."
)


def notices_of(chip: Chip, now: datetime) -> Iterator[tuple[ui.Tone, str, str]]:
    """What is wrong with the connection, and the next step."""
    if chip.sessao_encerrada_em is not None:
        yield ui.Tone.BAD, f"O WhatsApp encerrou a sessão {moments.relative(chip.sessao_encerrada_em, now)}", _ENDED
    elif chip.conexao_estado == ConexaoEstado.DESCONECTADO and not chip.evolution_connected:
        yield ui.Tone.BAD, "Desconectado do WhatsApp", _DOWN.format(falhas=chip.conexao_falhas)
    if chip.conexao_estado == ConexaoEstado.CONECTADO_MAS_MUDO:
        minutes = int(SILENT_FOR.total_seconds() // 60)
        yield ui.Tone.WARN, "Conectado, mas mudo", _MUTE.format(minutos=minutes)
    if chip.conexao_sem_resposta >= CONFIRMED_AFTER:
        why = _WHY_SILENT.get(chip.conexao_erro, "a resposta não diz nada")
        text = _SILENT.format(vezes=chip.conexao_sem_resposta, motivo=why)
        yield ui.Tone.WARN, "O provedor não responde sobre este chip", text


_SENTENCES = {
    ResultadoVerificacao.OK: "está conectado.",
    ResultadoVerificacao.RECONECTADO: "voltou a estar conectado.",
    ResultadoVerificacao.DESCONECTADO: "continua desconectado do WhatsApp.",
    ResultadoVerificacao.DESCONECTADO_AGUARDANDO: (
        "o provedor diz que está desconectado. Nada novo sai por ele; as próximas verificações confirmam."
    ),
    ResultadoVerificacao.SEM_RESPOSTA: "o provedor não respondeu. O que se sabia continua valendo.",
    ResultadoVerificacao.ERRO_PERSISTENTE: "o provedor continua sem responder. O que se sabia continua valendo.",
}


def sentence_of(check: Check | None) -> str:
    """What a person who pressed "Verificar agora" is told."""
    if check is None:
        return "não há sessão para verificar nesta situação."
    if check.resultado is None:
        return f"não foi verificado: {check.why}."
    if not check.written:
        return "chegou uma notícia mais nova enquanto o provedor respondia: vale o que está na página."
    if check.resultado is ResultadoVerificacao.OK and check.estado == ConexaoEstado.CONECTADO_MAS_MUDO:
        return "está conectado, mas nada volta do que ele envia."
    return _SENTENCES[check.resultado]
