from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core import clock
from core.clientes.models import Cliente
from julia.demo import data
from julia.demo.guard import DemoRefused


class Command(BaseCommand):
    help = "Carrega os dados da demonstração no banco embutido; o que já existe fica como está."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            data.load(clock.now())
        except DemoRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"Demonstração carregada: {Cliente.objects.count()} médicos. Para vê-la andar: make run")
