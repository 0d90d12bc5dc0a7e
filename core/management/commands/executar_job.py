import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core import clock
from core.jobs import registry, runner


class Command(BaseCommand):
    help = "Executa um job agora e registra a execução como qualquer outra. Imprime o resultado em JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("nome", help="nome do job, por exemplo heartbeat")
        parser.add_argument("--param", action="append", default=[], metavar="k=v", help="parâmetro do job; repetível")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            job = registry.find(options["nome"])
            params = job.read_params(dict(self._pair(text) for text in options["param"]))
        except (registry.UnknownJob, registry.InvalidParam) as error:
            raise CommandError(str(error)) from None
        result = runner.run(job.name, now=clock.database_now(), origem="manual", params=params)
        self.stdout.write(json.dumps(result.body, ensure_ascii=False))
        if not result.ok:
            raise CommandError(f"o job {job.name} falhou: {result.error}")

    @staticmethod
    def _pair(text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"--param {text!r}: escreva nome=valor")
        return name, value
