"""The scenarios. Importing a module registers its own; the order here is the order of `exercicio todos`."""

from julia.exercicio.cenarios import processos

__all__ = ["processos"]
