"""Providers that are away, slow, or take every call and never answer; the other provider's chips are the measure."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from chips.simulator.truth import Call
from julia.diagnostico import diagnose
from julia.exercicio.bancada import Bancada
from julia.exercicio.cenario import Minimos, cenario
from julia.exercicio.condutor import STEP_S
from julia.exercicio.errors import DrillStuck
from julia.exercicio.verdade import utc

EVOLUTION = "evolution"

# -- provedor_fora ----------------------------------------------------------------------------------------------------

PAUSE_S = 40
AWAY = timedelta(minutes=12)
LONGEST_RESET = timedelta(seconds=600)
#: Five failures open it; each of the four chips may have one more call under way by then.
MOST_BEFORE_OPEN = 9
#: Of what the other provider's chips could carry: the jumps of the drill's clock cost them some.
LEAST_CARRIED = 0.8


@cenario(
    "provedor_fora",
    "A Evolution recusa conexões por 12 minutos e depois responde 502 e 503 por outros 12: a Z-API segue sozinha.",
    minimos=Minimos(mensagens=120),
)
def provedor_fora(b: Bancada) -> None:
    b.start_api()
    b.frota.roomy()
    b.frota.add_chips([85] * 4, delay_minimo_segundos=PAUSE_S)
    b.frota.add_chips([85] * 2, provider="z-api", delay_minimo_segundos=PAUSE_S)
    b.start_agenda()
    b.frota.due_campaign(b.tamanhos.mensagens or 180)
    b.start_workers(2, senders=8)
    _flow(b, 10)
    _away(b, "recusas", [{"kind": "recusa", "provider": EVOLUTION}])
    _flow(b, 10)
    _away(
        b,
        "erros",
        [
            {"kind": "5xx", "provider": EVOLUTION, "status": 503, "sends": True, "probability": 0.5},
            {"kind": "html_502", "provider": EVOLUTION},
        ],
    )
    b.run_until_settled()
    nothing_delivered_stays_uncertain(b)
    unsent = b.count("pendente", "erro", "bloqueada", "cancelada")
    b.goal("ninguem_pagou_pela_queda", unsent == 0, f"{unsent} mensagens sem envio nem tentativa a conferir")
    by_hand = b.banco.value("SELECT count(*) FROM circuit_transitions WHERE reason LIKE %s", ["%manual"])
    b.goal("voltou_sem_pessoa", by_hand == 0, f"{by_hand} mudanças manuais de circuito")


def _flow(b: Bancada, count: int) -> None:
    """Until so many more messages left through Evolution."""
    goal = _sent_by_evolution(b) + count
    b.run(lambda: _sent_by_evolution(b) >= goal, what=f"{count} envios pela Evolution")


def _away(b: Bancada, what: str, faults: Sequence[dict[str, Any]]) -> None:
    """Evolution is away for 12 simulated minutes and comes back; what its circuit and the other provider did."""
    began = b.relogio.now()
    orders = [b.simulador.fault(**fault) for fault in faults]
    b.run(lambda: bool(_changes(b, "open", began)), for_s=600, what="o circuito da Evolution aberto")
    opened = _changes(b, "open", began)
    b.goal(f"circuito_abre_com_{what}", bool(opened), "o circuito da Evolution não abriu")
    if not opened:
        return
    failed = _attempts(b, began, opened[0])
    first = min((each["iniciado_em"] for each in failed), default=began)
    b.medidas.deteccao_s = max(b.medidas.deteccao_s or 0.0, (opened[0] - first).total_seconds())
    few = len(failed) <= MOST_BEFORE_OPEN
    b.goal(f"abre_depois_de_poucas_{what}", few, f"{len(failed)} tentativas antes de abrir")
    b.run(lambda: b.relogio.now() >= began + AWAY, what="doze minutos de provedor fora")
    for order in orders:
        b.simulador.clear_faults(order)
    back = b.relogio.now()
    b.run(lambda: bool(_changes(b, "closed", began)), for_s=1800, what="o circuito da Evolution fechado de novo")
    _judge_outage(b, what, opened[0], back)


def _judge_outage(b: Bancada, what: str, opened: datetime, back: datetime) -> None:
    closed = _changes(b, "closed", opened)
    b.goal(f"fecha_depois_das_{what}", bool(closed), "o circuito da Evolution não fechou")
    ended = closed[0] if closed else b.relogio.now()
    tries = _changes(b, "half_open", opened, ended)
    calls = _attempts(b, opened, ended)
    probes = [call for call in calls if EVOLUTION in call["sondas"]]
    b.goal(
        f"uma_sonda_por_vez_nas_{what}",
        len(calls) == len(probes) <= len(tries),
        f"{len(calls)} tentativas com o circuito aberto, {len(probes)} sondas, {len(tries)} reaberturas para teste",
    )
    _judge_the_other(b, what, opened, back)
    took = (ended - back).total_seconds()
    b.medidas.recuperacao_s = max(b.medidas.recuperacao_s or 0.0, took)
    patience = LONGEST_RESET.total_seconds() + 60
    b.goal(f"volta_no_primeiro_teste_apos_{what}", took <= patience, f"{took:.0f} s depois de o provedor voltar")


def _judge_the_other(b: Bancada, what: str, since: datetime, until: datetime) -> None:
    """Z-API's chips send as fast as their own pause allows, give or take a jump of the drill's clock."""
    chips = [chip for chip in b.frota.chips if chip.provider == "z-api"]
    sent = sum(since <= utc(call.at) < until for chip in chips for call in b.simulador.calls(chip.instancia))
    able = len(chips) * (until - since).total_seconds() / (PAUSE_S + STEP_S)
    b.goal(
        f"zapi_segue_durante_{what}",
        sent >= LEAST_CARRIED * able,
        f"{sent} chamadas de {able:.0f} possíveis pela Z-API",
    )


def _changes(b: Bancada, state: str, since: datetime, until: datetime | None = None) -> list[datetime]:
    """When Evolution's circuit became that."""
    found = b.banco.rows(
        """SELECT created_at FROM circuit_transitions WHERE circuit_name = %s AND to_state = %s AND created_at >= %s
           AND created_at <= coalesce(%s, agora()) ORDER BY created_at""",
        [EVOLUTION, state, since, until],
    )
    return [row["created_at"] for row in found]


