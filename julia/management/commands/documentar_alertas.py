"""`manage.py documentar_alertas`: docs/alertas.md from the alert rules; a test holds the two equal."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from julia.alerts_document import render
from julia.embedded.places import PROJECT

DOCUMENT = PROJECT / "docs" / "alertas.md"


class Command(BaseCommand):
    help = "Escreve docs/alertas.md a partir das regras de alerta; com --conferir só diz se o arquivo está em dia."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--conferir", action="store_true", help="não grava; sai com 1 quando o arquivo é outro")

    def handle(self, *args: Any, **options: Any) -> None:
        text = render()
        if not options["conferir"]:
            DOCUMENT.write_text(text, encoding="utf-8")
        elif not DOCUMENT.is_file() or DOCUMENT.read_text(encoding="utf-8") != text:
            self.stderr.write("docs/alertas.md não está em dia: rode python manage.py documentar_alertas")
            sys.exit(1)
