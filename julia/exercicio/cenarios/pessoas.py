"""Many at once, people who leave while we write to them, operators with SQL, and clocks that jump."""

from typing import Any

from julia.exercicio.bancada import Bancada
from julia.exercicio.cenario import Minimos, cenario

LEAVING = "não quero mais receber mensagens, pode me remover"
OPEN_ALL_DAY: dict[str, Any] = {"inicio": "00:00", "fim": "24:00", "dias": [1, 2, 3, 4, 5, 6, 7]}


@cenario(
    "manada",
    "Dez mil mensagens vencem no mesmo instante: cada limite é respeitado e tudo sai uma vez.",
    minimos=Minimos(mensagens=10_000),
    simulator={"latency_ms": "5-30", "pace": 0.0},
)
def manada(b: Bancada) -> None:
    b.frota.settings(limite_global_hora=12_000, limite_global_dia=40_000, pacing_s={"min": 5, "max": 15})
    b.frota.add_chips([80 + n % 20 for n in range(60)], limite_hora=240, limite_dia=2_000, delay_minimo_segundos=5)
    total = b.tamanhos.mensagens or 10_000
    for part in range(4):
        b.frota.due_campaign(total // 4, nome=f"Parte {part + 1}")
    b.start_workers(2, senders=32)
    began = b.relogio.now()
    b.run_until_settled(real_s=900, least_s=10.0)
    b.medidas.recuperacao_s = (b.relogio.now() - began).total_seconds()
    b.goal("todas_enviadas", b.count("enviada") == len(b.frota.mensagens), f"{b.count('enviada')} enviadas")


@cenario(
    "opt_out_na_corrida",
    "Pessoas pedem para sair enquanto as mensagens para elas saem: depois do pedido só a confirmação chega.",
    minimos=Minimos(mensagens=120),
    simulator={"latency_ms": "60-250", "pace": 0.05},
)
def opt_out_na_corrida(b: Bancada) -> None:
    b.start_api()
    b.frota.settings(limite_global_hora=None, limite_global_dia=None, pacing_s={"min": 1, "max": 2})
    chips = b.frota.add_chips([85] * 6)
    people = b.frota.add_people((b.tamanhos.mensagens or 120) // 3)
    for nome in ("Primeira", "Segunda", "Terceira"):
        b.frota.due_reminders(people, nome=nome)
    b.start_workers(2, senders=8)
    leaving = b.rng.sample(people, k=len(people) // 2)
    for person in leaving:
        b.run(b.more("enviada"), for_s=20, step_s=1.0)
        b.simulador.inbound(b.rng.choice(chips).instancia, person.telefone, LEAVING)
    b.simulador.wait_quiet(timeout_s=30)
    stored = """SELECT pessoa, min(recebido_em) AS em FROM webhook_eventos WHERE kind = 'entrada' GROUP BY pessoa"""
    b.run(lambda: len(b.banco.rows(stored)) == len(leaving), what="os pedidos de saída chegarem")
    b.medidas.opt_outs |= {row["pessoa"]: row["em"] for row in b.banco.rows(stored)}
    b.run_until_settled()
    b.goal("alguem_saiu_no_meio", b.count("bloqueada") > 0, "nenhuma mensagem foi barrada: a corrida não aconteceu")
    out = "SELECT count(*) FROM doctor_state WHERE permission_state = 'opted_out'"
    b.goal("pedidos_gravados", b.banco.value(out) == len(leaving), f"{b.banco.value(out)} de {len(leaving)}")


@cenario(
    "relogio_salta",
    "O relógio da máquina pula para a frente e para trás com chamadas abertas: nada repete, nada se perde.",
    minimos=Minimos(mensagens=80),
    simulator={"latency_ms": "300-900", "pace": 0.05},
)
def relogio_salta(b: Bancada) -> None:
    b.start_api()
    b.frota.settings(janela_envio=OPEN_ALL_DAY, limite_global_hora=None, limite_global_dia=None,
                     pacing_s={"min": 1, "max": 3})  # fmt: skip
    b.frota.add_chips([85] * 6)
    b.start_agenda()
    b.frota.due_campaign(b.tamanhos.mensagens or 80)
    b.start_workers(2, senders=8)
    for seconds in (600, -600, 10_800, -3_600, 90, -45):
        b.run(b.more("enviada", "incerta"), what="mais um envio")
        _wait_for_call(b)
        b.relogio.leap(seconds)
        b.note(f"relógio {'adiantado' if seconds > 0 else 'atrasado'} {abs(seconds)} s com chamadas abertas")
    b.run_until_settled()
    b.settle_uncertain()
    b.goal("todas_enviadas", b.count("enviada") == len(b.frota.mensagens), f"{b.count('enviada')} enviadas")


def _wait_for_call(b: Bancada) -> None:
    b.run(lambda: bool(b.calling()) or not b.count("pendente"), for_s=600, step_s=1.0)


@cenario(
    "update_na_mao",
    "Um operador devolve à fila, por SQL, mensagens que estão no fio: nenhuma sai duas vezes.",
    minimos=Minimos(mensagens=80),
    simulator={"latency_ms": "300-900", "pace": 0.05},
)
def update_na_mao(b: Bancada) -> None:
    b.start_api()
    b.frota.settings(limite_global_hora=None, limite_global_dia=None, pacing_s={"min": 1, "max": 3})
    b.frota.add_chips([85] * 6)
    b.start_agenda()
    b.frota.due_campaign(b.tamanhos.mensagens or 80)
    b.start_workers(2, senders=8)
    hit = 0
    for _ in range(6):
        b.run(lambda: bool(b.calling()) or not b.count("pendente"), for_s=600, step_s=1.0)
        hit += len(
            b.banco.rows("UPDATE fila_mensagens SET status = 'pendente' WHERE status = 'processando' RETURNING id")
        )
        b.run(b.more("enviada", "incerta"), what="mais um envio")
    b.goal("linhas_no_fio", hit >= 6, f"o UPDATE acertou só {hit} linhas em envio")
    b.run_until_settled()
    b.settle_uncertain()
    b.goal("todas_enviadas", b.count("enviada") == len(b.frota.mensagens), f"{b.count('enviada')} enviadas")
