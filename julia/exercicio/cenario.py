"""What a scenario is, and the registry of all of them.

A scenario is a function that takes the workbench, breaks something, lets time pass and says what it expected:

    @cenario("worker_morto", "O worker morre com SIGKILL no meio dos envios", minimos=Minimos(mensagens=60, mortes=3))
    def worker_morto(b: Bancada) -> None: …
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from julia.exercicio.bancada import Bancada
from julia.exercicio.relogio import START


@dataclass(frozen=True, slots=True)
class Minimos:
    """Below these sizes, as reached, a drill proves nothing and fails."""

    mensagens: int = 1
    mortes: int = 0
    mortes_com_chamada: int = 0


@dataclass(frozen=True, slots=True)
class Cenario:
    """`start` None: on the machine's own time. `simulator`: options of its process. `proprio_servidor`: it crashes the
    database. `extra`: run only when named, not by `todos`."""

    nome: str
    titulo: str
    funcao: Callable[[Bancada], None]
    minimos: Minimos = Minimos()
    start: datetime | None = START
    simulator: Mapping[str, Any] = field(default_factory=dict)
    proprio_servidor: bool = False
    extra: bool = False


_cenarios: dict[str, Cenario] = {}


def cenario(nome: str, titulo: str, **values: Any) -> Callable[[Callable[[Bancada], None]], Callable[[Bancada], None]]:
    """Register a scenario; `values` are the other fields of `Cenario`."""

    def register(function: Callable[[Bancada], None]) -> Callable[[Bancada], None]:
        if nome in _cenarios:
            raise ValueError(f"cenário {nome} registrado duas vezes")
        _cenarios[nome] = Cenario(nome, titulo, function, **values)
        return function

    return register


def all_scenarios() -> dict[str, Cenario]:
    """By name, in the order of `cenarios.ORDEM`."""
    from julia.exercicio.cenarios import ORDEM  # importing them registers them

    known = {name: number for number, name in enumerate(ORDEM)}
    return dict(sorted(_cenarios.items(), key=lambda pair: known.get(pair[0], len(known))))
