"""`manage.py documentar_jobs`: docs/jobs.md from the registry; a test holds the two equal."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from julia.embedded.places import PROJECT
from julia.jobs_document import render

DOCUMENT = PROJECT / "docs" / "jobs.md"


class Command(BaseCommand):
    help = "Escreve docs/jobs.md a partir do registro de jobs; com --conferir só diz se o arquivo está em dia."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--conferir", action="store_true", help="não grava; sai com 1 quando o arquivo é outro")

    def handle(self, *args: Any, **options: Any) -> None:
        text = render()
        if not options["conferir"]:
            DOCUMENT.write_text(text, encoding="utf-8")
        elif not DOCUMENT.is_file() or DOCUMENT.read_text(encoding="utf-8") != text:
            self.stderr.write("docs/jobs.md não está em dia: rode python manage.py documentar_jobs")
            sys.exit(1)
