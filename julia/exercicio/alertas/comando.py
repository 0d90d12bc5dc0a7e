"""One simulation from beginning to end: scratch database, month, verdict."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator

from django.conf import settings
from django.db import connection

from core.database import execute
from core.metrics import counters
from julia.exercicio.alertas import relatorio
from julia.exercicio.alertas.relatorio import Relatorio
from julia.exercicio.alertas.sabotagem import SABOTAGENS
from julia.exercicio.alertas.simulacao import START, Simulacao, Tamanho
from julia.exercicio.bancada import Tamanhos, montada
from julia.exercicio.servidor import server_for

NOME = "alertas"
TITULO = "Um mês simulado: cada falha é avisada a tempo, e ninguém é acordado à toa."


def execute_simulation(tamanho: Tamanho, *, sabotar: str = "") -> Relatorio:
    """Raises DrillRefused when it may not run here at all. Everything happens in this process."""
    began = time.monotonic()
    notes: tuple[str, ...] = ()
    with (
        server_for(os.environ["DATABASE_URL"], private=False) as server,
        montada(server, Tamanhos(tamanho.semente), start=START, pace=0.0) as bancada,
    ):
        if sabotar:
            bancada.banco.script(SABOTAGENS[sabotar].sql)
            notes = (f"SABOTADO ({sabotar}): {SABOTAGENS[sabotar].descricao}",)
        with _quiet(), _uncounted(), _one_connection(bancada.scratch.name):
            medida = Simulacao(bancada, tamanho).run()
    return relatorio.build(tamanho, medida, notes=notes, duracao_s=time.monotonic() - began)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A month of log lines interests nobody: what went wrong is in the rows."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _uncounted() -> Iterator[None]:
    """What this process counts of simulated runs never reaches the metrics of the operation."""
    before = settings.METRICS_FLUSH_EVERY_S
    settings.METRICS_FLUSH_EVERY_S = 0.0
    try:
        yield
    finally:
        counters.forget()
        settings.METRICS_FLUSH_EVERY_S = before


@contextlib.contextmanager
def _one_connection(database: str) -> Iterator[None]:
    """Kept for the whole month, and nobody waits for the disk: what a crash would lose is thrown away anyway."""
    execute(f"ALTER DATABASE {connection.ops.quote_name(database)} SET synchronous_commit = off")
    connection.close()
    before = connection.settings_dict["CONN_MAX_AGE"]
    connection.settings_dict["CONN_MAX_AGE"] = None
    try:
        yield
    finally:
        connection.settings_dict["CONN_MAX_AGE"] = before
