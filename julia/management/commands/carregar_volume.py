"""`manage.py carregar_volume`: a database as it will be in a year, to look at pages and plans."""

import os
import time
from argparse import ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from core.backoffice.ui import number
from julia import embedded, volume


class Command(BaseCommand):
    help = (
        "Desenvolvimento: acrescenta ao banco médicos, chips, campanhas e mensagens inventados, para ver as páginas "
        "com volume. Recusa produção sempre, e outros bancos que não o embutido sem --mesmo-assim."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--mensagens", type=_count, required=True, metavar="N", help="mensagens já terminadas")
        parser.add_argument("--pendentes", type=_count, metavar="N", help="mensagens à espera (um décimo)")
        parser.add_argument("--medicos", type=_count, metavar="N", help="médicos (um quinto das mensagens)")
        parser.add_argument("--chips", type=_count, metavar="N", help="chips (um por dez mil mensagens)")
        parser.add_argument("--campanhas", type=_count, metavar="N", help="campanhas (uma por cinco mil mensagens)")
        parser.add_argument("--mesmo-assim", action="store_true", help="aceita um banco que não é o embutido")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("APP_ENV=production: dados inventados não entram em produção.")
        if not (options["mesmo_assim"] or embedded.is_embedded(os.environ.get("DATABASE_URL", ""))):
            raise CommandError(
                "Este banco não é o embutido. Se é mesmo nele que os dados inventados entram: --mesmo-assim."
            )
        optional = ("pendentes", "medicos", "chips", "campanhas")
        size = volume.Size.of(options["mensagens"], **{name: options[name] for name in optional})
        started = time.monotonic()
        try:
            steps = volume.build(size, report=self._tell)
        except volume.Impossible as error:
            raise CommandError(f"Não dá: {error}.") from error
        self.stdout.write("Estatísticas do planejador (VACUUM ANALYZE) ...")
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE)")
        rows, seconds = sum(step.linhas for step in steps), time.monotonic() - started
        self.stdout.write(
            f"{number(rows)} linhas em {seconds:.0f} s: {number(int(rows / seconds))} linhas/s "
            f"({number(int((size.mensagens + size.pendentes) / seconds))} mensagens/s)."
        )

    def _tell(self, step: volume.Step) -> None:
        self.stdout.write(f"{step.nome}: {number(step.linhas)} linhas em {step.segundos:.1f} s")


def _count(text: str) -> int:
    try:
        value = int(text.replace("_", "").replace(".", ""))
    except ValueError:
        value = 0
    if value < 1:
        raise ArgumentTypeError(f"{text!r} não é um número inteiro maior que zero")
    return value
