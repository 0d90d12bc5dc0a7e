"""Puts definite failures back into the fila: `manage.py reprocessar [filters] --motivo "…"`, or `--dry-run`.

Results go to stdout, as one JSON object with `--json`; errors to stderr. Exit 0: done. 1: refused. 2: the arguments
cannot be used.
"""

import getpass
import json
import logging
import random
import sys
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core import clock
from core.audit.services import MotivoMissing
from core.jobs.deadline import Deadline
from fila.mensagens import Reprocessamento
from fila.reprocessar import services
from fila.reprocessar.choices import Recusa
from fila.reprocessar.errors import FiltroInvalido, ReprocessoError
from fila.reprocessar.filters import Filtros

REFUSED, UNUSABLE = 1, 2
PATIENCE = timedelta(hours=1)
FILTERS = ("ids", "campanha", "outcome", "motivo_codigo", "desde", "ate", "tipo", "chip", "quarentena")

Options = dict[str, Any]


class Command(BaseCommand):
    help = "Reprocessa falhas definitivas: uma (--id), várias, ou tudo o que os filtros nomeiam. --dry-run só mostra."

    def run_from_argv(self, argv: list[str]) -> None:
        """Log lines go to stderr here: a script reads stdout."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
                handler.setStream(sys.stderr)
        super().run_from_argv(argv)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--id", action="append", dest="ids", metavar="ID", help="id da falha; pode repetir")
        parser.add_argument("--campanha", metavar="N", help="número da campanha")
        parser.add_argument("--outcome", help="resultado, por exemplo FAILED_PROVIDER")
        parser.add_argument("--motivo-codigo", metavar="CÓDIGO", help="começo do código do motivo")
        parser.add_argument("--desde", help="falhou a partir de: 2026-03-31 ou 2026-03-31T10:00 (Brasília)")
        parser.add_argument("--ate", help="falhou antes de")
        parser.add_argument("--tipo", help="tipo da mensagem, por exemplo campanha")
        parser.add_argument("--chip", metavar="ID", help="id do último chip que tentou")
        parser.add_argument("--quarentena", action="store_true", help="inclui as que estão em quarentena")
        parser.add_argument("--tudo", action="store_true", help="todas as falhas: sem filtro, é preciso dizer isto")
        parser.add_argument(
            "--forcar", action="store_true", help="uma só (--id): mesmo que uma tentativa possa ter chegado"
        )
        parser.add_argument("--motivo", default="", help="por que reprocessar, pelo menos 10 caracteres")
        parser.add_argument("--usuario", default="", help="quem faz (fica na auditoria)")
        parser.add_argument("--dry-run", action="store_true", help="mostra o que aconteceria e não muda nada")
        parser.add_argument("--json", action="store_true", dest="as_json", help="resultado como um objeto JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            result = _preview(options) if options["dry_run"] else _run(options)
        except (FiltroInvalido, MotivoMissing) as error:
            raise CommandError(str(error), returncode=UNUSABLE) from None
        except ReprocessoError as error:
            raise CommandError(error.sentence, returncode=REFUSED) from None
        self.stdout.write(json.dumps(result, ensure_ascii=False) if options["as_json"] else _as_text(result))


def _filters(options: Options) -> Filtros:
    given = {("motivo" if key == "motivo_codigo" else key): options[key] for key in FILTERS if options[key]}
    if not set(given) - {"quarentena"} and not options["tudo"]:
        raise FiltroInvalido("diga o que reprocessar: --id, um filtro, ou --tudo")
    filtros = Filtros.parse(given)
    if options["forcar"] and (filtros.ids is None or len(filtros.ids) != 1):
        raise FiltroInvalido("--forcar vale para uma falha só: diga qual com --id")
    return filtros


def _preview(options: Options) -> dict[str, Any]:
    found = services.preview(_filters(options), forcar=options["forcar"])
    return {
        "dry_run": True,
        "total": found.total,
        "reprocessadas": found.reprocessaveis,
        "recusas": {reason.value: count for reason, count in found.recusas.items()},
    }


def _run(options: Options) -> dict[str, Any]:
    filtros = _filters(options)
    actor = options["usuario"] or f"terminal:{getpass.getuser()}"
    rng, now = random.Random(), clock.database_now()
    if options["forcar"] and filtros.ids:
        new = services.reprocess_one(
            filtros.ids[0], actor=actor, motivo=options["motivo"], rng=rng, now=now, forcar=True
        )
        return {"total": 1, "reprocessadas": 1, "recusas": {}, "mensagem": str(new), "concluido": True}
    run = services.reprocess(filtros, actor=actor, motivo=options["motivo"], rng=rng, now=now)
    if run.concluido_em is None:  # large: a cluster may have begun with it, and then goes on
        services.continue_run(run.pk, rng=rng, now=now, deadline=Deadline(PATIENCE))
        run.refresh_from_db()
    return _described(run)


def _described(run: Reprocessamento) -> dict[str, Any]:
    found = run.resultado
    return {
        "reprocessamento": str(run.pk),
        "total": found["total"],
        "reprocessadas": found["reprocessadas"],
        "recusas": found["recusas"],
        "concluido": run.concluido_em is not None,
    }


def _as_text(result: dict[str, Any]) -> str:
    verb = "seriam reprocessadas" if result.get("dry_run") else "reprocessadas"
    lines = [f"{result['reprocessadas']} de {result['total']} falhas {verb}"]
    lines += [f"  {number} ficam: {Recusa(reason).label}" for reason, number in result["recusas"].items()]
    if result.get("concluido") is False:
        lines.append(f"As demais seguem em segundo plano (reprocessamento {result['reprocessamento']}).")
    return "\n".join(lines)
