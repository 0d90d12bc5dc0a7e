"""`manage.py importar_clientes ARQUIVO.csv`: doctors from a CSV, with a report of every row that was refused."""

import getpass
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core import clock
from core.clientes import services
from core.clientes.csv_records import UnusableFile
from core.clientes.importacao import FIELDS, RejectedRow, RejectedSheet, rejected_sheet
from core.clientes.services import ImportReport

SHOWN_ROWS = 20
UNUSABLE = 2


class Command(BaseCommand):
    help = (
        "Importa médicos de um CSV (;, vírgula ou tabulação; UTF-8, UTF-16 ou Windows-1252). "
        f"A primeira linha tem os nomes das colunas: {', '.join(FIELDS)}; só telefone é obrigatória. "
        "Saída 0: importado, mesmo que algumas linhas tenham sido recusadas; 2: arquivo que não pôde ser usado."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("arquivo", metavar="ARQUIVO.csv", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="confere tudo e não grava nada")
        parser.add_argument(
            "--rejeitados", metavar="SAIDA.csv", type=Path, help="grava as linhas recusadas, para corrigir e importar"
        )
        parser.add_argument(
            "--mapa",
            metavar="coluna=campo",
            type=_mapping,
            action="append",
            default=[],
            help="usa uma coluna de outro nome, por exemplo --mapa celular=telefone; pode ser repetido",
        )
        parser.add_argument("--atualizar", action="store_true", help="médico já cadastrado recebe os dados do arquivo")

    def handle(self, *args: Any, **options: Any) -> None:
        arquivo: Path = options["arquivo"]
        saida: Path | None = options["rejeitados"]
        if saida and saida.resolve() == arquivo.resolve():
            raise CommandError("--rejeitados não pode ser o próprio arquivo importado.", returncode=UNUSABLE)
        try:
            with _rejected_sheet(saida) as sheet, arquivo.open("rb") as stream:
                report = services.importar(
                    stream,
                    nome_arquivo=arquivo.name,
                    actor=_actor(),
                    mapa=dict(options["mapa"]),
                    atualizar=options["atualizar"],
                    dry_run=options["dry_run"],
                    now=clock.now(),
                    on_rejected=sheet.add if sheet else _ignore,
                )
                if sheet and not sheet.count:
                    sheet.write_header(report.colunas)
        except UnusableFile as error:
            raise CommandError(f"{error} Nada foi importado.", returncode=UNUSABLE) from error
        except OSError as error:
            raise CommandError(
                f"Não foi possível abrir {error.filename or arquivo}: {error.strerror}. Nada foi importado.",
                returncode=UNUSABLE,
            ) from error
        self._print(report, saida=saida, dry_run=options["dry_run"])

    def _print(self, report: ImportReport, *, saida: Path | None, dry_run: bool) -> None:
        say: Callable[[str], None] = self.stdout.write
        say("Simulação: nada foi gravado." if dry_run else f"Importação {report.importacao_id} concluída.")
        say(f"  linhas      {report.linhas:>9}")
        say(f"  novos       {report.novos:>9}")
        say(f"  duplicados  {report.duplicados:>9}")
        say(f"  atualizados {report.atualizados:>9}")
        say(f"  rejeitados  {report.rejeitados:>9}")
        if report.colunas_ignoradas:
            say(f"Colunas sem uso aqui: {', '.join(report.colunas_ignoradas)}.")
        _say_rows(
            say, "Duplicadas", report.duplicados, [_duplicate_line(row) for row in report.duplicadas[:SHOWN_ROWS]]
        )
        _say_rows(
            say,
            "Recusadas",
            report.rejeitados,
            [f"linha {row.linha}: {row.motivo}" for row in report.rejeitadas[:SHOWN_ROWS]],
        )
        if saida:
            say(f"As linhas recusadas estão em {saida}: corrija-as e importe esse arquivo.")
        elif report.rejeitados:
            say("Para corrigi-las, repita com --rejeitados SAIDA.csv e importe o arquivo corrigido.")


def _say_rows(say: Callable[[str], None], title: str, total: int, lines: list[str]) -> None:
    if not total:
        return
    say(f"{title}:")
    for line in lines:
        say(f"  {line}")
    if total > len(lines):
        say(f"  … e mais {total - len(lines)}")


def _duplicate_line(row: services.Duplicate) -> str:
    where = "já cadastrado" if row.primeira is None else f"mesmo telefone da linha {row.primeira}"
    return f"linha {row.linha}: {where}"


def _mapping(text: str) -> tuple[str, str]:
    column, equals, field = text.rpartition("=")
    if not (column.strip() and equals and field.strip()):
        raise ArgumentTypeError(f"escreva coluna=campo, por exemplo celular=telefone (recebido: {text!r})")
    return column.strip(), field.strip().lower()


@contextmanager
def _rejected_sheet(path: Path | None) -> Iterator[RejectedSheet | None]:
    if path is None:
        yield None
    else:
        with rejected_sheet(path) as sheet:
            yield sheet


def _ignore(row: RejectedRow) -> None:
    """Without --rejeitados nothing is written."""


def _actor() -> str:
    try:
        return f"linha de comando ({getpass.getuser()})"
    except (KeyError, OSError):  # an account without a name, as in a container
        return "linha de comando"
