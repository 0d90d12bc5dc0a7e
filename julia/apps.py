from django.apps import AppConfig


class JuliaConfig(AppConfig):
    """Wires everything and decides nothing: commands that cross apps live here, models never."""

    name = "julia"
    verbose_name = "Julia"
