"""What we know of a doctor that decides whether they may be written to."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from core.clock import Agora
from core.history import track_decisions


@track_decisions(
    "permission_state", "cooling_off_until", "opted_out_at", "opted_out_reason", "next_allowed_at",
    key="cliente", created=False,
)  # fmt: skip
class DoctorState(models.Model):
    """One row per cliente, made by a trigger with it. The one truth of opt-out: `permission_state`.

    Whoever decides about a person locks this row; whoever opts a person out updates it: commit order decides.
    """

    class Permission(models.TextChoices):
        NONE = "none", "Sem contato ainda"
        INITIAL = "initial", "Primeiro contato"
        ACTIVE = "active", "Em conversa"
        COOLING_OFF = "cooling_off", "Em pausa"
        OPTED_OUT = "opted_out", "Pediu para sair"

    cliente = models.OneToOneField(
        "core.Cliente", primary_key=True, on_delete=models.CASCADE, related_name="doctor_state"
    )
    permission_state = models.CharField(max_length=16, choices=Permission.choices, db_default=Permission.NONE)
    opted_out_at = models.DateTimeField(null=True, blank=True)
    opted_out_reason = models.CharField(max_length=200, db_default="", blank=True)
    cooling_off_until = models.DateTimeField(null=True, blank=True)
    temperature = models.DecimalField(max_digits=3, decimal_places=2, db_default=0.5)
    temperature_trend = models.CharField(max_length=16, db_default="stable")
    risk_tolerance = models.CharField(max_length=16, db_default="unknown")
    last_inbound_at = models.DateTimeField(null=True, blank=True)
    last_outbound_at = models.DateTimeField(null=True, blank=True)
    last_outbound_actor = models.CharField(max_length=16, db_default="", blank=True)
    next_allowed_at = models.DateTimeField(null=True, blank=True)
    active_objection = models.CharField(max_length=64, db_default="", blank=True)
    objection_severity = models.CharField(max_length=16, db_default="", blank=True)
    objection_detected_at = models.DateTimeField(null=True, blank=True)
    objection_resolved_at = models.DateTimeField(null=True, blank=True)
    pending_action = models.CharField(max_length=64, db_default="", blank=True)
    flags = models.JSONField(db_default={}, blank=True)
    last_decay_at = models.DateTimeField(null=True, blank=True)
    lifecycle_stage = models.CharField(max_length=16, db_default="novo")
    last_touch_at = models.DateTimeField(null=True, blank=True)
    last_touch_method = models.CharField(max_length=16, db_default="", blank=True)
    last_touch_campaign_id = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Agora(), editable=False)
    updated_at = models.DateTimeField(db_default=Agora(), editable=False)

    class Meta:
        db_table = "doctor_state"
        verbose_name = "estado do médico"
        verbose_name_plural = "estados dos médicos"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(permission_state__in=["none", "initial", "active", "cooling_off", "opted_out"]),
                name="doctor_state_permission_is_lawful",
            ),
            models.CheckConstraint(
                condition=Q(temperature__gte=0) & Q(temperature__lte=1), name="doctor_state_temperature_0_to_1"
            ),
        ]
        indexes: ClassVar = [
            # expiry of pauses: WHERE permission_state = 'cooling_off' AND cooling_off_until < …
            models.Index(
                fields=["cooling_off_until"],
                condition=Q(permission_state="cooling_off"),
                name="doctor_state_cooling_off",
            ),
            # audience order: ORDER BY last_outbound_at NULLS FIRST, cliente_id
            models.Index(fields=["last_outbound_at", "cliente"], name="doctor_state_longest_silence"),
        ]

    def __str__(self) -> str:
        return self.get_permission_state_display()


class Feriado(models.Model):
    """A day without proactive messages anywhere in Brazil."""

    data = models.DateField(primary_key=True)
    nome = models.CharField(max_length=100)

    class Meta:
        db_table = "feriados"
        verbose_name = "feriado"
        verbose_name_plural = "feriados"
        ordering: ClassVar = ["data"]

    def __str__(self) -> str:
        return f"{self.data:%d/%m/%Y} {self.nome}"
