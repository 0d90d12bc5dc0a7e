"""A drill that stays green while somebody breaks what it protects would prove nothing."""

import pytest

from julia.exercicio.sabotagem import SABOTAGENS
from tests.exercicio.exercicios import broken, drill

pytestmark = pytest.mark.slow

#: The smallest drill in which each switch shows. Those left out need minutes: `make drills` throws them.
SHOWN_BY = {
    "duplicata": ["ensaio", "--mensagens", "6"],
    "fio": ["ensaio"],
    "perda": ["ensaio"],
    "explicacao": ["ensaio"],
    "limites": ["ensaio"],
    "jobs": ["ensaio"],
    "circuito": ["ensaio_circuito"],
    "opt_out": ["opt_out_na_corrida", "--mensagens", "45"],
    "alerta": ["ensaio_restrito"],
    "ejecao": ["ensaio_restrito"],
    "evidencia": ["worker_morto", "--mensagens", "12", "--mortes", "1"],
}
LONG = {"lento", "instantes"}


def test_every_switch_is_thrown_somewhere() -> None:
    assert SHOWN_BY.keys() | LONG == SABOTAGENS.keys()


@pytest.mark.parametrize("switch", SHOWN_BY)
def test_its_drill_fails(switch: str) -> None:
    code, report = drill(*SHOWN_BY[switch], "--sabotar", switch)
    assert code == 1
    assert not report["ok"]
    assert SABOTAGENS[switch].quebra in broken(report), report["observacoes"]
