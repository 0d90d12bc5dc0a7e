from typing import Any

from django.core.management.base import BaseCommand

from core import clock
from core.jobs import schedules


class Command(BaseCommand):
    help = "Deixa a agenda do django-q2 igual ao registro de jobs."

    def handle(self, *args: Any, **options: Any) -> None:
        done = schedules.synchronise(clock.now())
        self.stdout.write(f"Agenda: {done.created} criados, {done.updated} corrigidos, {done.removed} removidos.")
