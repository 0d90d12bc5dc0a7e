"""The scenarios. Importing a module registers its own."""

from julia.exercicio.cenarios import (
    agendadores,
    conciliacao,
    ensaio,
    frota_doente,
    incidente,
    pessoas,
    processos,
    provedores,
    respostas,
)

#: The order of `exercicio todos` and of the list; what is not named here comes last.
ORDEM = (
    "incidente", "incidente_400_ambiguo", "incidente_201_error", "incidente_sem_reserva", "worker_morto",
    "cluster_travado", "banco_reinicia", "provedor_fora", "provedor_lento", "buraco_negro", "respostas_malformadas",
    "quatrocentos_mas_enviou", "zapi_reconecta", "webhooks_baguncados", "pool_colapsa", "manada", "opt_out_na_corrida",
    "dois_schedulers", "relogio_salta", "update_na_mao",
)  # fmt: skip

__all__ = [
    "ORDEM", "agendadores", "conciliacao", "ensaio", "frota_doente", "incidente", "pessoas", "processos", "provedores",
    "respostas",
]  # fmt: skip
