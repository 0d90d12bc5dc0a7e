from django.apps import AppConfig


class FilaConfig(AppConfig):
    name = "fila"
    verbose_name = "Fila"

    def ready(self) -> None:
        from fila.conversas import handlers

        handlers.register()
