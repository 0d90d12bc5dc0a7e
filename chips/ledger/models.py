"""The attempts ledger: a row is committed before the wire and its result is always written by its id."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from chips.choices import DeliveryStatus, Evidencia, Origem, ProviderName, Resultado
from core.clock import Agora


class Tentativa(models.Model):
    """One attempt to send one thing through one chip.

    It names what it is for by (`origem`, `origem_id`): campaigns and warm-up spend one capacity, and the ledger points
    at neither. `texto_hash` is the sha256 of the normalised text (content dedupe). `balde_em` is the minute the weight
    was reserved in, so that a release returns it there. `lote` names the batch: an in-doubt commit is closed by it.
    `regra` names the result in the error vocabulary, `sondas` the circuits this call probes, `evidencia` what settled
    an unknown result. `nao_entregue_em`: accepted, then proved not delivered by an ERROR acknowledgement that no
    positive one followed within 60 s; only then may the message be tried again.
    """

    id = models.BigAutoField(primary_key=True)
    origem = models.CharField(max_length=16, choices=Origem.choices, db_default=Origem.FILA)
    origem_id = models.UUIDField()
    tentativa_no = models.PositiveSmallIntegerField(db_default=1)
    chip = models.ForeignKey("chips.Chip", on_delete=models.PROTECT, related_name="tentativas", db_index=False)
    provider = models.CharField(max_length=16, choices=ProviderName.choices)
    cliente = models.ForeignKey("core.Cliente", on_delete=models.PROTECT, null=True, related_name="+")
    destino = models.CharField(max_length=20)
    tipo_mensagem = models.CharField(max_length=16)
    proativa = models.BooleanField()
    peso = models.PositiveSmallIntegerField(db_default=1)
    balde_em = models.DateTimeField()
    dia_local = models.DateField()
    texto_hash = models.CharField(max_length=64)
    lote = models.UUIDField()
    consumidor = models.CharField(max_length=80)
    selecao = models.ForeignKey("chips.Selecao", on_delete=models.SET_NULL, null=True, related_name="+")
    motivo_escolha = models.CharField(max_length=24, db_default="menor_uso")
    correlation_id = models.CharField(max_length=64, db_default="")
    iniciado_em = models.DateTimeField(db_default=Agora())
    encerrado_em = models.DateTimeField(null=True)
    resultado = models.CharField(max_length=16, choices=Resultado.choices, db_default=Resultado.INICIADO)
    error_kind = models.CharField(max_length=24, db_default="", blank=True)
    codigo = models.CharField(max_length=40, db_default="", blank=True)
    http_status = models.PositiveSmallIntegerField(null=True)
    erro = models.CharField(max_length=300, db_default="", blank=True)
    duracao_ms = models.PositiveIntegerField(null=True)
    regra = models.CharField(max_length=60, db_default="", blank=True)
    queue_id = models.CharField(max_length=100, db_default="", blank=True)
    sondas = ArrayField(models.CharField(max_length=60), db_default=[], blank=True)
    evidencia = models.CharField(max_length=16, choices=Evidencia.choices, db_default="", blank=True)
    nao_entregue_em = models.DateTimeField(null=True)
    buscas = models.PositiveSmallIntegerField(db_default=0)
    proxima_busca_em = models.DateTimeField(null=True)
    provider_message_id = models.CharField(max_length=100, db_default="", blank=True)
    remote_jid = models.CharField(max_length=80, db_default="", blank=True)
    delivery_status = models.CharField(max_length=16, choices=DeliveryStatus.choices, null=True)
    delivery_status_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "envios_tentativas"
        verbose_name = "tentativa"
        verbose_name_plural = "tentativas"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(resultado__in=Resultado.values), name="tentativas_resultado_is_lawful"),
            models.UniqueConstraint(
                fields=["chip"], condition=Q(resultado="iniciado"), name="tentativas_one_in_flight_per_chip"
            ),
            models.UniqueConstraint(
                fields=["origem", "origem_id"],
                condition=~Q(resultado="rejeitado") & Q(nao_entregue_em__isnull=True),
                name="tentativas_at_most_one_that_may_have_left",
            ),
            models.UniqueConstraint(
                fields=["origem", "origem_id", "tentativa_no"], name="tentativas_numbered_per_origem"
            ),
        ]
        indexes: ClassVar = [
            # personal limits and cap: WHERE cliente_id = … AND proativa AND NOT rejeitado AND iniciado_em > …
            models.Index(
                fields=["cliente", "-iniciado_em"],
                condition=Q(proativa=True) & ~Q(resultado="rejeitado"),
                name="tentativas_contacts_of_client",
            ),
            # content dedupe: WHERE cliente_id = … AND texto_hash = … AND iniciado_em > …
            models.Index(
                fields=["cliente", "texto_hash", "-iniciado_em"],
                condition=~Q(resultado="rejeitado"),
                name="tentativas_same_text",
            ),
            # receipts: WHERE chip_id = … AND provider_message_id = …
            models.Index(
                fields=["provider_message_id"], condition=~Q(provider_message_id=""), name="tentativas_by_provider_key"
            ),
            # open and unknown attempts: WHERE resultado IN ('iniciado', 'desconhecido') ORDER BY iniciado_em
            models.Index(
                fields=["iniciado_em"],
                condition=Q(resultado__in=["iniciado", "desconhecido"]),
                name="tentativas_not_settled",
            ),
            # a chip's last calls, and the foreign key itself: WHERE chip_id = … AND iniciado_em > …
            models.Index(fields=["chip", "-iniciado_em"], name="tentativas_newest_of_chip"),
            # a provider's last calls (slowness): WHERE provider = … AND iniciado_em > … ORDER BY iniciado_em DESC
            models.Index(fields=["provider", "-iniciado_em"], name="tentativas_newest_of_provider"),
            # searches that are due: WHERE resultado = 'desconhecido' AND proxima_busca_em <= agora()
            models.Index(
                fields=["proxima_busca_em"], condition=Q(resultado="desconhecido"), name="tentativas_searches_due"
            ),
            # ERROR acks without a positive one: WHERE delivery_status = 'failed' AND nao_entregue_em IS NULL
            models.Index(
                fields=["delivery_status_at"],
                condition=Q(delivery_status="failed", nao_entregue_em__isnull=True),
                name="tentativas_error_acks",
            ),
            # in-doubt commit: UPDATE … WHERE lote = … AND resultado = 'iniciado'
            models.Index(fields=["lote"], condition=Q(resultado="iniciado"), name="tentativas_open_of_lote"),
        ]

    def __str__(self) -> str:
        return f"tentativa {self.id} ({self.resultado})"


class LimiteMinuto(models.Model):
    """Weight reserved per minute and scope (`global` or `chip:<id>`): a rolling hour is the sum of 61 of them."""

    id = models.BigAutoField(primary_key=True)
    escopo = models.CharField(max_length=64)
    minuto = models.DateTimeField()
    peso = models.PositiveIntegerField(db_default=0)

    class Meta:
        db_table = "limites_minutos"
        constraints: ClassVar = [
            # reserve: INSERT … ON CONFLICT (escopo, minuto) DO UPDATE; sum: WHERE escopo = … AND minuto > …
            models.UniqueConstraint(fields=["escopo", "minuto"], name="limites_minutos_one_per_scope_and_minute")
        ]

    def __str__(self) -> str:
        return f"{self.escopo} {self.minuto:%H:%M} {self.peso}"
