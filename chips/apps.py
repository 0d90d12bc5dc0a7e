from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ChipsConfig(AppConfig):
    name = "chips"
    verbose_name = "Chips"

    def ready(self) -> None:
        from chips.fleet import instance_names
        from chips.vocabulario.services import create_missing_rows
        from core.circuits import spoken

        post_migrate.connect(create_missing_rows, sender=self)
        spoken.register(instance_names)
