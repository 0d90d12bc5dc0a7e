"""Faults that show in messages: what waits, what fails, what nobody knows the end of."""

from datetime import timedelta

from chips.choices import ProviderName
from core.circuits.names import of_provider
from julia.exercicio.alertas.correio import failing, slow, sometimes
from julia.exercicio.alertas.falhas import FROM_PROVIDER
from julia.exercicio.alertas.roteiro import HOUR, MINUTE, Cena, Passos, Quando, falha

SECOND = timedelta(seconds=1)
#: An error that ends its message at once, is nobody's fault outside and says nothing to circuits.
OUR_ERROR = "nos.pedido_invalido"
NOT_THERE = {ProviderName.EVOLUTION: "evolution.exists_false", ProviderName.ZAPI: "zapi.telefone_invalido"}
WAITING = ("fila_acumulada", "fila_parada", "campanha_sem_envio")


@falha("fila_acumulada", "A fila cresce mais depressa do que anda: mais de 50 vencidas por mais de 30 minutos",
       quando=Quando.COMERCIAL, dura=100 * MINUTE, consequencias=WAITING)  # fmt: skip
def fila_acumulada(cena: Cena) -> Passos:
    """One sender is left of thirty-two: two a minute leave. The fault begins when more than 50 wait for 30 minutes."""
    m = cena.mundo
    cena.expect("fila_acumulada")
    m.correio.remetentes, m.correio.looks = 1, 1
    m.remind(170)
    yield 30 * MINUTE
    cena.comecou()
    yield 14 * MINUTE
    m.correio.restore()
    yield 20 * MINUTE
    cena.acabou()


@falha("fila_parada", "O worker bate, mas nada sai: alguém segura as mensagens vencidas numa transação aberta",
       quando=Quando.COMERCIAL, dura=80 * MINUTE, consequencias=WAITING)  # fmt: skip
def fila_parada(cena: Cena) -> Passos:
    """Twelve, and nothing else to send: the fila does not move (decisions §9: < 15 min)."""
    m = cena.mundo
    cena.expect("fila_parada")
    with m.calm(), m.held(m.remind(12)):
        cena.comecou()
        yield 28 * MINUTE
    yield 10 * MINUTE
    cena.acabou()


@falha("campanha_sem_envio", "Uma campanha começou e não envia nada", quando=Quando.COMERCIAL, dura=90 * MINUTE,
       consequencias=WAITING)  # fmt: skip
def campanha_sem_envio(cena: Cena) -> Passos:
    """Every row of it is held by somebody's open transaction. It counts from when its first message could have left."""
    m = cena.mundo
    campanha = m.campaign(40, f"Sem envio {cena.numero}")
    cena.expect("campanha_sem_envio", f"campanha:{campanha.pk}")
    with m.held(m.messages_of(campanha)):
        yield max(m.first_due(campanha) - m.agora, SECOND)
        cena.comecou()
        yield 30 * MINUTE
    m.cancel(campanha)
    yield 5 * MINUTE
    cena.acabou()


@falha("rajada_de_erros", "Mais de dez erros em cinco minutos", quando=Quando.COMERCIAL, dura=60 * MINUTE,
       limite=5 * MINUTE, consequencias=("taxa_erro_alta", "dlq_crescendo"))  # fmt: skip
def rajada_de_erros(cena: Cena) -> Passos:
    m = cena.mundo
    cena.expect("erros_acumulados")
    with m.answers(failing(OUR_ERROR)):
        m.remind(18)
        cena.comecou()
        yield 2 * MINUTE
    yield 8 * MINUTE
    cena.acabou()


@falha("taxa_de_erro", "Mais de um em cada dez envios falha", quando=Quando.COMERCIAL, dura=80 * MINUTE,
       consequencias=("erros_acumulados", "dlq_crescendo"))  # fmt: skip
def taxa_de_erro(cena: Cena) -> Passos:
    """Below the burst: three or four of fifteen in each five minutes."""
    m = cena.mundo
    cena.expect("taxa_erro_alta")
    with m.answers(sometimes(failing(OUR_ERROR), 0.28)):
        cena.comecou()
        for _ in range(8):
            m.remind(14)
            yield 150 * SECOND
    cena.acabou()


@falha("dlq_crescendo", "As falhas definitivas se acumulam sem que ninguém as olhe", quando=Quando.COMERCIAL,
       dura=3 * HOUR, consequencias=("erros_acumulados", "taxa_erro_alta"))  # fmt: skip
def dlq_crescendo(cena: Cena) -> Passos:
    """Slowly, and among sends that go well. A fault from the eleventh within an hour on."""
    m = cena.mundo
    cena.expect("dlq_crescendo")
    for number in range(5):
        m.errors_among(m.remind(48), 4)
        if number == 2:
            cena.comecou()
        yield 7 * MINUTE
    cena.acabou()


@falha("incertas_antigas", "Mensagens incertas envelhecem sem que a conciliação as resolva", quando=Quando.COMERCIAL,
       dura=3 * HOUR, consequencias=("erros_acumulados", "taxa_erro_alta"))  # fmt: skip
def incertas_antigas(cena: Cena) -> Passos:
    m = cena.mundo
    cena.expect("incertas_antigas")
    with m.answers(failing("rede.perdida", took_ms=2_000)):
        m.remind(3)
        yield 2 * MINUTE
    yield HOUR - 2 * MINUTE
    cena.comecou()
    yield 15 * MINUTE
    m.settle_uncertain()
    cena.acabou()


@falha("provedor_lento", "Uma hora lenta de um provedor: doze segundos por chamada, e mais", quando=Quando.COMERCIAL,
       dura=90 * MINUTE, consequencias=("fila_acumulada", "fila_parada"))  # fmt: skip
def provedor_lento(cena: Cena) -> Passos:
    m = cena.mundo
    provider = cena.rng.choice((ProviderName.EVOLUTION, ProviderName.ZAPI))
    cena.expect("provedor_lento", of_provider(provider))
    m.correio.provedores[provider] = slow
    m.remind(30)
    cena.comecou()
    for _ in range(11):
        yield 5 * MINUTE
        m.remind(6)
    m.correio.provedores.pop(provider)
    m.remind(30)
    yield 10 * MINUTE
    cena.acabou()


@falha("chip_restrito", "O WhatsApp restringe um chip no meio dos envios", quando=Quando.COMERCIAL, dura=50 * MINUTE,
       limite=2 * MINUTE, consequencias=("circuito_aberto", *FROM_PROVIDER))  # fmt: skip
def chip_restrito(cena: Cena) -> Passos:
    m = cena.mundo
    chip = cena.rng.choice(m.of_evolution)
    cena.expect("chip_degradado", f"chip:{chip.id}")
    m.correio.chips[chip.id] = failing("evolution.envio_proibido", status=500)
    m.remind(2 * len(m.chips))
    cena.comecou()
    yield 8 * MINUTE
    m.correio.chips.pop(chip.id)
    m.restore(chip)
    m.settle_uncertain()
    cena.acabou()
