"""Answers that cannot be understood."""

from julia.exercicio.bancada import Bancada
from julia.exercicio.cenario import Minimos, cenario

MALFORMED = ("cortado", "vazio", "html", "lista", "sem_id")


def _roomy_campaign(b: Bancada, messages: int, chips: int = 6) -> None:
    b.start_api()
    b.frota.settings(limite_global_hora=None, limite_global_dia=None, pacing_s={"min": 3, "max": 8})
    b.frota.add_chips([85] * chips)
    b.start_agenda()
    b.frota.due_campaign(b.tamanhos.mensagens or messages)


@cenario(
    "respostas_malformadas",
    "Um terço das respostas vem cortado, vazio, em HTML ou com o corpo pela metade, e a mensagem saiu assim mesmo.",
    minimos=Minimos(mensagens=80),
)
def respostas_malformadas(b: Bancada) -> None:
    _roomy_campaign(b, 80)
    for variant in MALFORMED:
        b.simulador.fault("malformado", variant=variant, probability=0.07)
    b.simulador.fault("reset_no_corpo", probability=0.05)
    b.simulador.fault("html_502", probability=0.05, sends=True)
    b.start_workers(2, senders=8)
    b.run_until_settled()
    spoiled = sum(bool(call.fault) for call in b.simulador.calls())
    b.goal("falhas_aconteceram", spoiled >= 10, f"só {spoiled} respostas vieram estragadas")
    b.settle_uncertain()
    b.goal("todas_enviadas", b.count("enviada") == len(b.frota.mensagens), f"{b.count('enviada')} enviadas")
