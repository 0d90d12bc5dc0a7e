"""Alerts: one open row per (rule, key), raised again and again until it is gone; and what was said of them."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from core.clock import Agora
from core.database import GenRandomUUID


class Severidade(models.TextChoices):
    INFO = "info", "Informação"
    WARNING = "warning", "Atenção"
    ERROR = "error", "Erro"
    CRITICAL = "critical", "Crítico"


class Especie(models.TextChoices):
    """What a message to the channel is about."""

    ABERTO = "aberto", "Aviso"
    LEMBRETE = "lembrete", "Lembrete"
    ESCALADO = "escalado", "Cobrança"
    RESOLVIDO = "resolvido", "Resolvido"


class Alerta(models.Model):
    """Something a person should know. `chave` says of what (`chip:<id>`, a job's name). `contexto` holds no phone.

    `desde`: since when as the facts say. `anunciado_em`: its opening was put into the outbox; `notificado_em`: the
    channel took it; `encerramento_em`: its end was put into the outbox, or there was nothing to say.
    """

    id = models.UUIDField(primary_key=True, db_default=GenRandomUUID(), editable=False)
    tipo = models.CharField(max_length=60)
    chave = models.CharField(max_length=80, db_default="", blank=True)
    severidade = models.CharField(max_length=12, choices=Severidade.choices, db_default=Severidade.WARNING)
    titulo = models.CharField("título", max_length=160)
    mensagem = models.CharField(max_length=500)
    valor = models.DecimalField(max_digits=14, decimal_places=2, null=True)
    limite = models.DecimalField(max_digits=14, decimal_places=2, null=True)
    contexto = models.JSONField(db_default={}, blank=True)
    ocorrencias = models.PositiveIntegerField("ocorrências", db_default=1)
    primeira_ocorrencia_em = models.DateTimeField("desde", db_default=Agora())
    ultima_ocorrencia_em = models.DateTimeField("visto por último", db_default=Agora())
    notificado = models.BooleanField(db_default=False)
    notificado_em = models.DateTimeField(null=True)
    slack_ts = models.CharField(max_length=40, db_default="", blank=True)
    reconhecido = models.BooleanField(db_default=False)
    reconhecido_por = models.CharField(max_length=150, db_default="", blank=True)
    reconhecido_em = models.DateTimeField(null=True)
    resolvido_em = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Agora())
    desde = models.DateTimeField("desde (fato)", null=True)
    correlation_id = models.CharField("correlação", max_length=64, db_default="", blank=True)
    inibido_por = models.CharField("inibido por", max_length=60, db_default="", blank=True)
    anunciado_em = models.DateTimeField(null=True)
    escalado_em = models.DateTimeField(null=True)
    encerramento_em = models.DateTimeField(null=True)

    class Meta:
        db_table = "alertas"
        verbose_name = "alerta"
        verbose_name_plural = "alertas"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(severidade__in=Severidade.values), name="alertas_severidade_is_lawful"),
            # raise: INSERT … ON CONFLICT (tipo, chave) WHERE resolvido_em IS NULL
            models.UniqueConstraint(
                fields=["tipo", "chave"], condition=Q(resolvido_em__isnull=True), name="alertas_one_open_per_key"
            ),
        ]
        indexes: ClassVar = [
            # backoffice: ORDER BY primeira_ocorrencia_em DESC
            models.Index(fields=["-primeira_ocorrencia_em"], name="alertas_newest_first"),
            # evaluator: announced, over, and nobody was told yet
            models.Index(
                fields=["tipo"],
                condition=Q(resolvido_em__isnull=False, anunciado_em__isnull=False, encerramento_em__isnull=True),
                name="alertas_end_untold",
            ),
            # inhibition by what ended a moment ago: WHERE resolvido_em > …; the clean-up
            models.Index(
                fields=["resolvido_em"], condition=Q(resolvido_em__isnull=False), name="alertas_by_resolvido_em"
            ),
            # Rastro: WHERE correlation_id = …
            models.Index(fields=["correlation_id"], condition=~Q(correlation_id=""), name="alertas_by_correlation"),
        ]

    def __str__(self) -> str:
        return self.titulo


class Estado(models.Model):
    """What the evaluator remembers of one (tipo, chave) between its looks and through restarts.

    `presente_desde`: the condition was there at every look since; `ausente_desde`: gone since, while its alert is open.
    `avisado_em` and `avisada`: the newest notification and its severity, which outlive the alert. `falhas`: how often
    in a row a rule broke (its row is that of `avaliacao_falhou`).
    """

    pk = models.CompositePrimaryKey("tipo", "chave")
    tipo = models.CharField(max_length=60)
    chave = models.CharField(max_length=80, db_default="")
    presente_desde = models.DateTimeField(null=True)
    visto_em = models.DateTimeField(null=True)
    ausente_desde = models.DateTimeField(null=True)
    avisado_em = models.DateTimeField(null=True)
    avisada = models.CharField(max_length=12, db_default="", blank=True)
    falhas = models.PositiveIntegerField(db_default=0)

    class Meta:
        db_table = "alerta_estados"
        verbose_name = "estado de alerta"

    def __str__(self) -> str:
        return f"{self.tipo} {self.chave}".strip()


class Silencio(models.Model):
    """Until `ate` nothing is said of `tipo`; an empty `chave` means each of its keys."""

    id = models.BigAutoField(primary_key=True)
    tipo = models.CharField(max_length=60)
    chave = models.CharField(max_length=80, db_default="", blank=True)
    ate = models.DateTimeField("até")
    motivo = models.CharField(max_length=500)
    usuario = models.CharField("quem", max_length=150)
    created_at = models.DateTimeField(db_default=Agora())
    retirado_em = models.DateTimeField(null=True)
    retirado_por = models.CharField(max_length=150, db_default="", blank=True)

    class Meta:
        db_table = "alerta_silencios"
        verbose_name = "silêncio"
        indexes: ClassVar = [
            # WHERE tipo = … AND ate > agora() AND retirado_em IS NULL
            models.Index(
                fields=["tipo", "ate"], condition=Q(retirado_em__isnull=True), name="alerta_silencios_standing"
            )
        ]

    def __str__(self) -> str:
        return f"{self.tipo} {self.chave}".strip()


class Entrega(models.Model):
    """One message to the channel, about one or more alerts of one kind. `corpo` is what is posted.

    pendente → enviando → enviada; `sem_canal`: there was no address to post to; `descartada`: its alerts were over for
    a day before the channel took it. An `enviando` that nobody finished is posted again: at least once, never lost.
    """

    class Situacao(models.TextChoices):
        PENDENTE = "pendente", "Na fila"
        ENVIANDO = "enviando", "Saindo"
        ENVIADA = "enviada", "Enviada"
        SEM_CANAL = "sem_canal", "Sem canal configurado"
        DESCARTADA = "descartada", "Descartada"

    id = models.UUIDField(primary_key=True, db_default=GenRandomUUID(), editable=False)
    especie = models.CharField(max_length=12, choices=Especie.choices)
    tipo = models.CharField(max_length=60)
    corpo = models.JSONField()
    situacao = models.CharField(max_length=12, choices=Situacao.choices, db_default=Situacao.PENDENTE)
    tentativas = models.PositiveIntegerField(db_default=0)
    proxima_em = models.DateTimeField(db_default=Agora())
    tentada_em = models.DateTimeField(null=True)
    enviada_em = models.DateTimeField(null=True)
    dono = models.CharField(max_length=80, db_default="", blank=True)
    motivo = models.CharField(max_length=120, db_default="", blank=True)
    created_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "alerta_entregas"
        verbose_name = "entrega"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(especie__in=Especie.values), name="alerta_entregas_especie_is_lawful"),
            models.CheckConstraint(
                condition=Q(situacao__in=["pendente", "enviando", "enviada", "sem_canal", "descartada"]),
                name="alerta_entregas_situacao_is_lawful",
            ),
        ]
        indexes: ClassVar = [
            # deliverer: WHERE situacao IN ('pendente', 'enviando') ORDER BY created_at
            models.Index(
                fields=["created_at"],
                condition=Q(situacao__in=["pendente", "enviando"]),
                name="alerta_entregas_waiting",
            )
        ]

    def __str__(self) -> str:
        return f"{self.especie} {self.tipo}"


class Aviso(models.Model):
    """Which alert a message tells of. `numero` counts reminders: each thing is said of an alert once, by constraint."""

    id = models.BigAutoField(primary_key=True)
    alerta = models.ForeignKey(Alerta, on_delete=models.CASCADE, related_name="avisos", db_index=False)
    entrega = models.ForeignKey(Entrega, on_delete=models.CASCADE, related_name="avisos")
    especie = models.CharField(max_length=12, choices=Especie.choices)
    numero = models.PositiveIntegerField(db_default=1)

    class Meta:
        db_table = "alerta_avisos"
        verbose_name = "aviso"
        constraints: ClassVar = [
            # also: WHERE alerta_id = …
            models.UniqueConstraint(fields=["alerta", "especie", "numero"], name="alerta_avisos_once")
        ]

    def __str__(self) -> str:
        return f"{self.especie} {self.numero}"


class Lease(models.Model):
    """Who may do something alone until when, in database time."""

    name = models.CharField(max_length=60, primary_key=True)
    owner = models.CharField(max_length=80)
    until = models.DateTimeField()

    class Meta:
        db_table = "leases"

    def __str__(self) -> str:
        return self.name
