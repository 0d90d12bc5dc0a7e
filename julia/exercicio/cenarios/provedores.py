"""A whole provider misbehaves: away, slow, silent; or nearly every chip of the fleet is ill."""

from collections.abc import Callable
from datetime import datetime, timedelta

from julia.exercicio.bancada import Bancada
from julia.exercicio.cenario import Minimos, cenario
from julia.exercicio.frota import ChipDoExercicio
from julia.exercicio.verdade import utc

HANGS = timedelta(seconds=10)  # a call that hangs longer has given its sender back
SHARE = "SELECT share FROM circuits WHERE name = 'evolution'"
STATE = "SELECT state FROM circuits WHERE name = 'evolution'"
LENTO = "SELECT count(*) FROM alertas WHERE tipo = 'provedor_lento' AND chave = 'evolution'"
OPENED = "SELECT count(*) FROM circuit_transitions WHERE circuit_name = 'evolution' AND to_state = 'open'"


def _value(b: Bancada, statement: str) -> object:
    found = b.banco.rows(statement)
    return next(iter(found[0].values())) if found else None


@cenario(
    "provedor_fora",
    "A Evolution recusa conexões por doze minutos: o circuito abre, a Z-API assume, o resto espera sem penalidade.",
    minimos=Minimos(mensagens=60),
)
def provedor_fora(b: Bancada) -> None:
    b.start_api()
    b.frota.settings(limite_global_hora=None, limite_global_dia=None, pacing_s={"min": 20, "max": 40})
    b.frota.add_chips([85, 85, 82])
    b.frota.add_chips([84], provider="z-api")
    b.start_agenda()
    b.frota.due_campaign(b.tamanhos.mensagens or 60)
    b.start_workers(2, senders=8)
    b.run(lambda: b.count("enviada") >= 8, what="os primeiros envios")
    fault = b.simulador.fault("recusa", provider="evolution")
    began = b.relogio.now()
    b.run(lambda: _value(b, STATE) == "open", for_s=600, what="o circuito da Evolution abrir")
    opened = b.relogio.now()
    b.goal("circuito_abriu", _value(b, STATE) == "open", "a Evolution recusa tudo e o circuito não abriu")
    b.medidas.deteccao_s = (opened - began).total_seconds()
    b.run(for_s=600)
    attempts = """SELECT count(*) FROM envios_tentativas WHERE provider = 'evolution'
        AND iniciado_em > %s + interval '1 second' AND iniciado_em <= %s + interval '10 minutes'"""
    probes = b.banco.value(attempts, [opened, opened])
    b.goal("ate_1_sonda_em_10_min", probes <= 1, f"{probes} tentativas na Evolution com o circuito aberto")
    by_zapi = b.banco.value(
        "SELECT count(*) FROM envios_tentativas WHERE provider = 'z-api' AND iniciado_em > %s", [opened]
    )
    b.goal("outro_provedor_assumiu", by_zapi > 0, "nada saiu pela Z-API enquanto a Evolution estava fora")
    punished = "SELECT count(*) FROM fila_mensagens WHERE status = 'pendente' AND tentativas >= max_tentativas"
    b.goal(
        "espera_sem_penalidade", b.banco.value(punished) == 0 and b.count("erro") == 0, "mensagens gastaram tentativas"
    )
    b.simulador.clear_faults(fault)
    back = b.relogio.now()
    b.run(lambda: _value(b, STATE) == "closed", for_s=1800, what="o circuito da Evolution fechar")
    b.medidas.recuperacao_s = (b.relogio.now() - back).total_seconds()
    b.goal("circuito_fechou_sozinho", _value(b, STATE) == "closed", "a Evolution voltou e o circuito continua aberto")
    b.run_until_settled()
    b.goal("todas_enviadas", b.count("enviada") == len(b.frota.mensagens), f"{b.count('enviada')} enviadas")


def _two_providers(b: Bancada, messages: int) -> tuple[list[ChipDoExercicio], list[ChipDoExercicio]]:
    """Four chips each, one message every two seconds per chip; everything due at once."""
    b.frota.settings(limite_global_hora=None, limite_global_dia=None, pacing_s={"min": 2, "max": 2})
    evolution = b.frota.add_chips([85] * 4, delay_minimo_segundos=2)
    zapi = b.frota.add_chips([85] * 4, provider="z-api", delay_minimo_segundos=2)
    b.frota.due_campaign(b.tamanhos.mensagens or messages)
    b.start_workers(1, senders=6)
    return evolution, zapi


def _rate(b: Bancada, provider: str, seconds: float) -> float:
    """Calls per second that the provider receives during the next real seconds."""

    def calls() -> int:
        return sum(call.provider == provider for call in b.simulador.calls())

    before, since = calls(), b.relogio.now()
    b.run(for_s=seconds, step_s=0.5)
    return (calls() - before) / (b.relogio.now() - since).total_seconds()


