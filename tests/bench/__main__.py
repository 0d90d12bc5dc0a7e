"""`make bench`: what the full protocol costs, with real worker processes and real HTTP. One JSON line a figure.

`python -m tests.bench [drain] [enfileirar] [--mensagens N] [--chips N] [--latencia-ms N] [--processos 1,2]`
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from julia import embedded

os.environ["APP_ENV"] = "test"
os.environ.setdefault("LOG_LEVEL", "ERROR")
server = None if os.environ.get("DATABASE_URL") else embedded.use_for_tests()
if server is not None:
    os.environ["DATABASE_URL"] = server.cluster.url
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "julia.settings")

import django  # noqa: E402

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.test.utils import setup_databases, teardown_databases  # noqa: E402

from chips.simulator.client import SimulatorProcess  # noqa: E402
from core.database import execute, rows  # noqa: E402
from tests import factories  # noqa: E402
from tests.fila.killing import environment_for  # noqa: E402

POLL_S = 0.05


def say(**figure: Any) -> None:
    print(json.dumps(figure, ensure_ascii=False), flush=True)


def prepare(messages: int, chips: int, simulator: SimulatorProcess) -> None:
    """An operation without limits, its chips open in the simulator, and one campaign's rows due."""
    execute("TRUNCATE fila_mensagens, envios_tentativas, chips, clientes, campanhas, limites_minutos CASCADE")
    factories.open_operation(contact_cap_7d={"enabled": False})
    simulator.reset()
    for chip in [factories.chip() for _ in range(chips)]:
        simulator.register(chip.instance_name, phone=chip.telefone)
    campanha = factories.campanha()
    execute(
        """INSERT INTO clientes (telefone, nome, primeiro_nome, status_telefone)
           SELECT '55119' || lpad((10000000 + n)::text, 8, '0'), 'Médica ' || n, 'Médica', 'validado'
           FROM generate_series(1, %s) n""",
        [messages],
    )
    execute(
        """INSERT INTO fila_mensagens (cliente_id, campanha_id, telefone_destino, conteudo, tipo, prioridade)
           SELECT id, %s, telefone, 'Olá ' || nome || ', temos um plantão.', 'campanha', 3 FROM clientes
           WHERE nome LIKE 'Médica %%'""",
        [campanha.id],
    )
    execute("ANALYZE")


@contextmanager
def workers(count: int, simulator: SimulatorProcess, senders: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    environment = environment_for(simulator) | {"FILA_SENDERS": str(senders)}
    started = [
        subprocess.Popen(
            [sys.executable, "manage.py", "fila_worker"],
            cwd=settings.BASE_DIR,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        for _ in range(count)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(30)


def cpu_s(processes: list[subprocess.Popen[bytes]]) -> float:
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0
    for process in processes:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / ticks


def drain(messages: int, chips: int, latency_ms: int, processes: int) -> None:
    """Rate = messages / (last result recorded - first attempt); the boot of the workers is left out."""
    with SimulatorProcess(fast=latency_ms == 0, latency_ms=str(latency_ms)) as simulator:
        prepare(messages, chips, simulator)
        with workers(processes, simulator, senders=max(16, chips // processes)) as running:
            deadline = time.monotonic() + 600
            while rows("SELECT count(*) AS n FROM fila_mensagens WHERE status = 'enviada'")[0]["n"] < messages:
                if time.monotonic() > deadline:
                    raise SystemExit("the drain did not finish in 10 minutes")
                time.sleep(POLL_S * 4)
            used = cpu_s(running)
        truth = simulator.truth(summary=True)
    span = rows("SELECT extract(epoch FROM max(encerrado_em) - min(iniciado_em)) AS s FROM envios_tentativas")[0]["s"]
    say(
        medida="drenagem", processos=processes, mensagens=messages, chips=chips, latencia_ms=latency_ms,
        por_segundo=round(messages / float(span), 1), cpu_worker_ms_por_mensagem=round(used * 1000 / messages, 3),
        no_fio=truth.total, duplicadas=len(truth.duplicates),
    )  # fmt: skip
    if truth.total != messages or truth.duplicates:
        raise SystemExit("the wire truth does not match: the figure is worth nothing")


def enqueue(recipients: int) -> None:
    """A campaign's start from selection to the last row in the fila, beside a plain INSERT … SELECT of such rows."""
    from core.clock import now
    from fila.campanhas import services

    execute("TRUNCATE fila_mensagens, envios_tentativas, chips, clientes, campanhas, limites_minutos CASCADE")
    factories.open_operation()
    for _ in range(5):
        factories.chip()
    execute(
        """INSERT INTO clientes (telefone, nome, primeiro_nome, especialidade, status_telefone)
           SELECT '55119' || lpad((10000000 + n)::text, 8, '0'), 'Médica ' || n, 'Médica', 'Pediatria', 'validado'
           FROM generate_series(1, %s) n""",
        [recipients],
    )
    execute("ANALYZE")
    campanha = services.create(
        nome="Medida", tipo="oferta_plantao", corpo="Olá {primeiro_nome|colega}, plantão de {especialidade|medicina}?",
        filters={"quantidade_alvo": recipients, "dias_sem_contato": 0}, actor="medida", now=now(),
    )  # fmt: skip
    started = time.monotonic()
    services.start(campanha.pk, actor="medida", now=now())
    ours = time.monotonic() - started
    enqueued = rows("SELECT count(*) AS n FROM fila_mensagens WHERE campanha_id = %s", [campanha.pk])[0]["n"]
    execute("DELETE FROM fila_mensagens")
    started = time.monotonic()
    execute(
        """INSERT INTO fila_mensagens (cliente_id, campanha_id, telefone_destino, conteudo, tipo, prioridade,
               agendar_para) SELECT id, %s, telefone, 'Olá Médica, plantão de Pediatria?', 'campanha', 3,
               agora() + interval '1 day' FROM clientes""",
        [campanha.pk],
    )
    plain = time.monotonic() - started
    say(
        medida="enfileirar", destinatarios=enqueued, segundos=round(ours, 2), insert_simples_s=round(plain, 2),
        razao=round(plain / ours, 3),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("medidas", nargs="*", default=["drain", "enfileirar"])
    parser.add_argument("--mensagens", type=int, default=10_000)
    parser.add_argument("--chips", type=int, default=200)
    parser.add_argument("--latencia-ms", type=int, default=0)
    parser.add_argument("--processos", default="1,2")
    parser.add_argument("--destinatarios", type=int, default=100_000)
    chosen = parser.parse_args()
    connection.ensure_connection()
    databases = setup_databases(verbosity=0, interactive=False)
    try:
        if "drain" in chosen.medidas:
            for count in map(int, chosen.processos.split(",")):
                drain(chosen.mensagens, chosen.chips, chosen.latencia_ms, count)
        if "enfileirar" in chosen.medidas:
            enqueue(chosen.destinatarios)
    finally:
        teardown_databases(databases, verbosity=0)
        if server is not None:
            connection.close()
            server.release()


main()
