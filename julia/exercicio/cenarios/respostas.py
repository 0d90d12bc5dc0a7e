"""Answers that cannot be understood or believed, and webhooks that come as they please."""

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


@cenario(
    "quatrocentos_mas_enviou",
    "A Evolution responde 400 e enviou: com eco termina enviada, sem rastro fica incerta, e nunca é repetida.",
    minimos=Minimos(mensagens=60),
)
def quatrocentos_mas_enviou(b: Bancada) -> None:
    _roomy_campaign(b, 60)
    b.simulador.fault("400_enviou", evidence="full", probability=0.25)
    b.simulador.fault("400_enviou", evidence="row", probability=0.15)
    traceless = b.simulador.fault("400_enviou", evidence="none", probability=0.1)
    b.start_workers(2, senders=8)
    b.run_until_settled()
    struck = {fault["id"]: fault["struck"] for fault in b.simulador.faults()}
    b.goal("falhas_aconteceram", sum(struck.values()) >= 10, f"só {sum(struck.values())} respostas 400")
    b.run(lambda: b.count("incerta") <= struck[traceless], for_s=2 * 3600)
    left = b.count("incerta")
    b.goal("com_rastro_termina_enviada", left <= struck[traceless], f"{left} incertas, {struck[traceless]} sem rastro")
    b.run(lambda: b.count("incerta") == 0, for_s=26 * 3600, step_s=600.0, real_s=300)
    ended = b.banco.value("SELECT count(*) FROM fila_mensagens WHERE status = 'erro' AND outcome = 'FAILED_UNKNOWN'")
    b.goal("incerta_termina_em_24_h", b.count("incerta") == 0, f"{b.count('incerta')} incertas depois de 26 h")
    b.goal("sem_rastro_nunca_reenviada", ended == left, f"{ended} de {left} terminaram como FAILED_UNKNOWN")


@cenario(
    "webhooks_baguncados",
    "Avisos repetidos, fora de ordem, atrasados e perdidos, com respostas que se perdem no caminho: tudo assenta.",
    minimos=Minimos(mensagens=80),
    simulator={"latency_ms": "20-120", "pace": 0.2},
)
def webhooks_baguncados(b: Bancada) -> None:
    _roomy_campaign(b, 80)
    b.simulador.adjust(retry_initial_s=0.2, retry_max_s=1.0)
    b.simulador.fault("webhook_duplicado", probability=0.4, copies=2)
    b.simulador.fault("webhook_fora_de_ordem", probability=0.3, hold_s=0.5)
    b.simulador.fault("webhook_atrasado", probability=0.3, delay_s=1.5)
    b.simulador.fault("webhook_perdido", probability=0.1)
    b.simulador.fault("reset_depois", probability=0.2)
    b.simulador.fault("ack_antes_da_resposta", probability=0.2)
    b.start_workers(2, senders=8)
    b.run_until_settled()
    b.settle_uncertain(for_s=8 * 3600)
    stats = b.simulador.webhooks()
    b.goal(
        "bagunca_aconteceu", min(stats["duplicated"], stats["reordered"], stats["late"], stats["lost"]) >= 3, f"{stats}"
    )
    twice = """SELECT count(*) FROM (SELECT mensagem_id FROM interacoes WHERE tipo = 'saida'
        GROUP BY mensagem_id HAVING count(*) > 1) d"""
    b.goal("cada_evento_uma_vez", b.banco.value(twice) == 0, "interações repetidas")
    stuck = "SELECT count(*) FROM webhook_eventos WHERE status = 'erro'"
    b.goal("nenhum_evento_em_erro", b.banco.value(stuck) == 0, f"{b.banco.value(stuck)} eventos em erro")
    b.goal("todas_enviadas", b.count("enviada") == len(b.frota.mensagens), f"{b.count('enviada')} enviadas")


@cenario(
    "zapi_reconecta",
    "Um chip da Z-API cai com mensagens na fila do fornecedor, que as dispararia todas na volta: são retiradas antes.",
    minimos=Minimos(mensagens=60),
    simulator={"latency_ms": "20-60", "pace": 0.05, "queue_gap_s": "1.5-2.5"},
)
def zapi_reconecta(b: Bancada) -> None:
    b.start_api()
    b.frota.roomy()
    fallen, *_ = b.frota.add_chips([90, 85], provider="z-api")
    b.start_agenda()
    b.frota.due_campaign(b.tamanhos.mensagens or 60)
    b.start_workers(1, senders=8)

    def queued() -> int:
        waiting: int = b.simulador.chips()[fallen.instancia]["queue"]
        return waiting

    b.run(lambda: queued() >= 8, what="a fila do fornecedor encher")
    b.simulador.set_state(fallen.instancia, "close")
    held = queued()
    began = b.relogio.now()
    b.goal("havia_fila", held >= 5, f"só {held} mensagens na fila do fornecedor")
    b.run(lambda: queued() == 0, for_s=900)
    b.medidas.deteccao_s = (b.relogio.now() - began).total_seconds()
    b.goal("fila_vazia_antes_da_volta", queued() == 0, f"{queued()} mensagens ainda dispariam na volta")
    b.run(for_s=120)
    b.simulador.set_state(fallen.instancia, "open")
    back = b.relogio.now()
    b.run_until_settled(real_s=400)
    b.settle_uncertain(for_s=3600)
    b.medidas.recuperacao_s = (b.relogio.now() - back).total_seconds()
    b.goal("todas_enviadas", b.count("enviada") == len(b.frota.mensagens), f"{b.count('enviada')} enviadas")
