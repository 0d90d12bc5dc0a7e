"""Every status and type of the fila and of campaigns."""

from django.db import models


class Status(models.TextChoices):
    """Status of a message (fila reference §1.2) and one more: `incerta`, on the wire with outcome unknown."""

    PENDENTE = "pendente", "Pendente"
    PROCESSANDO = "processando", "Em envio"
    ENVIADA = "enviada", "Enviada"
    ERRO = "erro", "Erro"
    CANCELADA = "cancelada", "Cancelada"
    BLOQUEADA = "bloqueada", "Bloqueada"
    INCERTA = "incerta", "Incerta"


TERMINAL = (Status.ENVIADA, Status.ERRO, Status.CANCELADA, Status.BLOQUEADA)
OPEN = (Status.PENDENTE, Status.PROCESSANDO, Status.INCERTA)


class CampanhaStatus(models.TextChoices):
    RASCUNHO = "rascunho", "Rascunho"
    AGENDADA = "agendada", "Agendada"
    ATIVA = "ativa", "Ativa"
    PAUSADA = "pausada", "Pausada"
    CONCLUIDA = "concluida", "Concluída"
    CANCELADA = "cancelada", "Cancelada"


class TipoCampanha(models.TextChoices):
    DISCOVERY = "discovery", "Descoberta"
    OFERTA = "oferta", "Oferta"
    OFERTA_PLANTAO = "oferta_plantao", "Oferta de plantão"
    REATIVACAO = "reativacao", "Reativação"
    FOLLOWUP = "followup", "Acompanhamento"
    FEEDBACK = "feedback", "Opinião"


class DestinatarioEstado(models.TextChoices):
    SELECIONADO = "selecionado", "Selecionado"
    ENFILEIRADO = "enfileirado", "Na fila"
    EXCLUIDO = "excluido", "Não recebe"


class MotivoExclusao(models.TextChoices):
    """Why somebody whom the filters name does not receive the campaign, in the order the reasons are asked."""

    OPT_OUT = "opt_out", "pediu para sair"
    TELEFONE_INVALIDO = "telefone_invalido", "telefone inválido"
    CONTROLE_HUMANO = "controle_humano", "conversa com uma pessoa"
    EM_ATENDIMENTO = "em_atendimento", "escreveu há menos de 30 minutos"
    EM_PAUSA = "em_pausa", "em pausa por atrito"
    PROXIMO_CONTATO = "proximo_contato", "próximo contato ainda não permitido"
    LIMITE_7_DIAS = "limite_7_dias", "limite de contatos em 7 dias"
    CONTATO_RECENTE = "contato_recente", "recebeu mensagem há pouco tempo"
    OUTRA_CAMPANHA = "outra_campanha", "outra campanha há menos de 3 dias"
    RESPONDEU_RECENTE = "respondeu_recente", "respondeu há menos de 7 dias"
    SEM_RESPOSTA = "sem_resposta", "não respondeu a duas campanhas"
    PRESSAO = "pressao", "pontuação de pressão alta"
    VARIAVEL_VAZIA = "variavel_vazia", "falta um dado que o texto usa"
    ALEM_DA_QUANTIDADE = "alem_da_quantidade", "além da quantidade pedida"


class Autor(models.TextChoices):
    MEDICO = "medico", "Médico"
    JULIA = "julia", "Julia"
    GESTOR = "gestor", "Gestor"
    HUMANO = "humano", "Pessoa no celular"


class ConversationStatus(models.TextChoices):
    ACTIVE = "active", "Aberta"
    PAUSED = "paused", "Pausada"
    ESCALATED = "escalated", "Encaminhada"
    AGUARDANDO_GESTOR = "aguardando_gestor", "Aguardando gestor"
    AGUARDANDO_MEDICO = "aguardando_medico", "Aguardando médico"
    COMPLETED = "completed", "Concluída"
    ABANDONED = "abandoned", "Abandonada"


CLOSED_CONVERSATIONS = (ConversationStatus.COMPLETED, ConversationStatus.ABANDONED)


class Evento(models.TextChoices):
    """What a message's timeline records beside its attempts."""

    ENFILEIRADA = "enfileirada", "Entrou na fila"
    DECISAO = "decisao", "Decisão"
    ADIADA = "adiada", "Adiada"
    BLOQUEADA = "bloqueada", "Bloqueada"
    CANCELADA = "cancelada", "Cancelada"
    SEM_CHIP = "sem_chip", "Nenhum chip disponível"
    RETOMADA = "retomada", "Voltou para a fila"
    INCERTA = "incerta", "Resultado desconhecido"
    FALHA = "falha", "Falhou"
    RECIBO = "recibo", "Confirmação do WhatsApp"
