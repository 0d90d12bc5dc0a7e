"""Processes that die: workers killed in the middle of everything."""

from julia.exercicio.bancada import Bancada
from julia.exercicio.cenario import Minimos, cenario


@cenario(
    "worker_morto",
    "Workers morrem com SIGKILL no meio dos envios; outros assumem, nada sai duas vezes e nada se perde.",
    minimos=Minimos(mensagens=60, mortes=4, mortes_com_chamada=2),
    simulator={"latency_ms": "150-400"},
)
def worker_morto(b: Bancada) -> None:
    b.start_api()
    b.frota.roomy()
    b.frota.add_chips([85] * 6)
    b.start_agenda()
    b.frota.due_campaign(b.tamanhos.mensagens or 60)
    b.start_workers(2, senders=6, keep_alive=True)
    for _ in range(b.tamanhos.mortes or 4):
        left = b.count("enviada", "incerta")
        b.run(lambda left=left: b.count("enviada", "incerta") > left, what="algum envio antes da próxima morte")
        b.kill_when_calling()
    began = b.relogio.now()
    b.run_until_settled()
    b.medidas.recuperacao_s = (b.relogio.now() - began).total_seconds()
    b.settle_uncertain()
