from django.apps import AppConfig


class FilaConfig(AppConfig):
    name = "fila"
    verbose_name = "Fila"

    def ready(self) -> None:
        from core.circuits import causes
        from fila import circuit_causes
        from fila.conversas import handlers

        handlers.register()
        causes.register(circuit_causes.find)
