"""Circuits as rows that every process shares, and every change of their state."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from core.clock import Agora
from core.database import GenRandomUUID


class CircuitState(models.TextChoices):
    CLOSED = "closed", "Fechado (funcionando)"
    OPEN = "open", "Aberto (sem chamadas)"
    HALF_OPEN = "half_open", "Em teste (uma sonda)"


class Forced(models.TextChoices):
    """What a person decided over the circuit's own judgement."""

    NO = "", "Automático"
    OPEN = "aberto", "Aberto por uma pessoa"
    DISABLED = "desligado", "Desligado por uma pessoa (deixa passar tudo)"


class Circuit(models.Model):
    """One circuit: `evolution`, `zapi`, `claude`, `supabase`, `chatwoot`, `slack` or `chip:<id>`.

    `failures` are consecutive; `failing_scopes` names who failed in that run (chips of a provider). `generation` rises
    with each opening, so that calls that left before it change nothing. The one half-open probe in the whole system is
    a permit leased to `permit_token` until `permit_until`. `share`: how many senders a slow provider may hold, None
    without a limit; only calls that began after `share_since` are looked at while it grows back. `version` is the
    compare-and-set fence. All instants are database time.
    """

    name = models.CharField(max_length=60, primary_key=True)
    state = models.CharField(max_length=12, choices=CircuitState.choices, db_default=CircuitState.CLOSED)
    forced = models.CharField(max_length=12, choices=Forced.choices, db_default=Forced.NO, blank=True)
    failures = models.PositiveIntegerField(db_default=0)
    failing_scopes = ArrayField(models.CharField(max_length=60), db_default=[], blank=True)
    step = models.PositiveSmallIntegerField("tentativas_half_open", db_default=0)
    generation = models.BigIntegerField(db_default=0)
    opened_at = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)
    permit_token = models.BigIntegerField(null=True, blank=True)
    permit_until = models.DateTimeField(null=True, blank=True)
    permit_owner = models.CharField(max_length=80, db_default="", blank=True)
    share = models.PositiveIntegerField(null=True, blank=True)
    slow_since = models.DateTimeField(null=True, blank=True)
    share_since = models.DateTimeField(null=True, blank=True)
    last_failure_at = models.DateTimeField(null=True, blank=True)
    last_success_at = models.DateTimeField(null=True, blank=True)
    last_error_kind = models.CharField(max_length=24, db_default="", blank=True)
    version = models.BigIntegerField(db_default=0)
    updated_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "circuits"
        verbose_name = "circuito"
        verbose_name_plural = "circuitos"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(state__in=CircuitState.values), name="circuits_state_is_lawful"),
            models.CheckConstraint(condition=Q(forced__in=Forced.values), name="circuits_forced_is_lawful"),
            models.CheckConstraint(
                condition=~Q(state="open") | Q(retry_at__isnull=False), name="circuits_open_has_a_retry_at"
            ),
            models.CheckConstraint(
                condition=~Q(state="half_open") | Q(permit_until__isnull=False), name="circuits_half_open_has_a_permit"
            ),
        ]
        indexes: ClassVar = [
            # consulted once per batch: WHERE state <> 'closed' OR forced <> '' OR share IS NOT NULL
            models.Index(
                fields=["name"],
                condition=~Q(state="closed") | ~Q(forced="") | Q(share__isnull=False),
                name="circuits_not_plain",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.state})"


class CircuitTransition(models.Model):
    """One change of a circuit's state, automatic or by hand (S-36 T02.1).

    `correlation_id` and `causa` (`mensagem:<id>`) name the work whose call brought it about.
    """

    id = models.UUIDField(primary_key=True, db_default=GenRandomUUID(), editable=False)
    circuit_name = models.CharField(max_length=60)
    from_state = models.CharField(max_length=12)
    to_state = models.CharField(max_length=12)
    reason = models.CharField(max_length=200)
    falhas_consecutivas = models.PositiveIntegerField(db_default=0)
    tentativas_half_open = models.PositiveSmallIntegerField(db_default=0)
    correlation_id = models.CharField("correlação", max_length=64, db_default="", blank=True)
    causa = models.CharField(max_length=80, db_default="", blank=True)
    created_at = models.DateTimeField(db_default=Agora())

    class Meta:
        db_table = "circuit_transitions"
        verbose_name = "mudança de circuito"
        verbose_name_plural = "mudanças de circuitos"
        indexes: ClassVar = [
            # one circuit's history: WHERE circuit_name = … ORDER BY created_at DESC
            models.Index(fields=["circuit_name", "-created_at"], name="circuit_transitions_by_name"),
            # newest of all, and retention: ORDER BY created_at DESC
            models.Index(fields=["-created_at"], name="circuit_transitions_newest"),
            # Rastro: WHERE correlation_id = … ORDER BY created_at
            models.Index(
                fields=["correlation_id", "created_at"],
                condition=~Q(correlation_id=""),
                name="circuit_transitions_by_corr",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.circuit_name}: {self.from_state} → {self.to_state}"
