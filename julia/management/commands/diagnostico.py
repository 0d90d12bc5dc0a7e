import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand

from core.clock import now
from julia.diagnostico import diagnose, first_blocker

MARKS = {True: "ok  ", False: "PARA", None: "-   "}


class Command(BaseCommand):
    help = "Por que nada é enviado? Diz a primeira coisa que bloqueia. Sai com 1 quando algo bloqueia."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="resultado para programas")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = diagnose(now())
        blocker = first_blocker(findings)
        if options["json"]:
            report = {
                "bloqueio": asdict(blocker) if blocker else None,
                "verificacoes": [asdict(finding) for finding in findings],
            }
            self.stdout.write(json.dumps(report, ensure_ascii=False))
        else:
            for finding in findings:
                self.stdout.write(f"{MARKS[finding.ok]}  {finding.check}: {finding.detalhe}")
            if blocker:
                self.stdout.write(f"\nPrimeiro bloqueio: {blocker.detalhe}\nO que fazer: {blocker.proximo}")
            else:
                self.stdout.write("\nNada bloqueia o envio.")
        if blocker:
            sys.exit(1)
