"""Parts of Julia that die: workers, the database, task clusters."""

from datetime import datetime
from functools import partial

from julia.exercicio.bancada import Bancada
from julia.exercicio.cenario import Minimos, cenario

WITHIN_S = 60.0  # the database's own circuit stays open for 30 s (decisions §7)
CALLS_PER_S = {"latency_ms": "150-400"}


def _campaign(b: Bancada, messages: int, *, chips: int, parts: int = 1) -> None:
    """Everything due at once, webhooks on, jobs running."""
    b.start_api()
    b.frota.roomy()
    b.frota.add_chips([85] * chips)
    b.start_agenda()
    for part in range(parts):
        b.frota.due_campaign(messages // parts, nome=f"Parte {part + 1}")


def _next_attempt_after(b: Bancada, since: datetime) -> float | None:
    found = b.banco.value("SELECT min(iniciado_em) FROM envios_tentativas WHERE iniciado_em > %s", [since])
    return (found - since).total_seconds() if found else None


def _sends_after(b: Bancada, since: datetime) -> bool:
    return _next_attempt_after(b, since) is not None


def _has_ended(b: Bancada, count: int) -> bool:
    return b.count("enviada", "incerta") >= count


@cenario(
    "worker_morto",
    "Workers morrem com SIGKILL no meio dos envios; outros assumem, nada sai duas vezes e nada se perde.",
    minimos=Minimos(mensagens=60, mortes=4, mortes_com_chamada=2),
    simulator=CALLS_PER_S,
)
def worker_morto(b: Bancada) -> None:
    _campaign(b, b.tamanhos.mensagens or 60, chips=6)
    b.start_workers(2, senders=6, keep_alive=True)
    for _ in range(b.tamanhos.mortes or 4):
        b.run(b.more("enviada", "incerta"), what="algum envio antes da próxima morte")
        b.kill_when_calling()
    died = b.relogio.now()
    b.run_until_settled()
    b.medidas.recuperacao_s = _next_attempt_after(b, died)
    b.settle_uncertain()


@cenario(
    "banco_reinicia",
    "O banco de dados cai no meio dos envios e volta segundos depois: o que saiu é gravado, o que não saiu sai.",
    minimos=Minimos(mensagens=120),
    simulator=CALLS_PER_S,
    proprio_servidor=True,
)
def banco_reinicia(b: Bancada) -> None:
    _campaign(b, b.tamanhos.mensagens or 120, chips=8)
    b.start_workers(2, senders=8)
    for _ in range(2):
        b.run(b.more("enviada", by=20), what="envios antes da queda")
        b.run(lambda: bool(b.calling()), what="uma chamada aberta na hora da queda")
        b.outage(3.0)
        back = b.relogio.now()
        b.run(partial(_sends_after, b, back), for_s=120)
        recovered = _next_attempt_after(b, back)
        b.goal("volta_em_60_s", recovered is not None and recovered <= WITHIN_S, f"voltou a enviar em {recovered} s")
        b.medidas.recuperacao_s = max(b.medidas.recuperacao_s or 0.0, recovered or 0.0)
    b.run_until_settled()
    b.settle_uncertain()
    b.goal("todas_enviadas", b.count("enviada") == len(b.frota.mensagens), f"{b.count('enviada')} enviadas")


@cenario(
    "mortes",
    "A prova longa: 10.000 mensagens, 200 mortes em momentos sorteados, o banco cai no meio; nada se perde ou repete.",
    minimos=Minimos(mensagens=10_000, mortes=200, mortes_com_chamada=50),
    simulator={"latency_ms": "40-250", "pace": 0.05},
    proprio_servidor=True,
    extra=True,
)
def mortes(b: Bancada) -> None:
    """A kill every so many messages, so that deaths are spread over the whole run whatever the machine's speed."""
    messages, deaths = b.tamanhos.mensagens or 10_000, b.tamanhos.mortes or 200
    _campaign(b, messages, chips=80, parts=4)
    b.start_workers(4, senders=20, keep_alive=True)
    total = len(b.frota.mensagens)
    for n in range(deaths):
        target = round(total * (n + b.rng.random()) / (deaths + 2))
        b.run(partial(_has_ended, b, target), real_s=600, what=f"a morte {n + 1}")
        b.run(lambda: any(worker.vivo for worker in b.workers), real_s=60, what="um worker vivo")
        b.kill_worker()
        if n == deaths // 2:
            b.outage(3.0)
    b.run_until_settled(real_s=1200)
    b.settle_uncertain(for_s=8 * 3600, real_s=1200)
    ended = b.count("enviada", "incerta")
    b.goal("cada_uma_enviada_ou_incerta", ended == total, f"{ended} de {total} enviadas ou incertas")


@cenario(
    "sonda_morta",
    "Dezesseis workers diante de um circuito aberto: uma sonda só, e quem a leva morre; outra vai depois da licença.",
    minimos=Minimos(mensagens=100, mortes=1, mortes_com_chamada=1),
    simulator={"latency_ms": "20-80", "pace": 0.05},
    extra=True,
)
def sonda_morta(b: Bancada) -> None:
    b.frota.settings(limite_global_hora=None, limite_global_dia=None, pacing_s={"min": 5, "max": 10})
    b.frota.add_chips([85] * 16)
    b.start_agenda()
    b.frota.due_campaign(b.tamanhos.mensagens or 100)
    b.start_workers(16, senders=2)
    b.run(lambda: b.count("enviada") >= 16, what="os primeiros envios")
    refused = b.simulador.fault("recusa", provider="evolution")
    b.run(lambda: _state(b) == "open", for_s=600, what="o circuito abrir")
    b.simulador.clear_faults(refused)
    silent = b.simulador.fault("buraco_negro", provider="evolution")
    b.run(lambda: len(b.simulador.truth(summary=True).open_calls) > 0, for_s=900, what="a sonda sair")
    killed = b.kill_when_calling()
    b.note(f"{killed.nome} morreu com a sonda no fio")
    b.simulador.clear_faults(silent)
    probe = b.relogio.now()
    b.run(lambda: _state(b) == "closed", for_s=1800, what="outra sonda fechar o circuito")
    b.medidas.recuperacao_s = (b.relogio.now() - probe).total_seconds()
    b.goal("sonda_perdida_volta", _state(b) == "closed", "a licença morreu com quem a tinha")
    b.run_until_settled()


def _state(b: Bancada) -> str:
    found = b.banco.rows("SELECT state FROM circuits WHERE name = 'evolution'")
    return str(found[0]["state"]) if found else "closed"
