from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class CoreConfig(AppConfig):
    """What every app shares and no app owns. Finds each app's `jobs`, `health` and settings declarations by name."""

    name = "core"
    verbose_name = "Base"

    def ready(self) -> None:
        import core.jobs.tracing  # noqa: F401  (its receivers)
        from core.flags.services import create_missing_rows
        from core.rights import sync_roles

        autodiscover_modules(
            "settings_registry", "jobs", "maintenance_jobs", "health", "alert_rules", "alert_jobs", "metrics_gauges"
        )
        post_migrate.connect(create_missing_rows, sender=self)
        post_migrate.connect(sync_roles, sender=self)
