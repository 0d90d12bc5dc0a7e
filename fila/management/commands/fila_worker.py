import asyncio
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from fila.worker.process import WorkerProcess


class Command(BaseCommand):
    help = "O processo do papel worker: drena a fila continuamente até receber SIGTERM."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--remetentes", type=int, default=None, help="chamadas abertas ao mesmo tempo")
        parser.add_argument("--semente", type=int, default=None, help="semente do sorteio de intervalos")

    def handle(self, *args: Any, **options: Any) -> None:
        async def main() -> None:
            await WorkerProcess(senders=options["remetentes"], seed=options["semente"]).run()

        asyncio.run(main())
