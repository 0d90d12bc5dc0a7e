"""What the answer does not say, the evidence does: echoes, searches, Z-API's queue, and webhooks as they please."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from chips.simulator.truth import Call
from core.clock import BRASILIA
from julia.exercicio.bancada import Bancada
from julia.exercicio.cenario import Minimos, cenario
from julia.exercicio.frota import ChipDoExercicio
from julia.exercicio.verdade import utc

Chave = tuple[str, str]

# -- quatrocentos_mas_enviou ------------------------------------------------------------------------------------------

PRISMA = "PrismaClientKnownRequestError: \nInvalid `prisma.message.create()` invocation"
#: What each chip's 400 says, and what the message that left all the same leaves behind at the provider.
LYING = (
    (PRISMA, "full"),
    ("Error: Connection Closed", "full"),
    ("[object Object]", "full"),
    ("Error: Timed Out", "row"),
    (PRISMA, "none"),
)
TRACES = {"full": ("eco", "recibo"), "row": ("busca",)}


@cenario(
    "quatrocentos_mas_enviou",
    "A Evolution responde 400 e enviou: o eco ou a busca prova, o que não deixou rastro espera, e nada é reenviado.",
    minimos=Minimos(mensagens=60),
)
def quatrocentos_mas_enviou(b: Bancada) -> None:
    b.start_api()
    b.frota.settings(limite_global_hora=None, limite_global_dia=None, pacing_s={"min": 5, "max": 10})
    chips = b.frota.add_chips([85] * (len(LYING) + 2))
    for chip, (message, evidence) in zip(chips, LYING, strict=False):
        b.simulador.fault("400_enviou", instance=chip.instancia, probability=0.5, message=message, evidence=evidence)
    b.start_agenda()
    b.frota.due_campaign(b.tamanhos.mensagens or 90)
    b.start_workers(2, senders=8)
    b.run_until_settled()
    _expect_one_call_each(b)
    traceless = _expect_proofs(b, chips)
    b.simulador.clear_faults()
    b.run(for_s=24 * 3600.0, step_s=3600.0)
    b.run(lambda: b.count("incerta") == 0, for_s=600)
    ended = b.banco.rows(
        "SELECT telefone_destino, conteudo FROM fila_mensagens WHERE status = 'erro' AND outcome = 'FAILED_UNKNOWN'"
    )
    same = {(row["telefone_destino"], row["conteudo"]) for row in ended} == traceless
    b.goal("sem_rastro_termina_em_24_h", same, f"{len(ended)} terminaram desconhecidas, {len(traceless)} sem rastro")
    _expect_one_call_each(b)


def _expect_one_call_each(b: Bancada) -> None:
    calls = Counter((call.recipient, call.text) for call in b.simulador.calls() if call.text)
    again = [call for call in b.simulador.calls() if call.fault == "400_enviou" and calls[key_of(call)] > 1]
    b.goal("nunca_reenviada", not again, f"{len(again)} das que saíram com 400 foram chamadas de novo")


def _expect_proofs(b: Bancada, chips: Sequence[ChipDoExercicio]) -> set[Chave]:
    """Each message whose 400 left a trace is `enviada` by that trace; those without one are returned, still open."""
    lied = {
        chip.instancia: [call for call in b.simulador.calls(chip.instancia) if call.fault == "400_enviou"]
        for chip in chips[: len(LYING)]
    }
    by_evidence = {
        evidence: {key_of(call) for chip, (_, left) in zip(chips, LYING, strict=False) if left == evidence
                   for call in lied[chip.instancia]}
        for evidence in ("full", "row", "none")
    }  # fmt: skip
    enough = all(by_evidence.values()) and sum(len(keys) for keys in by_evidence.values()) >= 12
    b.goal("mentiras_bastantes", enough, f"{ {name: len(keys) for name, keys in by_evidence.items()} }")
    began = b.relogio.now()
    b.run(lambda: not _unproved(b, by_evidence["full"], TRACES["full"]), for_s=120)
    b.medidas.deteccao_s = (b.relogio.now() - began).total_seconds()
    b.run(lambda: not _unproved(b, by_evidence["row"], TRACES["row"]), for_s=1800)
    for evidence, proofs in TRACES.items():
        wrong = _unproved(b, by_evidence[evidence], proofs)
        b.goal(f"provada_por_{proofs[0]}", not wrong, f"{len(wrong)} de {len(by_evidence[evidence])}: {wrong[:3]}")
    open_ones = {key for key, row in _stories(b).items() if row["status"] == "incerta"}
    b.goal("so_sem_rastro_fica_incerta", open_ones == by_evidence["none"], f"{len(open_ones)} incertas")
    return by_evidence["none"]


def _unproved(b: Bancada, keys: Collection[Chave], proofs: Sequence[str]) -> list[str]:
    stories = _stories(b)
    return [
        f"{row['status']} por {row['evidencias'] or 'nada'}"
        for key in keys
        if (row := stories[key])["status"] != "enviada" or not set(row["evidencias"]) & set(proofs)
    ]


def _stories(b: Bancada) -> dict[Chave, dict[str, Any]]:
    """Every message by whom it is for and what it says, with what settled its attempts."""
    found = b.banco.rows(
        """SELECT m.telefone_destino, m.conteudo, m.status, m.outcome, m.delivery_status, m.entregue_em,
               ARRAY(SELECT t.evidencia FROM envios_tentativas t WHERE t.origem_id = m.id AND t.evidencia <> '')
                   AS evidencias
           FROM fila_mensagens m"""
    )
    return {(row["telefone_destino"], row["conteudo"]): row for row in found}


def key_of(call: Call) -> Chave:
    return call.recipient, call.text


# -- webhooks_baguncados ----------------------------------------------------------------------------------------------

SAID = {
    "SERVER_ACK": "sent", "DELIVERY_ACK": "delivered", "READ": "read",
    "SENT": "sent", "RECEIVED": "delivered",
}  # fmt: skip


@cenario(
    "webhooks_baguncados",
    "Avisos repetidos, fora de ordem, atrasados, antes da resposta e por LID: cada entrega termina como foi no fio.",
    minimos=Minimos(mensagens=60),
    simulator={"latency_ms": "20-120", "pace": 0.1, "queue_gap_s": "0-0.1"},
)
def webhooks_baguncados(b: Bancada) -> None:
    b.start_api()
    b.frota.settings(limite_global_hora=None, limite_global_dia=None, pacing_s={"min": 3, "max": 8})
    for chip in b.frota.add_chips([85] * 4)[:2]:
        b.simulador.register(chip.instancia, phone=chip.telefone, acks_by_lid=True)
    for chip in b.frota.add_chips([85] * 2, provider="z-api"):
        b.simulador.register(chip.instancia, phone=chip.telefone, provider="z-api", notify_sent_by_me=True)
    b.simulador.fault("webhook_duplicado", probability=0.4, copies=2)
    b.simulador.fault("webhook_fora_de_ordem", probability=0.3, hold_s=0.7)
    b.simulador.fault("webhook_atrasado", probability=0.3, delay_s=1.5)
    b.simulador.fault("ack_antes_da_resposta", probability=0.4)
    b.simulador.fault("reset_depois", probability=0.1)
    b.start_agenda()
    b.frota.due_campaign(b.tamanhos.mensagens or 80)
    b.start_workers(2, senders=8)
    b.run_until_settled()
    b.run_until_quiet()
    b.settle_uncertain()
    _hours_later(b)
    stats = b.simulador.webhooks()
    mess = {name: stats[name] for name in ("duplicated", "reordered", "late")}
    b.goal("bagunca_bastante", min(mess.values()) >= 10, f"{mess}")
    _judge_deliveries(b)
    b.goal("todas_enviadas", b.count("enviada") == len(b.frota.mensagens), f"{b.count('enviada')} enviadas")


def _hours_later(b: Bancada) -> None:
    """Two hours on, the provider tells a third of its last events once more."""
    told = b.simulador.webhooks(posts=True)["history"]
    b.simulador.clear_faults()
    b.run(for_s=7200.0, step_s=600.0)
    for post in b.rng.sample(told, len(told) // 3):
        b.simulador.emit(post["instance"], body=post["body"])
    b.run_until_quiet()
    b.run(for_s=120.0)


def _judge_deliveries(b: Bancada) -> None:
    stories = _stories(b)
    wrong = []
    for record in b.simulador.truth().records:
        row, expected = stories[record.recipient, record.text], SAID[record.status]
        arrived = expected in ("delivered", "read")
        if row["delivery_status"] != expected or (row["entregue_em"] is not None) != arrived:
            wrong.append(f"{record.provider}: {row['delivery_status']} em vez de {expected}")
    b.goal("entrega_como_no_fio", not wrong, f"{len(wrong)} erradas: {Counter(wrong).most_common(3)}")
    shown = """SELECT count(*) FROM fila_mensagens m LEFT JOIN interacoes i ON i.mensagem_id = m.id AND i.tipo = 'saida'
        WHERE m.status = 'enviada' GROUP BY m.id
        HAVING count(i.id) <> 1 OR max(i.delivery_status) IS DISTINCT FROM m.delivery_status"""
    twice = b.banco.rows(shown)
    b.goal("conversa_diz_o_mesmo", not twice, f"{len(twice)} mensagens sem uma interação com a mesma entrega")
    left = b.banco.rows(
        """SELECT kind, evento, status, motivo, count(*) AS n FROM webhook_eventos
           WHERE status NOT IN ('processado', 'ignorado') GROUP BY 1, 2, 3, 4"""
    )
    b.goal("nenhum_evento_sobrou", not left, f"{left[:4]}")


# -- zapi_reconecta ---------------------------------------------------------------------------------------------------

LEAVING = "não quero mais receber mensagens, pode me remover"


@cenario(
    "zapi_reconecta",
    "A fila da Z-API dispararia tudo na volta, até de noite e a quem saiu: o que é nosso é apagado antes.",
    minimos=Minimos(mensagens=60),
    simulator={"latency_ms": "20-60", "pace": 0.05, "queue_gap_s": "0.8-1.2"},
)
def zapi_reconecta(b: Bancada) -> None:
    b.start_api()
    b.frota.roomy()
    fallen, other = b.frota.add_chips([85, 85], provider="z-api")
    b.start_agenda()
    b.start_workers(2, senders=8)
    _drops_and_says_so(b, fallen)
    _dies_in_silence(b, fallen, other)
    _comes_back_at_night(b, fallen)
    b.run_until_settled()
    b.settle_uncertain()
    b.run_until_quiet()
    arrived = Counter((record.recipient, record.text) for record in b.simulador.truth().records)
    due = {key for key, row in _stories(b).items() if row["status"] == "enviada"}
    b.goal("cada_uma_uma_vez", all(arrived[key] == 1 for key in due), "mensagens enviadas sem exatamente uma saída")
    blocked = b.count("bloqueada")
    b.goal("so_quem_saiu_ficou_sem", blocked == 1 and b.count("erro") == 0, f"{blocked} bloqueadas")


def _drops_and_says_so(b: Bancada, chip: ChipDoExercicio) -> None:
    """A backlog of several seconds, a disconnection that is announced, three minutes, and the phone is back."""
    start = b.relogio.now()
    b.frota.due_campaign(24, nome="Queda avisada")
    b.run(lambda: _queue(b, chip) >= 6, what="a fila do fornecedor encher")
    b.simulador.set_state(chip.instancia, "close")
    began = b.relogio.now()
    stuck = _stuck(b, chip, start)
    _expect_emptied(b, chip, "queda_avisada", len(stuck), for_s=180)
    b.medidas.deteccao_s = (b.relogio.now() - began).total_seconds()
    b.run(lambda: b.relogio.now() >= began + timedelta(minutes=3), what="três minutos")
    b.simulador.set_state(chip.instancia, "open")
    back = b.relogio.now()
    b.run(for_s=60)
    _expect_not_fired(b, stuck, "queda_avisada")
    b.run_until_settled()
    held = "SELECT connection_cooldown_until > agora() FROM chips WHERE id = %s"
    b.run(lambda: not b.banco.value(held, [chip.id]), for_s=180)
    b.goal("chip_livre_depois_da_limpeza", not b.banco.value(held, [chip.id]), "o chip que voltou continua retido")
    b.medidas.recuperacao_s = (b.relogio.now() - back).total_seconds()


def _dies_in_silence(b: Bancada, chip: ChipDoExercicio, other: ChipDoExercicio) -> None:
    """The vendor says connected and takes everything, nothing leaves; one of those who wait asks to be left alone."""
    start = b.relogio.now()
    dead = b.simulador.fault("desconectado", instance=chip.instancia, calls="send")
    b.frota.due_campaign(16, nome="Silêncio")
    b.run(lambda: b.count("pendente", "processando") == 0, what="todas aceitas pelo fornecedor")
    stuck = _stuck(b, chip, start)
    leaver = stuck[len(stuck) // 2].recipient
    b.simulador.inbound(other.instancia, leaver, LEAVING)
    left = "SELECT opted_out_at FROM doctor_state d JOIN clientes c ON c.id = d.cliente_id WHERE c.telefone = %s"
    b.run(lambda: b.banco.value(left, [leaver]) is not None, for_s=120, what="o pedido de saída gravado")
    b.medidas.opt_outs[leaver] = b.banco.value(left, [leaver])
    _expect_emptied(b, chip, "silencio", len(stuck), for_s=720)
    b.simulador.clear_faults(dead)
    b.run(for_s=60)
    _expect_not_fired(b, stuck, "silencio")
    b.run_until_settled(for_s=3600)
    b.run(lambda: b.count("bloqueada") == 1, for_s=900)
    to_leaver = [record for record in b.simulador.truth().to(leaver) if utc(record.at) > b.medidas.opt_outs[leaver]]
    b.goal("quem_saiu_nao_recebe", len(to_leaver) <= 1, f"{len(to_leaver)} mensagens depois do pedido de saída")


def _comes_back_at_night(b: Bancada, chip: ChipDoExercicio) -> None:
    """Four minutes to closing time the socket dies, the phone goes off, and it is back at half past ten."""
    evening = b.relogio.now().astimezone(BRASILIA).replace(hour=19, minute=56, second=0)
    _until(b, evening)
    dead = b.simulador.fault("desconectado", instance=chip.instancia, calls="send")
    b.frota.due_campaign(24, nome="Fim do dia")
    b.run(lambda: b.count("pendente", "processando") == 0, what="todas aceitas pelo fornecedor")
    stuck = _stuck(b, chip, evening)
    b.simulador.set_state(chip.instancia, "close", silent=True)
    b.simulador.clear_faults(dead)
    closing = evening + timedelta(minutes=4)
    b.run(for_s=(closing - b.relogio.now()).total_seconds())
    _expect_emptied(b, chip, "noite", len(stuck), for_s=600)
    _until(b, evening.replace(hour=22, minute=30))
    b.simulador.set_state(chip.instancia, "open")
    b.run(for_s=120)
    _expect_not_fired(b, stuck, "noite")
    morning = evening.replace(hour=8, minute=0) + timedelta(days=1)
    _until(b, morning)
    at_night = [r for r in b.simulador.truth().records if closing < utc(r.at) < morning]
    b.goal("ninguem_acordado_de_noite", not at_night, f"{len(at_night)} mensagens saíram entre 20:00 e 8:00")


def _until(b: Bancada, moment: datetime) -> None:
    """Hours pass quickly: nobody watches every minute's jobs."""
    b.run(for_s=(moment - b.relogio.now()).total_seconds(), step_s=900.0)


