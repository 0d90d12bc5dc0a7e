import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from julia.demo.guard import DemoRefused
from julia.supervisor.preflight import CannotStart, parse_port
from julia.supervisor.roles import Papel, parse_papel
from julia.supervisor.serving import Order, serve

INTERRUPTED = 130


class Command(BaseCommand):
    help = "Inicia os processos de um papel, ou de todos, e os mantém vivos até SIGTERM ou Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--papel", default="", help=f"{', '.join(Papel)} (padrão: a variável RUN_MODE)")
        parser.add_argument("--demo", action="store_true", help="com dados e simulador de demonstração")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            order = Order(
                papel=parse_papel(options["papel"] or settings.RUN_MODE),
                host=settings.HOST,
                port=parse_port(settings.PORT),
                demo=options["demo"],
            )
            serve(order)
        except (CannotStart, DemoRefused) as refusal:
            raise CommandError(str(refusal)) from refusal
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)  # Ctrl-C before there was anything to end
