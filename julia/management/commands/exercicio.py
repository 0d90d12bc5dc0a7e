"""`manage.py exercicio`: fault drills against the simulator, in a scratch database. Exit 0 only if all of it held."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from julia.exercicio import relatorio
from julia.exercicio.alertas import comando as alertas
from julia.exercicio.alertas.relatorio import table as alerts_table
from julia.exercicio.alertas.sabotagem import SABOTAGENS as SABOTAGENS_DE_ALERTAS
from julia.exercicio.alertas.simulacao import Tamanho
from julia.exercicio.bancada import Tamanhos
from julia.exercicio.cenario import Cenario, all_scenarios
from julia.exercicio.errors import DrillRefused
from julia.exercicio.execucao import Pedido, execute, execute_apart
from julia.exercicio.processos import OUTSIDE
from julia.exercicio.sabotagem import SABOTAGENS
from julia.exercicio.servidor import SharedServer

ALL = "todos"


class Command(BaseCommand):
    help = (
        "Exercício de falhas: processos reais da Julia contra o simulador de provedores, num banco descartável. "
        "Termina com 0 só quando todas as invariantes valem. docs/exercicios.md explica cada cenário."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("cenario", nargs="?", default="", help=f"nome do cenário, ou {ALL}")
        parser.add_argument("--semente", type=int, default=1, help="semente de todo acaso (padrão 1)")
        parser.add_argument("--paralelo", type=int, default=1, help="quantos exercícios ao mesmo tempo (padrão 1)")
        parser.add_argument("--vezes", type=int, default=1, help="repetições, cada uma com a semente seguinte")
        parser.add_argument("--mensagens", type=int, default=None, help="quantas mensagens, no lugar das do cenário")
        parser.add_argument("--mortes", type=int, default=None, help="quantas mortes, no lugar das do cenário")
        parser.add_argument("--dias", type=int, default=30, help=f"{alertas.NOME}: dias simulados (padrão 30)")
        parser.add_argument("--falhas", type=int, default=40, help=f"{alertas.NOME}: quantas falhas (padrão 40)")
        parser.add_argument("--reinicios", type=int, default=50, help=f"{alertas.NOME}: reinícios de quem avalia (50)")
        named = ", ".join([*SABOTAGENS, *SABOTAGENS_DE_ALERTAS])
        parser.add_argument(
            "--sabotar",
            default="",
            choices=["", *SABOTAGENS, *SABOTAGENS_DE_ALERTAS],
            metavar="NOME",
            help=f"quebra de propósito o que uma invariante protege; o exercício tem de falhar: {named}",
        )
        parser.add_argument("--json", action="store_true", help="a última linha de cada exercício é o relatório")
        parser.add_argument("--lista", action="store_true", help="só diz quais cenários existem")
        parser.add_argument("--manter", action="store_true", help="guarda os registros dos processos")
        parser.add_argument("--limpar", action="store_true", help="apaga bancos de exercícios que sobraram, e o modelo")

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        if options["lista"]:
            self._list()
            return
        try:
            if options["limpar"]:
                dropped = SharedServer(os.environ["DATABASE_URL"]).clear()
                self.stdout.write("\n".join(dropped) or "Nada sobrou.")
                return
            _cut_off()
            if options["cenario"] == alertas.NOME:
                self._simulate(options)
                return
            reports = [self._shown(report, options) for report in self._reports(_asked(options), options)]
        except DrillRefused as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Interrompido; o banco do exercício foi apagado.", returncode=130) from None
        if len(reports) > 1:
            self._tell(relatorio.summary(reports), options)
        if not all(report.ok for report in reports):
            sys.exit(1)

    def _simulate(self, options: dict[str, Any]) -> None:
        """A month of alerts: a drill of its own kind, in this process."""
        if options["sabotar"] in SABOTAGENS:
            raise CommandError(f"{alertas.NOME} tem as suas: {', '.join(SABOTAGENS_DE_ALERTAS)}")
        failed = False
        for repeat in range(options["vezes"]):
            size = Tamanho(options["semente"] + repeat, options["dias"], options["falhas"], options["reinicios"])
            self._tell(f"{alertas.NOME} (semente {size.semente}): {alertas.TITULO}", options)
            report = alertas.execute_simulation(size, sabotar=options["sabotar"])
            self._tell(alerts_table(report), options)
            if options["json"]:
                self.stdout.write(report.line)
                self.stdout.flush()
            failed = failed or not report.ok
        if failed:
            sys.exit(1)

    def _reports(self, asked: list[Pedido], options: dict[str, Any]) -> Iterator[relatorio.Relatorio]:
        """In the order asked, each as soon as it is there."""
        if options["paralelo"] > 1:
            with ThreadPoolExecutor(options["paralelo"]) as pool:
                yield from pool.map(execute_apart, asked)
            return
        for pedido in asked:
            self._tell(f"{pedido.cenario.nome} (semente {pedido.tamanhos.semente}): {pedido.cenario.titulo}", options)
            yield execute(pedido)

    def _shown(self, report: relatorio.Relatorio, options: dict[str, Any]) -> relatorio.Relatorio:
        self._tell(relatorio.table(report), options)
        if options["json"]:
            self.stdout.write(report.line)
            self.stdout.flush()
        return report

    def _tell(self, text: str, options: dict[str, Any]) -> None:
        """People read on; programs read only the reports."""
        stream = self.stderr if options["json"] else self.stdout
        stream.write(text, self.style.NOTICE if stream is self.stderr else None)
        stream.flush()

    def _list(self) -> None:
        self.stdout.write(f"{alertas.NOME:<26}{alertas.TITULO}  (fora de {ALL})")
        for each in all_scenarios().values():
            self.stdout.write(f"{each.nome:<26}{each.titulo}{'  (fora de todos)' if each.extra else ''}")


def _cut_off() -> None:
    """Begin anew without the operation's broker, cache and error reports, which were read before we had a say."""
    if not any(os.environ.get(name) for name in OUTSIDE):
        return
    environment = os.environ | dict.fromkeys(OUTSIDE, "")
    sys.exit(subprocess.call([sys.executable, *sys.argv], env=environment))


def _asked(options: dict[str, Any]) -> list[Pedido]:
    if options["sabotar"] in SABOTAGENS_DE_ALERTAS:
        raise CommandError(f"--sabotar {options['sabotar']} é só de {alertas.NOME}.")
    sizes = [
        Tamanhos(options["semente"] + repeat, options["mensagens"], options["mortes"])
        for repeat in range(options["vezes"])
    ]
    return [
        Pedido(cenario, size, options["sabotar"], options["manter"])
        for size in sizes
        for cenario in _chosen(options["cenario"])
    ]


def _chosen(nome: str) -> list[Cenario]:
    known = all_scenarios()
    if nome == ALL:
        return [each for each in known.values() if not each.extra]
    if nome in known:
        return [known[nome]]
    raise CommandError(f"Não existe o cenário {nome!r}. Use um destes, ou {ALL}: {', '.join([alertas.NOME, *known])}")
