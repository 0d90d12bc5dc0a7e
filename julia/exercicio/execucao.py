"""One drill from beginning to end: bench, scenario, evidence, report."""

import os
import time
from dataclasses import dataclass, field

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


def _run(cenario: Cenario, bancada: Bancada) -> str:
    """Why the scenario did not come to its end, or nothing. It is judged either way."""
    try:
        cenario.funcao(bancada)
        bancada.run_until_quiet()
    except DrillStuck as stuck:
        return str(stuck)
    return ""
