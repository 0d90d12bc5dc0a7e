"""Why a failure is not put back into the fila."""

from django.db import models


class Recusa(models.TextChoices):
    """In the order in which they are asked; the label completes "não foi reprocessada: …"."""

    JA_REPROCESSADA = "ja_reprocessada", "já foi reprocessada"
    MUDOU_DE_SITUACAO = "mudou_de_situacao", "não está mais em erro"
    JA_SAIU = "ja_saiu", "o provedor aceitou uma tentativa dela"
    EM_ENVIO = "em_envio", "uma tentativa ainda está no fio"
    QUARENTENA = "quarentena", "está em quarentena"
    OPT_OUT = "opt_out", "o médico pediu para sair"
    NUMERO_INVALIDO = "numero_invalido", "o número é inválido ou o cadastro foi apagado"
    CAMPANHA_CANCELADA = "campanha_cancelada", "a campanha foi cancelada"
    TENTATIVA_DESCONHECIDA = "tentativa_desconhecida", "uma tentativa pode ter chegado ao médico"


NEXT_STEPS: dict[Recusa, str] = {
    Recusa.JA_REPROCESSADA: "Acompanhe a nova mensagem.",
    Recusa.MUDOU_DE_SITUACAO: "Veja a situação dela na página da mensagem.",
    Recusa.JA_SAIU: "Reprocessar mandaria o texto duas vezes.",
    Recusa.EM_ENVIO: "Espere o resultado e tente de novo.",
    Recusa.QUARENTENA: "Veja as evidências; para incluí-la, peça isso de forma explícita.",
    Recusa.OPT_OUT: "Só volta a receber mensagens se ele mesmo pedir.",
    Recusa.NUMERO_INVALIDO: "Corrija o telefone no cadastro antes.",
    Recusa.CAMPANHA_CANCELADA: "Duplique a campanha para enviar de novo.",
    Recusa.TENTATIVA_DESCONHECIDA: "Confira com o médico ou no chip; uma por vez, com motivo, pode-se forçar.",
}
