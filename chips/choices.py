"""Every status, type and verdict of the fleet and of the attempts ledger."""

from django.db import models


class ChipStatus(models.TextChoices):
    PROVISIONED = "provisioned", "Criado"
    PENDING = "pending", "Aguardando conexão"
    WARMING = "warming", "Aquecendo"
    READY = "ready", "Pronto (reserva)"
    ACTIVE = "active", "Em produção"
    DEGRADED = "degraded", "Degradado"
    PAUSED = "paused", "Pausado"
    BANNED = "banned", "Banido"
    CANCELLED = "cancelled", "Cancelado"


class ChipTipo(models.TextChoices):
    JULIA = "julia", "Conversa"
    LISTENER = "listener", "Ouvinte de grupos"
    SCRAPER = "scraper", "Coletor"


class ProviderName(models.TextChoices):
    EVOLUTION = "evolution", "Evolution API"
    ZAPI = "z-api", "Z-API"


NULL_PROVIDER = "nulo"
"""The provider of the canary's own chip: it sends nothing anywhere, and no form, rule or address ever offers it."""


class TrustLevel(models.TextChoices):
    VERDE = "verde", "Verde"
    AMARELO = "amarelo", "Amarelo"
    LARANJA = "laranja", "Laranja"
    VERMELHO = "vermelho", "Vermelho"
    CRITICO = "critico", "Crítico"


class FaseWarmup(models.TextChoices):
    REPOUSO = "repouso", "Repouso"
    SETUP = "setup", "Preparação"
    PRIMEIROS_CONTATOS = "primeiros_contatos", "Primeiros contatos"
    EXPANSAO = "expansao", "Expansão"
    PRE_OPERACAO = "pre_operacao", "Pré-operação"
    TESTE_GRADUACAO = "teste_graduacao", "Teste de graduação"
    OPERACAO = "operacao", "Operação"


class TipoMensagem(models.TextChoices):
    """What a chip must be permitted to carry (chips reference §2.1)."""

    PROSPECCAO = "prospeccao", "Prospecção"
    FOLLOWUP = "followup", "Acompanhamento"
    RESPOSTA = "resposta", "Resposta"
    CANARIO = "canario", "Canário"


PROACTIVE = frozenset({TipoMensagem.PROSPECCAO, TipoMensagem.FOLLOWUP})
CARRIED = (TipoMensagem.PROSPECCAO, TipoMensagem.FOLLOWUP, TipoMensagem.RESPOSTA)
"""What real chips carry: everything but the canary, which only its own chip takes."""


class Resultado(models.TextChoices):
    """Where an attempt stands. It moves only forward: iniciado → desconhecido → rejeitado | enviado."""

    INICIADO = "iniciado", "No fio"
    ENVIADO = "enviado", "Aceita pelo provedor"
    REJEITADO = "rejeitado", "Comprovadamente não enviada"
    DESCONHECIDO = "desconhecido", "Resultado desconhecido"


class Evidencia(models.TextChoices):
    """What settled an attempt whose own call did not."""

    ECO = "eco", "Eco do provedor"
    RECIBO = "recibo", "Recibo do provedor"
    BUSCA = "busca", "Busca no provedor"
    FILA_ZAPI = "fila_zapi", "Fila da Z-API"
    OPERADOR = "operador", "Decisão de uma pessoa"
    PRAZO = "prazo", "Prazo de 24 h"


class Origem(models.TextChoices):
    FILA = "fila", "Fila"
    WARMUP = "warmup", "Aquecimento"


class ConexaoEstado(models.TextChoices):
    """What the last answered checks of a chip's connection come to (the provider's silence is not one of them)."""

    NAO_VERIFICADO = "nao_verificado", "Ainda não verificado"
    CONECTADO = "conectado", "Conectado"
    DESCONECTADO = "desconectado", "Desconectado"
    CONECTADO_MAS_MUDO = "conectado_mas_mudo", "Conectado, mas mudo"


class DeliveryStatus(models.TextChoices):
    PENDING = "pending", "Pendente"
    SENT = "sent", "No servidor"
    DELIVERED = "delivered", "Entregue"
    READ = "read", "Lida"
    FAILED = "failed", "Falhou"


class InboxStatus(models.TextChoices):
    PENDENTE = "pendente", "Por processar"
    AGUARDANDO = "aguardando", "Aguardando a mensagem que confirma"
    PROCESSADO = "processado", "Processado"
    IGNORADO = "ignorado", "Ignorado"
    ERRO = "erro", "Erro"


class InboxKind(models.TextChoices):
    ENTRADA = "entrada", "Mensagem recebida"
    ECO = "eco", "Eco de envio"
    RECIBO = "recibo", "Recibo"
    CONEXAO = "conexao", "Conexão"
    OUTRO = "outro", "Outro"
