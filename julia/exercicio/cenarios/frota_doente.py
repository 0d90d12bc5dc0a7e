"""Nearly the whole fleet falls ill: what Julia begins stops and says so, answers go on, the last chip is spared."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from chips import ejection
from fila.campanhas.status import summary
from fila.enqueue import REPLY, enqueue
from julia.exercicio.bancada import Bancada
from julia.exercicio.cenario import Minimos, cenario
from julia.exercicio.cenarios.provedores import at_real_pace
from julia.exercicio.frota import ACTOR, ChipDoExercicio
from julia.exercicio.verdade import utc

MESSAGES = 120
HOUR_LIMIT, DAY_LIMIT, PAUSE_S = 30, 100, 20
CAMPAIGN_WEIGHT = 2
UNDER_WAY = timedelta(seconds=6)
ALERT_WITHIN_S = 15.0
STANDSTILL = timedelta(minutes=15)
GIVEN_BACK = 4
#: A quarter of the hour's limit for two hours after a long rest, in campaign messages (chips reference §4.5).
RAMP_PER_HOUR = -(-HOUR_LIMIT * 25 // 100) // CAMPAIGN_WEIGHT
RAMP_WATCHED_S = 1800.0
QUESTION = "Oi! Recebi a mensagem. Em qual hospital seria?"
FLEET_ILL = "frota_doente"
REASON = f"no_capacity:{FLEET_ILL}"


@cenario(
    "pool_colapsa",
    "Cinco de seis chips são restritos um depois do outro: campanhas param e dizem por quê, respostas seguem.",
    minimos=Minimos(mensagens=100),
)
def pool_colapsa(b: Bancada) -> None:
    b.start_api()
    b.frota.settings(limite_global_hora=None, limite_global_dia=None)
    limits: dict[str, Any] = {"limite_hora": HOUR_LIMIT, "limite_dia": DAY_LIMIT, "delay_minimo_segundos": PAUSE_S}
    *ill, healthy = b.frota.add_chips([86, 85, 84, 83, 82, 81], **limits)
    for number, chip in enumerate(ill):
        b.simulador.fault("restringe_apos", instance=chip.instancia, n=2 + number % 2, mode="restrito")
    b.start_agenda()
    campanha = b.frota.due_campaign(b.tamanhos.mensagens or MESSAGES)
    b.start_workers(2, senders=8)
    stopped = _expect_collapse(b, ill)
    _expect_visible_wait(b, campanha.pk)
    _expect_answers(b, healthy, ill)
    b.run(lambda: b.relogio.now() >= stopped + STANDSTILL, what="um quarto de hora com a frota doente")
    begun = _begun(b, stopped + UNDER_WAY, b.relogio.now())
    b.goal("nada_iniciado_com_a_frota_doente", not begun, f"{len(begun)} mensagens de campanha saíram: {begun[:3]}")
    used = sum(utc(call.at) >= stopped + UNDER_WAY for chip in ill for call in b.simulador.calls(chip.instancia))
    b.goal("nenhum_chip_doente_usado", used == 0, f"{used} chamadas a chips fora de produção")
    _give_back(b, ill[:GIVEN_BACK])


def _expect_collapse(b: Bancada, ill: Sequence[ChipDoExercicio]) -> datetime:
    """All five are out and the alert is up. When the last one fell, which is when everything begun must stop."""
    out = "SELECT count(*) FROM chips WHERE status = 'degraded'"
    b.run(lambda: b.banco.value(out) == len(ill), for_s=7200, what="cinco chips fora")
    b.goal("doentes_fora", b.banco.value(out) == len(ill), f"{b.banco.value(out)} de {len(ill)} chips fora de produção")
    fell: datetime = b.banco.value("SELECT max(degradado_em) FROM chips") or b.relogio.now()
    at_real_pace(b, ALERT_WITHIN_S, lambda: bool(_open_alerts(b)))
    told = _open_alerts(b)
    b.goal("alerta_frota_doente", bool(told), "ninguém foi avisado de que a frota adoeceu")
    if told:
        b.medidas.deteccao_s = (told[0]["created_at"] - fell).total_seconds()
        b.goal(
            "alerta_em_15_s",
            b.medidas.deteccao_s <= ALERT_WITHIN_S,
            f"alerta {b.medidas.deteccao_s:.0f} s depois da queda",
        )
    alone = "SELECT count(*) FROM alertas WHERE tipo = 'chip_degradado' AND resolvido_em IS NULL"
    b.goal("um_alerta_por_chip", b.banco.value(alone) == len(ill), f"{b.banco.value(alone)} alertas de chip")
    return fell


def _open_alerts(b: Bancada) -> list[dict[str, Any]]:
    return b.banco.rows("SELECT created_at FROM alertas WHERE tipo = %s AND resolvido_em IS NULL", [FLEET_ILL])


def _expect_visible_wait(b: Bancada, campanha_id: int) -> None:
    """Every row that waits names the reason, and so does the campaign."""
    rows = """SELECT count(*) FILTER (WHERE outcome_reason_code = %s) AS ditas, count(*) AS todas
        FROM fila_mensagens WHERE status = 'pendente'"""

    def told() -> bool:
        found = b.banco.one(rows, [REASON])
        return bool(found["todas"]) and found["ditas"] == found["todas"]

    b.run(told, for_s=300, step_s=2.0)
    b.goal("cada_linha_diz_por_que_espera", told(), f"{b.banco.one(rows, [REASON])}")
    look = summary(campanha_id)
    b.goal("campanha_diz_por_que_espera", look["espera_por"] == REASON, f"{look}")


def _expect_answers(b: Bancada, healthy: ChipDoExercicio, ill: Sequence[ChipDoExercicio]) -> None:
    """Two people of the healthy chip and one of each ill one write, and are answered within a minute or two."""
    people = [*_written_by(b, healthy, 2), *(person for chip in ill for person in _written_by(b, chip, 1))]
    for instance, person in people:
        b.simulador.inbound(instance, person["telefone"], QUESTION)
    ids = {person["cliente_id"] for _, person in people}
    heard = "SELECT count(DISTINCT cliente_id) FROM interacoes WHERE tipo = 'entrada' AND cliente_id = ANY(%s)"
    b.run(lambda: b.banco.value(heard, [list(ids)]) == len(ids), for_s=120, what="as perguntas chegarem")
    asked = b.relogio.now()
    answers = [_answer(b, person["cliente_id"]) for _, person in people]
    sent = "SELECT count(*) FROM fila_mensagens WHERE id = ANY(%s) AND status = 'enviada'"
    b.run(lambda: b.banco.value(sent, [answers]) == len(answers), for_s=300, step_s=2.0)
    done = b.banco.value(sent, [answers])
    b.goal("respostas_seguem", done == len(answers) >= 5, f"{done} de {len(answers)} respostas saíram")
    took = (b.relogio.now() - asked).total_seconds()
    b.goal("respostas_em_2_min", took <= 120, f"{took:.0f} s até a última resposta")


def _written_by(b: Bancada, chip: ChipDoExercicio, count: int) -> list[tuple[str, dict[str, Any]]]:
    """People whom this chip wrote to, with its instance in the simulator."""
    found = b.banco.rows(
        """SELECT cliente_id, telefone_destino AS telefone FROM fila_mensagens WHERE chip_id = %s AND status = 'enviada'
           ORDER BY enviada_em, id LIMIT %s""",
        [chip.id, count],
    )
    return [(chip.instancia, row) for row in found]


def _answer(b: Bancada, cliente_id: UUID) -> UUID:
    """The reply to a person's newest message, as the conversation's part of Julia puts it into the fila."""
    proof = b.banco.one(
        """SELECT id, conversation_id FROM interacoes WHERE cliente_id = %s AND tipo = 'entrada'
           ORDER BY created_at DESC LIMIT 1""",
        [cliente_id],
    )
    answer = enqueue(
        cliente_id,
        "É no Hospital Exemplo, na zona sul. Quer que eu mande os horários?",
        tipo="resposta",
        prioridade=REPLY,
        conversa_id=proof["conversation_id"],
        inbound_interacao_id=proof["id"],
    )
    b.frota.mensagens.add(answer)
    return answer


def _begun(b: Bancada, since: datetime, until: datetime) -> list[str]:
    """Campaign messages that reached the provider in between."""
    texts = {row["conteudo"] for row in b.banco.rows("SELECT conteudo FROM fila_mensagens WHERE tipo = 'campanha'")}
    return [
        f"{call.chip} às {utc(call.at):%H:%M:%S}"
        for call in b.simulador.calls()
        if since <= utc(call.at) < until and call.text in texts
    ]


def _give_back(b: Bancada, chips: Sequence[ChipDoExercicio]) -> None:
    """A person looked at the phones and gives them back: the campaign flows again, slowly at first."""
    b.simulador.clear_faults()
    back = b.relogio.now()
    for chip in chips:
        ejection.restore(chip.id, actor=ACTOR, motivo="exercício: o aparelho foi conferido e está bom", now=back)
    b.run(lambda: bool(_begun(b, back, b.relogio.now())), for_s=1800, what="a campanha voltar a andar")
    first = [utc(call.at) for call in b.simulador.calls() if utc(call.at) >= back]
    b.goal("volta_sem_reiniciar_nada", bool(first), "devolvidos os chips, a campanha continua parada")
    if first:
        b.medidas.recuperacao_s = (first[0] - back).total_seconds()
    at_real_pace(b, ALERT_WITHIN_S, lambda: not _open_alerts(b))
    b.goal("alerta_resolvido", not _open_alerts(b), "a frota está boa e o alerta frota_doente continua aberto")
    b.run(for_s=RAMP_WATCHED_S)
    worst = {chip.instancia: _most_per_hour(b, chip, back) for chip in chips}
    b.goal("volta_em_rampa", max(worst.values()) <= RAMP_PER_HOUR, f"mensagens numa hora: {worst}")
    used = sum(count > 0 for count in worst.values())
    b.goal("devolvidos_trabalham", used == len(chips), f"{used} de {len(chips)} chips devolvidos enviaram")


def _most_per_hour(b: Bancada, chip: ChipDoExercicio, since: datetime) -> int:
    sent = [utc(call.at) for call in b.simulador.calls(chip.instancia) if utc(call.at) >= since]
    return max((sum(at <= each < at + timedelta(hours=1) for each in sent) for at in sent), default=0)