def _expect_bulkhead(b: Bancada, onset: datetime, baseline: float, lift: Callable[[], None]) -> None:
    """What the issue asks of a slow or silent provider; `lift` ends the fault."""
    b.run(lambda: _value(b, SHARE) == 1, for_s=60, step_s=0.5)
    b.goal("lento_em_60_s", _value(b, SHARE) == 1, "a parte da Evolution não encolheu")
    b.goal("lento_visivel", _value(b, LENTO) == 1, "não há alerta provedor_lento")
    b.medidas.deteccao_s = (b.relogio.now() - onset).total_seconds()
    shrunk = b.relogio.now()
    rate = _rate(b, "z-api", 30)
    b.goal("outro_provedor_com_90_por_cento", rate >= 0.9 * baseline, f"{rate:.2f}/s, antes {baseline:.2f}/s")
    held = most_young(b, shrunk, b.relogio.now())
    b.goal("um_remetente_por_vez", held <= 1, f"{held} chamadas novas ao mesmo tempo na Evolution")
    lift()
    back = b.relogio.now()
    b.run(lambda: _value(b, SHARE) is None, for_s=60, step_s=0.5)
    b.medidas.recuperacao_s = (b.relogio.now() - back).total_seconds()
    b.goal("parte_inteira_em_1_min", _value(b, SHARE) is None, "a parte da Evolution não voltou")
    b.run_until_settled(real_s=400)
    b.goal("circuito_nunca_abriu", _value(b, OPENED) == 0, "lentidão abriu o circuito da Evolution")


def most_young(b: Bancada, begins: datetime, ends: datetime) -> int:
    """How many of Evolution's calls held a sender at once: those open for less than ten seconds."""
    calls = [call for call in b.simulador.calls() if call.provider == "evolution"]
    spans = [(utc(call.at), min(utc(call.ended_at or ends.timestamp()), utc(call.at) + HANGS)) for call in calls]
    moments = [at for at, _ in spans if begins <= at <= ends]
    return max((sum(at <= moment < end for at, end in spans) for moment in moments), default=0)


@cenario(
    "provedor_lento",
    "A Evolution responde em 12 a 15 s: fica com um remetente, a Z-API não sente, e volta sozinha.",
    minimos=Minimos(mensagens=300),
    simulator={"latency_ms": "20-60"},
)
def provedor_lento(b: Bancada) -> None:
    _two_providers(b, 300)
    baseline = _rate(b, "z-api", 15)
    fault = b.simulador.fault("latencia_ms", provider="evolution", min_ms=12_000, max_ms=15_000)
    _expect_bulkhead(b, b.relogio.now(), baseline, lambda: b.simulador.clear_faults(fault))
    b.goal("todas_enviadas", b.count("enviada") == len(b.frota.mensagens), f"{b.count('enviada')} enviadas")


@cenario(
    "buraco_negro",
    "A Evolution aceita conexões e nunca responde: prende um remetente, o resto não sente, o circuito não abre.",
    minimos=Minimos(mensagens=300),
    simulator={"latency_ms": "20-60"},
)
def buraco_negro(b: Bancada) -> None:
    _two_providers(b, 300)
    baseline = _rate(b, "z-api", 15)
    fault = b.simulador.fault("buraco_negro", provider="evolution")
    _expect_bulkhead(b, b.relogio.now(), baseline, lambda: b.simulador.clear_faults(fault))
    left = b.count("erro", "bloqueada", "cancelada")
    b.goal("nada_desistido", left == 0, f"{left} mensagens terminaram sem sair")


@cenario(
    "pool_colapsa",
    "Cinco de seis chips são restritos um depois do outro: a Julia para e avisa, em vez de queimar o último.",
    minimos=Minimos(mensagens=120),
)
def pool_colapsa(b: Bancada) -> None:
    b.start_api()
    b.frota.settings(limite_global_hora=None, limite_global_dia=None, pacing_s={"min": 20, "max": 40})
    chips = b.frota.add_chips([86, 85, 84, 83, 82, 81], limite_hora=60, limite_dia=200, delay_minimo_segundos=20)
    b.start_agenda()
    b.frota.due_campaign(b.tamanhos.mensagens or 120)
    for n, chip in enumerate(chips[:-1]):
        b.simulador.fault("restringe_apos", instance=chip.instancia, n=2 + n, mode="restrito")
    b.start_workers(2, senders=8)
    ill = "SELECT count(*) FROM chips WHERE status = 'degraded'"
    b.run(lambda: b.banco.value(ill) == len(chips) - 1, for_s=7200, what="cinco chips fora")
    b.goal("doentes_fora", b.banco.value(ill) == len(chips) - 1, f"{b.banco.value(ill)} chips fora de produção")
    alert = "SELECT count(*) FROM alertas WHERE tipo LIKE %s AND resolvido_em IS NULL"
    b.run(lambda: b.banco.value(alert, ["frota%"]) > 0, for_s=120, step_s=2.0)
    b.goal("alerta_da_frota", b.banco.value(alert, ["frota%"]) > 0, "ninguém foi avisado de que a frota adoeceu")
    since = b.relogio.now()
    b.medidas.deteccao_s = b.banco.value(
        """SELECT extract(epoch FROM (SELECT max(created_at) FROM alertas WHERE tipo LIKE 'frota%%')
           - (SELECT max(degradado_em) FROM chips))::float8"""
    )
    b.run(for_s=1800)
    healthy = sum(utc(call.at) > since for call in b.simulador.calls(chips[-1].instancia))
    b.goal("ultimo_chip_poupado", healthy == 0, f"o último chip saudável levou {healthy} mensagens que a Julia iniciou")
    told = "SELECT count(*) FROM fila_mensagens WHERE status = 'pendente' AND outcome_reason_code IS NOT NULL"
    b.goal("espera_visivel", b.banco.value(told) > 0, "nada diz por que a campanha espera")
