"""The doctors we know, and how an import of them went."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from core.clock import Agora
from core.database import GenRandomUUID


class Cliente(models.Model):
    """A doctor (médico). `telefone` is the canonical E.164 number without `+`, mobiles with the ninth digit.

    A database trigger gives each row its `doctor_state`. Text may come from an import: it is data, never markup.
    """

    class StatusTelefone(models.TextChoices):
        PENDENTE = "pendente", "Pendente"
        VALIDANDO = "validando", "Validando"
        VALIDADO = "validado", "Validado"
        INVALIDO = "invalido", "Inválido"
        ERRO = "erro", "Erro"

    id = models.UUIDField(primary_key=True, db_default=GenRandomUUID(), editable=False)
    telefone = models.CharField(max_length=20, unique=True)
    nome = models.CharField(max_length=255, db_default="", blank=True)
    primeiro_nome = models.CharField(max_length=255, db_default="", blank=True)
    sobrenome = models.CharField(max_length=255, db_default="", blank=True)
    nome_busca = models.CharField(max_length=512, db_default="", blank=True, editable=False)
    especialidade = models.CharField(max_length=255, db_default="", blank=True)
    cidade = models.CharField(max_length=255, db_default="", blank=True)
    estado = models.CharField(max_length=2, db_default="", blank=True)
    regiao = models.CharField("região", max_length=255, db_default="", blank=True)
    fuso = models.CharField(max_length=64, db_default="America/Sao_Paulo")
    status = models.CharField(max_length=32, db_default="novo")
    stage_jornada = models.CharField(max_length=32, db_default="novo")
    status_telefone = models.CharField(
        max_length=16, choices=StatusTelefone.choices, db_default=StatusTelefone.PENDENTE
    )
    telefone_validado_em = models.DateTimeField(null=True, blank=True)
    telefone_erro = models.CharField(max_length=500, db_default="", blank=True)
    pressure_score_atual = models.PositiveSmallIntegerField(db_default=0)
    total_interacoes = models.PositiveIntegerField(db_default=0)
    ultima_mensagem_data = models.DateTimeField(null=True, blank=True)
    tags = ArrayField(models.CharField(max_length=64), db_default=[], blank=True)
    origem = models.CharField(max_length=16, db_default="importacao")
    deleted_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Agora(), editable=False)
    updated_at = models.DateTimeField(db_default=Agora(), editable=False)

    class Meta:
        db_table = "clientes"
        verbose_name = "médico"
        verbose_name_plural = "médicos"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(telefone__regex=r"^[1-9][0-9]{7,14}$"), name="clientes_telefone_is_e164_digits"
            ),
            models.CheckConstraint(
                condition=models.Q(pressure_score_atual__lte=100), name="clientes_pressure_score_at_most_100"
            ),
        ]
        indexes: ClassVar = [
            # backoffice search by name prefix: WHERE nome_busca LIKE 'ana s%'
            models.Index(fields=["nome_busca"], name="clientes_by_nome_busca", opclasses=["varchar_pattern_ops"]),
            # audience filter: WHERE especialidade = ANY(…) AND deleted_at IS NULL
            models.Index(fields=["especialidade"], name="clientes_by_especialidade"),
            # backoffice list: ORDER BY created_at DESC (without id, or a lookup by id may be planned on it)
            models.Index(fields=["-created_at"], name="clientes_newest_first"),
        ]

    def __str__(self) -> str:
        return self.nome or f"médico {str(self.pk)[:8]}"


class ClienteJid(models.Model):
    """A WhatsApp identity seen for a client: the spelling a provider uses (`kind` pn) or a LID. The LID map."""

    class Kind(models.TextChoices):
        PN = "pn", "Número"
        LID = "lid", "LID"

    id = models.BigAutoField(primary_key=True)
    jid = models.CharField(max_length=80, unique=True)
    cliente = models.ForeignKey(Cliente, on_delete=models.CASCADE, related_name="jids")
    kind = models.CharField(max_length=4, choices=Kind.choices, db_default=Kind.PN)
    visto_em = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "clientes_jids"

    def __str__(self) -> str:
        return f"{self.kind} de {self.cliente_id}"


class Importacao(models.Model):
    """One import: a row first, work later. A dry run leaves no row."""

    class Status(models.TextChoices):
        PENDENTE = "pendente", "Na fila"
        PROCESSANDO = "processando", "Em andamento"
        CONCLUIDA = "concluida", "Concluída"
        ERRO = "erro", "Recusada"

    id = models.BigAutoField(primary_key=True)
    nome_arquivo = models.CharField("arquivo", max_length=255)
    conteudo = models.BinaryField(null=True, editable=False)
    mapa = models.JSONField(db_default={}, blank=True)
    atualizar = models.BooleanField(db_default=False)
    status = models.CharField(max_length=16, choices=Status.choices, db_default=Status.PENDENTE)
    linhas = models.PositiveIntegerField(db_default=0)
    novos = models.PositiveIntegerField(db_default=0)
    duplicados = models.PositiveIntegerField(db_default=0)
    atualizados = models.PositiveIntegerField(db_default=0)
    rejeitados = models.PositiveIntegerField(db_default=0)
    erro = models.CharField(max_length=500, db_default="", blank=True)
    criado_por = models.CharField(max_length=150, db_default="", blank=True)
    correlation_id = models.CharField(max_length=64, db_default="", blank=True)
    iniciado_em = models.DateTimeField(null=True, blank=True)
    concluido_em = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "importacoes"
        verbose_name = "importação"
        verbose_name_plural = "importações"
        indexes: ClassVar = [
            # sweep that offers untaken rows again: WHERE status IN ('pendente', 'processando')
            models.Index(
                fields=["created_at"],
                condition=models.Q(status__in=["pendente", "processando"]),
                name="importacoes_not_finished",
            ),
            # Rastro: WHERE correlation_id = …
            models.Index(
                fields=["correlation_id"], condition=~models.Q(correlation_id=""), name="importacoes_by_correlation"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.nome_arquivo} ({self.get_status_display()})"


class ImportacaoRejeitada(models.Model):
    """A row that was not imported, with its line number in the file and the reason an operator can act on."""

    id = models.BigAutoField(primary_key=True)
    importacao = models.ForeignKey(Importacao, on_delete=models.CASCADE, related_name="rejeitadas")
    linha = models.PositiveIntegerField()
    celulas = models.JSONField(db_default={})
    codigo = models.CharField(max_length=40, db_default="")
    motivo = models.CharField(max_length=300)

    class Meta:
        db_table = "importacao_rejeitadas"
        verbose_name = "linha recusada"
        verbose_name_plural = "linhas recusadas"
        ordering: ClassVar = ["importacao", "linha"]

    def __str__(self) -> str:
        return f"linha {self.linha}: {self.motivo}"


__all__ = ["Cliente", "ClienteJid", "Importacao", "ImportacaoRejeitada"]
