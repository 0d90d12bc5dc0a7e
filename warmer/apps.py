from django.apps import AppConfig


class WarmerConfig(AppConfig):
    name = "warmer"
    verbose_name = "Aquecimento"