def _attempts(b: Bancada, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Calls of Evolution's chips as Julia recorded them: a refused connection is none that the provider saw."""
    return b.banco.rows(
        """SELECT iniciado_em, sondas, regra FROM envios_tentativas WHERE provider = %s AND iniciado_em > %s
           AND iniciado_em < %s AND codigo <> 'retirada' ORDER BY iniciado_em""",
        [EVOLUTION, since, until],
    )


def _sent_by_evolution(b: Bancada) -> int:
    found: int = b.banco.value(
        "SELECT count(*) FROM envios_tentativas WHERE provider = %s AND resultado = 'enviado'", [EVOLUTION]
    )
    return found


def nothing_delivered_stays_uncertain(b: Bancada, *, for_s: float = 2400.0) -> None:
    """The reconciler's time; afterwards only what never arrived may still be `incerta`."""

    def left() -> list[dict[str, Any]]:
        arrived = {(record.recipient, record.text) for record in b.simulador.truth().records if record.delivered}
        rows = b.banco.rows("SELECT telefone_destino, conteudo FROM fila_mensagens WHERE status = 'incerta'")
        return [row for row in rows if (row["telefone_destino"], row["conteudo"]) in arrived]

    b.run(lambda: not left(), for_s=for_s, real_s=120, what="o que chegou deixar de ser incerto")
    b.goal("nada_entregue_ficou_incerto", not left(), f"{len(left())} mensagens entregues ainda incertas")


# -- provedor_lento and buraco_negro: at the pace of real time, because what hangs is real ----------------------------

BEFORE_S = 24.0
AFTER_S = 60.0
#: A slow provider gets another call when the last one has hung for 30 s; the wire sees it a moment later.
BETWEEN_TRIALS_S = 27.0
LEAST_SHARE = 0.9
HUNGRY: dict[str, Any] = {"min_ms": 1500, "max_ms": 2000}
POLL_S = 0.25
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Scene:
    """`chips` of each provider, each sending every `rhythm_s` seconds, and `workers` of so many `senders`.

    `hungry`: once Evolution is known to be slow the other provider takes longer too, and so needs more senders than
    the hanging calls had left.
    """

    chips: int
    rhythm_s: int
    workers: int
    senders: int
    hungry: bool = False


LARGE = Scene(chips=16, rhythm_s=8, workers=2, senders=8, hungry=True)
SMALL = Scene(chips=4, rhythm_s=2, workers=1, senders=6)


@dataclass(frozen=True, slots=True)
class Spell:
    """When the provider's trouble began, was recognised and ended, and when it had its full share back. Simulated."""

    begins: datetime
    known: datetime | None
    ends: datetime
    full: datetime | None


@cenario(
    "provedor_lento",
    "A Evolution leva de 25 a 66 s para responder, quase o limite: fica com um remetente e a Z-API não sente.",
    minimos=Minimos(mensagens=300),
    simulator={"latency_ms": "300-500", "pace": 0.05},
)
def provedor_lento(b: Bancada) -> None:
    _two_providers(b, LARGE, b.tamanhos.mensagens or 420)
    spell = _spell(b, LARGE, [{"kind": "latencia_ms", "min_ms": 25_000, "max_ms": 66_000}], for_s=50.0)
    _judge_spell(b, LARGE, spell)
    b.run_until_settled()
    b.goal("todas_enviadas", b.count("enviada") == len(b.frota.mensagens), f"{b.count('enviada')} enviadas")


HOLES = ({"kind": "buraco_negro", "sends": True, "probability": 0.5}, {"kind": "buraco_negro"})


@cenario(
    "buraco_negro",
    "A Evolution aceita conexões e nunca responde; metade das mensagens saiu mesmo assim. A Z-API não sente.",
    minimos=Minimos(mensagens=300),
    simulator={"latency_ms": "300-500", "pace": 0.05},
)
def buraco_negro(b: Bancada) -> None:
    spell = _black_hole(b, LARGE, b.tamanhos.mensagens or 480, for_s=80.0)
    _judge_return(b, LARGE, spell)


@cenario(
    "buraco_negro_pequeno",
    "O mesmo com quatro chips de cada provedor e seis remetentes; acaba com todas as conexões derrubadas.",
    minimos=Minimos(mensagens=150),
    simulator={"latency_ms": "100-300", "pace": 0.05},
    extra=True,
)
def buraco_negro_pequeno(b: Bancada) -> None:
    _black_hole(b, SMALL, b.tamanhos.mensagens or 320, for_s=50.0)


def _black_hole(b: Bancada, scene: Scene, messages: int, *, for_s: float) -> Spell:
    _two_providers(b, scene, messages)
    b.simulador.fault("sem_ack", provider=EVOLUTION)
    spell = _spell(b, scene, HOLES, for_s=for_s)
    _judge_spell(b, scene, spell)
    b.run_until_settled()
    nothing_delivered_stays_uncertain(b, for_s=600.0)
    given_up = b.count("erro", "bloqueada", "cancelada")
    b.goal("nada_desistido", given_up == 0, f"{given_up} mensagens terminaram sem sair")
    return spell


def _two_providers(b: Bancada, scene: Scene, messages: int) -> None:
    """A campaign over both, at work for some time."""
    b.start_api()
    rhythm = {"min": scene.rhythm_s, "max": scene.rhythm_s}
    b.frota.settings(limite_global_hora=None, limite_global_dia=None, pacing_s=rhythm)
    b.frota.add_chips([85] * scene.chips)
    b.frota.add_chips([85] * scene.chips, provider="z-api", acks=False)
    b.frota.due_campaign(messages)
    b.start_workers(scene.workers, senders=scene.senders)
    at_real_pace(b, BEFORE_S + scene.rhythm_s)


def _spell(b: Bancada, scene: Scene, faults: Sequence[dict[str, Any]], *, for_s: float) -> Spell:
    """Evolution is in trouble for `for_s` seconds; then until it has its full share again, a minute at most."""
    orders = [b.simulador.fault(provider=EVOLUTION, **fault) for fault in faults]
    begins = b.relogio.now()
    known = at_real_pace(b, for_s, lambda: _share(b) == 1)
    if known is not None:
        _judge_visible(b)
    if known is not None and scene.hungry:
        orders.append(b.simulador.fault("latencia_ms", provider="z-api", calls="any", **HUNGRY))
    at_real_pace(b, for_s - (b.relogio.now() - begins).total_seconds())
    for order in orders:
        b.simulador.clear_faults(order)
    ends = b.relogio.now()
    full = at_real_pace(b, AFTER_S, lambda: _share(b) is None)
    return Spell(begins, known, ends, full)


def at_real_pace(b: Bancada, seconds: float, until: Callable[[], bool] | None = None) -> datetime | None:
    """Time passes as it is, without a jump: what hangs hangs for real seconds. When `until` held, or None."""
    ends = b.relogio.now() + timedelta(seconds=seconds)
    deadline = time.monotonic() + seconds + PATIENCE_S
    while (now := b.relogio.now()) < ends:
        if until is not None and until():
            return now
        if time.monotonic() > deadline:
            raise DrillStuck("o relógio do exercício não anda no ritmo do tempo real")
        time.sleep(POLL_S)
    return None


def _judge_visible(b: Bancada) -> None:
    alert = "SELECT count(*) FROM alertas WHERE tipo = 'provedor_lento' AND chave = %s AND resolvido_em IS NULL"
    b.goal("lento_tem_alerta", b.banco.value(alert, [EVOLUTION]) == 1, "não há alerta provedor_lento aberto")
    said = [each.detalhe for each in diagnose(b.relogio.now()) if "lento" in each.detalhe]
    b.goal("lento_no_diagnostico", len(said) == 1, f"o diagnóstico diz {said}")


def _judge_spell(b: Bancada, scene: Scene, spell: Spell) -> None:
    b.goal("lento_em_60_s", spell.known is not None and _after(spell.begins, spell.known) <= 60, "não foi reconhecido")
    opened = _changes(b, "open", spell.begins)
    b.goal("circuito_nunca_abriu", not opened, f"abriu em {opened}")
    b.goal("parte_inteira_em_1_min", spell.full is not None, "um minuto depois de voltar ainda tem parte reduzida")
    if spell.known is not None:
        b.medidas.deteccao_s = _after(spell.begins, spell.known)
        trials = _begun(b, EVOLUTION, spell.known + timedelta(seconds=2), spell.ends)
        b.goal("um_remetente_por_vez", _most_at_once(trials) <= 1, f"{_most_at_once(trials)} chamadas novas em 27 s")
    if spell.full is not None:
        b.medidas.recuperacao_s = _after(spell.ends, spell.full)
        alert = "SELECT count(*) FROM alertas WHERE tipo = 'provedor_lento' AND resolvido_em IS NULL"
        b.goal("alerta_resolvido", b.banco.value(alert) == 0, "o alerta provedor_lento continua aberto")
    _judge_rate(b, scene, spell)


def _judge_rate(b: Bancada, scene: Scene, spell: Spell) -> None:
    """Z-API's chips keep 90 % of their throughput, over the whole spell and above all once it is recognised."""
    before = _pause(b, scene, spell.begins - timedelta(seconds=BEFORE_S), spell.begins)
    during = _pause(b, scene, spell.begins, spell.ends)
    b.note(f"Z-API: cada chip enviou a cada {before:.2f} s antes e a cada {during:.2f} s durante")
    kept = before / during
    b.goal("zapi_mantem_90_por_cento", kept >= LEAST_SHARE, f"{kept:.0%} da vazão de antes")
    if spell.known is not None:
        kept = before / _pause(b, scene, spell.known, spell.ends)
        b.goal("zapi_inteira_depois_de_reconhecido", kept >= LEAST_SHARE, f"{kept:.0%} da vazão de antes")


def _judge_return(b: Bancada, scene: Scene, spell: Spell) -> None:
    """Hanging calls gave their senders back: the other provider used more than the hole had left of them."""
    if spell.known is None:
        return
    hung = [call for call in _begun(b, EVOLUTION, spell.begins, spell.known) if call.fault]
    left = scene.workers * scene.senders - len(hung)
    most = _most_open(_begun(b, "z-api", spell.known, spell.begins + timedelta(seconds=65)))
    b.goal("remetentes_devolvidos", most > left, f"até {most} chamadas da Z-API, {left} remetentes sem os presos")


def _pause(b: Bancada, scene: Scene, since: datetime, until: datetime) -> float:
    """Mean seconds between two calls of one Z-API chip, of those that ended then; who is overdue at the end counts.

    Their number alone says less: the chips began together, and a round more or less falls into the window by chance.
    """
    pauses: list[float] = []
    for chip in b.frota.chips:
        if chip.provider == EVOLUTION:
            continue
        began = [utc(call.at) for call in b.simulador.calls(chip.instancia) if utc(call.at) < until]
        pauses += [_after(one, other) for one, other in pairwise(began) if other >= since]
        waiting = _after(began[-1] if began else since, until)
        pauses += [waiting] if waiting > scene.rhythm_s else []
    return sum(pauses) / max(1, len(pauses))


def _begun(b: Bancada, provider: str, since: datetime, until: datetime) -> list[Call]:
    return [call for call in b.simulador.calls() if call.provider == provider and since <= utc(call.at) < until]


def _most_at_once(calls: Sequence[Call]) -> int:
    """How many of them began within the time that one of them holds its provider's only sender."""
    return max((sum(0 <= call.at - each.at < BETWEEN_TRIALS_S for call in calls) for each in calls), default=0)


def _most_open(calls: Sequence[Call]) -> int:
    ended = [(call.at, call.ended_at if call.ended_at is not None else float("inf")) for call in calls]
    return max((sum(began <= call.at < end for began, end in ended) for call in calls), default=0)


def _after(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds()


def _share(b: Bancada) -> int | None:
    """How many senders Evolution may hold; None without a limit."""
    found: int | None = b.banco.value("SELECT max(share) FROM circuits WHERE name = %s", [EVOLUTION])
    return found