def _queue(b: Bancada, chip: ChipDoExercicio) -> int:
    waiting: int = b.simulador.chips()[chip.instancia]["queue"]
    return waiting


def _stuck(b: Bancada, chip: ChipDoExercicio, since: datetime) -> list[Call]:
    """Calls of this chip that the vendor accepted and whose message has not left."""
    return [
        call
        for call in b.simulador.calls(chip.instancia)
        if call.text and call.ended_at and call.wire_seq is None and utc(call.at) >= since
    ]


def _expect_emptied(b: Bancada, chip: ChipDoExercicio, when: str, stuck: int, *, for_s: float) -> None:
    b.goal(f"havia_fila_na_{when}", stuck >= 4, f"só {stuck} mensagens na fila do fornecedor")
    b.run(lambda: _queue(b, chip) == 0, for_s=for_s)
    left = _queue(b, chip)
    b.goal(f"fila_apagada_na_{when}", left == 0, f"{left} mensagens ainda dispariam na volta")


def _expect_not_fired(b: Bancada, stuck: Sequence[Call], when: str) -> None:
    seqs = {call.seq for call in stuck}
    fired = [call for call in b.simulador.calls() if call.seq in seqs and call.wire_seq is not None]
    b.goal(f"nada_disparou_na_volta_da_{when}", not fired, f"{len(fired)} mensagens antigas dispararam na volta")
