"""Changing settings: validated, audited with before and after, effective at once and without a restart."""

from datetime import datetime
from typing import Any

from django.db import connection, transaction

from core.audit import services as audit
from core.flags.models import AppSetting
from core.flags.reading import forget
from core.flags.registry import declared, find


def set_setting(
    key: str, value: object, *, actor: audit.Actor, motivo: str, now: datetime, ip: str | None = None
) -> Any:
    """Store `value` and return it in its normal form; the row and its audit entry commit together.

    Raises UnknownSetting, InvalidValue or MotivoMissing, each with a sentence for the operator. Other processes see
    the change after at most `reading.CACHE_S`, guardrails at once.
    """
    setting = find(key)
    normal = setting.validate(value)
    motivo = audit.check_motivo(motivo)
    with transaction.atomic():
        row = AppSetting.objects.select_for_update().filter(key=key).first()
        before = row.value if row else None
        AppSetting.objects.update_or_create(
            key=key,
            defaults={"value": normal, "updated_by": audit.name_of(actor)},
            create_defaults={
                "value": normal,
                "updated_by": audit.name_of(actor),
                "description": setting.description,
            },
        )
        audit.record(
            "feature_flag_change",
            "app_settings",
            key,
            usuario=actor,
            motivo=motivo,
            detalhes={"antes": before, "depois": normal},
            ip=ip,
            now=now,
        )
        transaction.on_commit(forget)
    return normal


def create_missing_rows(**_signal: Any) -> None:
    """A row with its default for every declared setting that has none; what is stored stays.

    A receiver of `post_migrate` (sender `core`), so that raw SQL on a switch never misses its row.
    """
    if AppSetting._meta.db_table not in connection.introspection.table_names():
        return  # migrated back to before the table
    AppSetting.objects.bulk_create(
        [AppSetting(key=each.key, value=each.default, description=each.description) for each in declared()],
        ignore_conflicts=True,
    )
