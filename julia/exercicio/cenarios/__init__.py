"""The scenarios. Importing a module registers its own; the order here is the order of `exercicio todos`."""

from julia.exercicio.cenarios import incidente  # isort: skip
from julia.exercicio.cenarios import processos  # isort: skip
from julia.exercicio.cenarios import agendadores  # isort: skip
from julia.exercicio.cenarios import provedores  # isort: skip
from julia.exercicio.cenarios import respostas  # isort: skip
from julia.exercicio.cenarios import pessoas  # isort: skip
from julia.exercicio.cenarios import ensaio  # isort: skip

__all__ = ["agendadores", "ensaio", "incidente", "pessoas", "processos", "provedores", "respostas"]
