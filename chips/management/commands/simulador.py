"""`manage.py simulador`: the provider simulator with the project's own command line."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from chips.simulator.__main__ import run
from chips.simulator.options import add_arguments, from_options


class Command(BaseCommand):
    help = "Simula Evolution API e Z-API nesta máquina; imprime os endereços em uma linha JSON quando está no ar."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        code = run(from_options(options))
        if code:
            sys.exit(code)
