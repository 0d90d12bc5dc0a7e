"""The afternoon in January, and everything like it: one chip of four is restricted while a campaign goes out."""

from datetime import timedelta

from fila.campanhas.status import summary
from julia.exercicio.bancada import Bancada
from julia.exercicio.cenario import Minimos, cenario
from julia.exercicio.cenarios.restricao import (
    MESSAGES,
    SENT_BEFORE,
    TRUSTS,
    expect_ejection,
    expect_few_calls,
    expect_out_after_burst,
    expect_provider_closed,
    expect_recovery,
    expect_sent,
    first_refusal,
    set_up,
)
from julia.exercicio.verdade import utc


@cenario(
    "incidente",
    "O incidente de janeiro: um de quatro chips é restrito depois de 4 envios e recusa sem enviar.",
    minimos=Minimos(mensagens=MESSAGES),
)
def incidente(b: Bancada) -> None:
    chips, _ = set_up(b, "restrito")
    refused = first_refusal(b, chips[0])
    expect_ejection(b, chips[0], refused)
    b.run_until_settled(real_s=400)
    expect_recovery(b, chips[0], refused)
    expect_few_calls(b, chips[0])
    expect_provider_closed(b)
    expect_sent(b, len(b.frota.mensagens))


@cenario(
    "incidente_400_ambiguo",
    "O mesmo, mas o chip restrito responde 400 sem dizer se enviou: o que ficou no ar não é reenviado.",
    minimos=Minimos(mensagens=MESSAGES),
)
def incidente_400_ambiguo(b: Bancada) -> None:
    chips, _ = set_up(b, "restrito_400")
    refused = first_refusal(b, chips[0])
    b.run_until_settled(real_s=400)
    expect_recovery(b, chips[0], refused)
    expect_provider_closed(b)
    expect_sent(b, len(b.frota.mensagens) - 3)
    uncertain = b.count("incerta", "erro")
    b.goal("ate_3_incertas", uncertain <= 3, f"{uncertain} incertas ou encerradas como incertas")


@cenario(
    "incidente_201_error",
    "O mesmo, mas o chip restrito responde 201 e só o aviso ERROR diz que nada chegou.",
    minimos=Minimos(mensagens=MESSAGES),
)
def incidente_201_error(b: Bancada) -> None:
    chips, _ = set_up(b, "restrito_201_error")
    refused = first_refusal(b, chips[0])
    expect_out_after_burst(b, chips[0])

    def delivered() -> int:
        return b.simulador.truth(summary=True).delivered

    b.run(lambda: delivered() >= len(b.frota.mensagens), for_s=8 * 3600, real_s=400, what="todas entregues")
    b.run_until_settled()
    b.goal("todas_entregues", delivered() == len(b.frota.mensagens), f"{delivered()} entregues no fio")
    expect_recovery(b, chips[0], refused)
    expect_provider_closed(b)


@cenario(
    "incidente_sem_reserva",
    "O mesmo sem nenhum outro chip: nada se perde, quase nada é tentado, e a campanha diz por que espera.",
    minimos=Minimos(mensagens=MESSAGES),
)
def incidente_sem_reserva(b: Bancada) -> None:
    chips, campanha = set_up(b, "restrito", TRUSTS[:1])
    refused = first_refusal(b, chips[0])
    expect_ejection(b, chips[0], refused)
    ten_minutes = refused + timedelta(minutes=10)
    b.run(lambda: b.relogio.now() >= ten_minutes, what="dez minutos")
    probes = sum(refused < utc(call.at) <= ten_minutes for call in b.simulador.calls(chips[0].instancia))
    b.goal("ate_1_sonda_em_10_min", probes <= 1, f"{probes} chamadas além da primeira recusada")
    # Worker time is real: what waits gets its reason every few seconds, and the ten minutes passed in fewer.
    b.wait(lambda: bool(summary(campanha)["espera_por"]), real_s=20, what="a campanha dizer por que espera")
    look = summary(campanha)
    left = len(b.frota.mensagens) - SENT_BEFORE
    b.goal("nada_perdido_na_espera", look["pendentes"] == left, f"{look['pendentes']} de {left} pendentes")
    b.goal("campanha_diz_por_que_espera", look["status"] == "ativa" and bool(look["espera_por"]), f"{look}")
    expect_provider_closed(b)
