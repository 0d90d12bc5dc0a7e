"""One drill from beginning to end: bench, scenario, evidence, report."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field

from julia.embedded.places import PROJECT
from julia.exercicio import relatorio, sabotagem, verdade
from julia.exercicio.bancada import Bancada, Tamanhos, montada
from julia.exercicio.cenario import Cenario
from julia.exercicio.errors import DrillStuck
from julia.exercicio.relatorio import Relatorio
from julia.exercicio.servidor import server_for


@dataclass(frozen=True, slots=True)
class Pedido:
    cenario: Cenario
    tamanhos: Tamanhos = field(default_factory=Tamanhos)
    sabotagem: str = ""
    keep: bool = False


def execute(pedido: Pedido) -> Relatorio:
    """Raises DrillRefused when the drill may not run here at all; everything else is in the report."""
    began = time.monotonic()
    cenario = pedido.cenario
    with (
        server_for(os.environ["DATABASE_URL"], private=cenario.proprio_servidor) as server,
        montada(server, pedido.tamanhos, start=cenario.start, simulator=cenario.simulator, keep=pedido.keep) as bancada,
    ):
        if pedido.sabotagem:
            sabotagem.apply(pedido.sabotagem, bancada)
        broken = _run(cenario, bancada)
        if pedido.keep:
            bancada.note(f"registros dos processos em {bancada.processos.logs}")
        evidence = verdade.gather(bancada)
        took = time.monotonic() - began
        return relatorio.build(
            cenario, pedido.tamanhos.semente, evidence, bancada.medidas, broken=broken, duracao_s=took
        )


def execute_apart(pedido: Pedido) -> Relatorio:
    """The same in a process of its own, for drills that run beside each other."""
    began = time.monotonic()
    sizes = pedido.tamanhos
    words = [pedido.cenario.nome, "--semente", str(sizes.semente), "--json"]
    words += ["--mensagens", str(sizes.mensagens)] if sizes.mensagens is not None else []
    words += ["--mortes", str(sizes.mortes)] if sizes.mortes is not None else []
    words += ["--sabotar", pedido.sabotagem] if pedido.sabotagem else []
    words += ["--manter"] if pedido.keep else []
    done = subprocess.run(
        [sys.executable, "manage.py", "exercicio", *words], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    lines = done.stdout.strip().splitlines()
    took = time.monotonic() - began
    if not lines:
        said = done.stderr.strip().splitlines() or ["sem uma palavra"]
        return Relatorio(
            pedido.cenario.nome, sizes.semente, observacoes=(f"o exercício caiu: {said[-1]}",), duracao_s=took
        )
    return relatorio.read(json.loads(lines[-1]), titulo=pedido.cenario.titulo, duracao_s=took)


def _run(cenario: Cenario, bancada: Bancada) -> str:
    """Why the scenario did not come to its end, or nothing. It is judged either way."""
    try:
        cenario.funcao(bancada)
        bancada.run_until_quiet()
    except DrillStuck as stuck:
        return str(stuck)
    return ""
