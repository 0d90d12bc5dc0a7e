"""Small rehearsals: a few seconds each, for the sabotage switches and for whoever wants to see a drill work."""

from julia.exercicio.bancada import Bancada
from julia.exercicio.cenario import Minimos, cenario
from julia.exercicio.cenarios.restricao import expect_ejection, expect_few_calls, first_refusal

PER_CHIP_AND_HOUR = 3


@cenario(
    "ensaio",
    "Vinte mensagens, quatro chips, limites apertados e nenhuma falha: o menor exercício que existe.",
    minimos=Minimos(mensagens=20),
    simulator={"latency_ms": "5-20", "pace": 0.0},
    extra=True,
)
def ensaio(b: Bancada) -> None:
    b.frota.roomy()
    chips = b.frota.add_chips([85] * 4, limite_hora=2 * PER_CHIP_AND_HOUR)
    b.start_agenda()
    b.frota.due_campaign(b.tamanhos.mensagens or 20)
    b.start_workers(1, senders=8)
    most = min(len(b.frota.mensagens), PER_CHIP_AND_HOUR * len(chips))
    b.run(lambda: b.count("enviada") >= most, for_s=60)
    b.run(for_s=120)
    b.goal("o_limite_parou_o_envio", b.count("enviada") == most, f"{b.count('enviada')} enviadas, o limite dá {most}")


@cenario(
    "ensaio_circuito",
    "Um provedor que recusa tudo por alguns minutos: o circuito abre e quase nada é tentado.",
    minimos=Minimos(mensagens=20),
    simulator={"latency_ms": "5-20", "pace": 0.0},
    extra=True,
)
def ensaio_circuito(b: Bancada) -> None:
    b.frota.settings(limite_global_hora=None, limite_global_dia=None, pacing_s={"min": 5, "max": 10})
    b.frota.add_chips([85] * 4)
    b.frota.due_campaign(b.tamanhos.mensagens or 20)
    b.start_workers(1, senders=8)
    b.run(lambda: b.count("enviada") >= 2, what="os primeiros envios")
    b.simulador.fault("recusa", provider="evolution")
    b.run(for_s=240)
    opened = "SELECT count(*) FROM circuit_transitions WHERE circuit_name = 'evolution' AND to_state = 'open'"
    b.goal("circuito_abriu", b.banco.value(opened) >= 1, "o circuito da Evolution não abriu")


@cenario(
    "ensaio_restrito",
    "Um de dois chips é restrito depois do primeiro envio: sai na hora, com alerta, e o outro leva o resto.",
    minimos=Minimos(mensagens=6),
    simulator={"latency_ms": "5-20", "pace": 0.0},
    extra=True,
)
def ensaio_restrito(b: Bancada) -> None:
    b.frota.roomy()
    ill, _ = b.frota.add_chips([85, 70])
    b.simulador.fault("restringe_apos", instance=ill.instancia, n=1, mode="restrito")
    b.frota.due_campaign(b.tamanhos.mensagens or 6)
    b.start_workers(1, senders=8)
    refused = first_refusal(b, ill, sent=1)
    expect_ejection(b, ill, refused)
    expect_few_calls(b, ill)
    b.run_until_settled(for_s=1800)
    b.goal("todas_enviadas", b.count("enviada") == len(b.frota.mensagens), f"{b.count('enviada')} enviadas")
