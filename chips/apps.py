from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ChipsConfig(AppConfig):
    name = "chips"
    verbose_name = "Chips"

    def ready(self) -> None:
        from chips.vocabulario.services import create_missing_rows

        post_migrate.connect(create_missing_rows, sender=self)
