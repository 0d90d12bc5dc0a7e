import json
import signal
import sys
from argparse import ArgumentParser
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from julia.smoke.run import AnotherRuns, smoke

TIMEOUT_S = 60.0
NOT_ARRIVED, COULD_NOT_RUN = 1, 2


class Command(BaseCommand):
    help = (
        "Manda um canário pela fila e pelo worker de verdade até um provedor nulo, e um por cada cluster. Não alcança "
        "nenhum chip nem pessoa, não depende de horário nem de chaves, e não deixa rastro. Termina com 0 só se todos "
        "chegarem; 1: algum não chegou; 2: não pôde começar."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--timeout", type=float, default=TIMEOUT_S, help="segundos (padrão: %(default)s)")
        parser.add_argument("--json", action="store_true", dest="as_json", help="resultado como um objeto JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # what it placed is taken away
        try:
            report = smoke(options["timeout"])
        except AnotherRuns:
            raise CommandError("Outro smoke está em andamento neste banco.", returncode=COULD_NOT_RUN) from None
        except (Error, redis.RedisError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise CommandError(
                f"O smoke não pôde rodar ({reason}). Confira DATABASE_URL, se o banco está no ar e se as migrações "
                "estão aplicadas: python manage.py migrate.",
                returncode=COULD_NOT_RUN,
            ) from error
        self.stdout.write(json.dumps(report.as_json(), ensure_ascii=False) if options["as_json"] else report.as_text())
        if not report.ok:
            sys.exit(NOT_ARRIVED)
