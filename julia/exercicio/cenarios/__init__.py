"""The scenarios. Importing a module registers its own; the order here is the order of `exercicio todos`."""

from julia.exercicio.cenarios import agendadores, incidente, pessoas, processos, provedores, respostas

__all__ = ["agendadores", "incidente", "pessoas", "processos", "provedores", "respostas"]
