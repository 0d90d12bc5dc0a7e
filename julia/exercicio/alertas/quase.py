"""Near-misses: what looks like a fault and is none. Whoever is told of one of these was woken for nothing."""

from datetime import timedelta

from chips.choices import ProviderName
from chips.providers.base import State
from core.jobs import registry
from julia.exercicio.alertas.correio import failing, sometimes, the_first, unhurried
from julia.exercicio.alertas.falhas_de_envio import NOT_THERE
from julia.exercicio.alertas.roteiro import HOUR, MINUTE, Cena, Passos, Quando, quase

SECOND = timedelta(seconds=1)


def _restarts(cena: Cena, papel: str, *, politely: bool = True) -> Passos:
    """The machine changes it for another within a minute; nothing fell, so nobody records a fall."""
    role = cena.mundo.papeis[papel]
    cena.comecou()
    (role.stop if politely else role.kill)()
    yield timedelta(seconds=cena.rng.uniform(20, 58))
    role.start()
    yield 5 * MINUTE
    cena.acabou()


@quase("worker_reinicia", "O worker reinicia em menos de um minuto (nova versão)", dura=20 * MINUTE)
def worker_reinicia(cena: Cena) -> Passos:
    yield from _restarts(cena, "worker")


@quase("worker_some_e_volta", "O worker some sem se despedir e volta em menos de um minuto", dura=20 * MINUTE)
def worker_some_e_volta(cena: Cena) -> Passos:
    yield from _restarts(cena, "worker", politely=False)


@quase("scheduler_reinicia", "O scheduler reinicia em menos de um minuto", dura=20 * MINUTE)
def scheduler_reinicia(cena: Cena) -> Passos:
    yield from _restarts(cena, "scheduler")


@quase("api_reinicia", "A api reinicia em menos de um minuto", dura=20 * MINUTE)
def api_reinicia(cena: Cena) -> Passos:
    yield from _restarts(cena, "api")


@quase("erros_espalhados", "39 erros ao longo de um dia de envios", quando=Quando.COMERCIAL, dura=9 * HOUR, solta=True)
def erros_espalhados(cena: Cena) -> Passos:
    m = cena.mundo
    cena.comecou()
    for _ in range(39):
        m.errors_among(m.remind(16), 1)
        yield cena.rng.randint(10, 16) * MINUTE
    cena.acabou()


@quase("cinquenta_por_27_min", "Mais de 50 mensagens vencidas por 27 minutos, e a fila volta ao ritmo",
       quando=Quando.COMERCIAL, dura=60 * MINUTE)  # fmt: skip
def cinquenta_por_27_min(cena: Cena) -> Passos:
    """As the backlog that is a fault, minutes short of it; one or two leave every minute."""
    m = cena.mundo
    m.correio.remetentes, m.correio.looks = 1, 1
    cena.comecou()
    m.remind(90)
    yield 27 * MINUTE
    m.correio.restore()
    yield 10 * MINUTE
    cena.acabou()


@quase("vencidas_por_9_min", "Poucas mensagens vencidas por nove minutos", quando=Quando.COMERCIAL, dura=30 * MINUTE)
def vencidas_por_9_min(cena: Cena) -> Passos:
    m = cena.mundo
    cena.comecou()
    with m.held(m.remind(20)):
        yield 9 * MINUTE
    yield 5 * MINUTE
    cena.acabou()


@quase("campanha_pausada", "Uma campanha pausada durante o fim de semana", quando=Quando.FIM_DE_SEMANA, dura=66 * HOUR,
       solta=True)  # fmt: skip
def campanha_pausada(cena: Cena) -> Passos:
    m = cena.mundo
    cena.comecou()
    campanha = m.campaign(300, f"Pausada {cena.numero}")
    yield 20 * MINUTE
    m.pause(campanha)
    yield 65 * HOUR
    m.resume(campanha)
    yield 15 * MINUTE
    cena.acabou()


@quase("noite_com_campanha", "Anoitece com a campanha pela metade: o resto espera a manhã", quando=Quando.COMERCIAL,
       dura=20 * HOUR, solta=True)  # fmt: skip
def noite_com_campanha(cena: Cena) -> Passos:
    m = cena.mundo
    cena.comecou()
    m.campaign(700, f"Dois dias {cena.numero}")
    yield 19 * HOUR
    cena.acabou()


@quase("campanha_grande_agendada", "Uma campanha de 3.000 mensagens agendada para daqui a dez dias", solta=True,
       dura=10 * HOUR)  # fmt: skip
def campanha_grande_agendada(cena: Cena) -> Passos:
    m = cena.mundo
    cena.comecou()
    campanha = m.campaign(3000, f"Agendada {cena.numero}", at=m.agora + timedelta(days=10))
    yield 9 * HOUR
    m.cancel(campanha)
    cena.acabou()


@quase("job_atrasa_pouco", "Um job roda com atraso menor que o limite", dura=30 * MINUTE,
       antes=10 * MINUTE)  # fmt: skip
def job_atrasa_pouco(cena: Cena) -> Passos:
    m = cena.mundo
    name = cena.rng.choice(sorted(job.name for job in registry.registered() if job.cron.text == "*/2 * * * *"))
    m.agenda.parados.add(name)
    cena.comecou()
    yield 100 * SECOND
    m.agenda.parados.discard(name)
    yield 5 * MINUTE
    cena.acabou()


@quase("job_de_15_min_atrasa", "Um job de cada 15 minutos perde uma vez", dura=45 * MINUTE,
       antes=20 * MINUTE)  # fmt: skip
def job_de_15_min_atrasa(cena: Cena) -> Passos:
    m = cena.mundo
    m.agenda.parados.add("resetar_fila_travada")
    cena.comecou()
    yield m.agenda.since_last_run("resetar_fila_travada", 27 * MINUTE, m.agora)
    m.agenda.parados.discard("resetar_fila_travada")
    m.agenda.run_now("resetar_fila_travada", m.agora)
    yield 5 * MINUTE
    cena.acabou()


@quase("job_falha_uma_vez", "Um job falha uma vez e na próxima dá certo", dura=20 * MINUTE,
       antes=20 * MINUTE)  # fmt: skip
def job_falha_uma_vez(cena: Cena) -> Passos:
    m = cena.mundo
    m.agenda.quebrados.add("retomar_importacoes")
    cena.comecou()
    yield 130 * SECOND
    m.agenda.quebrados.discard("retomar_importacoes")
    yield 5 * MINUTE
    cena.acabou()


@quase("uma_verificacao_falha", "Um chip cai e volta antes da segunda verificação", dura=30 * MINUTE)
def uma_verificacao_falha(cena: Cena) -> Passos:
    m = cena.mundo
    chip = cena.rng.choice(m.of_evolution)
    cena.comecou()
    m.connection([chip], State.CLOSE)
    yield 240 * SECOND
    m.connection([chip], State.OPEN)
    yield 10 * MINUTE
    cena.acabou()


@quase("chips_reconectam", "Três chips reconectam em segundos, no meio dos envios", quando=Quando.COMERCIAL,
       dura=30 * MINUTE)  # fmt: skip
def chips_reconectam(cena: Cena) -> Passos:
    m = cena.mundo
    chips = cena.rng.sample(m.of_evolution, 3)
    m.remind(20)
    cena.comecou()
    m.connection(chips, State.CONNECTING)
    yield 45 * SECOND
    m.connection(chips, State.OPEN)
    yield 10 * MINUTE
    cena.acabou()


@quase("nove_por_cento", "9 % dos envios falham", quando=Quando.COMERCIAL, dura=60 * MINUTE)
def nove_por_cento(cena: Cena) -> Passos:
    """One of twelve (8.3 %), again and again: ten errors, of which eight in five minutes."""
    m = cena.mundo
    cena.comecou()
    for _ in range(10):
        m.errors_among(m.remind(12), 1)
        yield 40 * SECOND
    yield 10 * MINUTE
    cena.acabou()


@quase("dois_erros_de_tres", "Dois de três envios falham: gente demais para pouco envio", quando=Quando.COMERCIAL,
       dura=30 * MINUTE)  # fmt: skip
def dois_erros_de_tres(cena: Cena) -> Passos:
    m = cena.mundo
    cena.comecou()
    m.errors_among(m.remind(3), 2)
    yield 10 * MINUTE
    cena.acabou()


@quase("lento_mas_anda", "Um provedor responde em seis segundos, e responde", quando=Quando.COMERCIAL, dura=75 * MINUTE)
def lento_mas_anda(cena: Cena) -> Passos:
    m = cena.mundo
    provider = cena.rng.choice((ProviderName.EVOLUTION, ProviderName.ZAPI))
    m.correio.provedores[provider] = unhurried
    cena.comecou()
    for _ in range(6):
        m.remind(12)
        yield 8 * MINUTE
    m.correio.provedores.pop(provider)
    yield 5 * MINUTE
    cena.acabou()


@quase("numeros_fora_do_whatsapp", "Alguns números de uma lista velha não existem", quando=Quando.COMERCIAL,
       dura=40 * MINUTE)  # fmt: skip
def numeros_fora_do_whatsapp(cena: Cena) -> Passos:
    """What the recipient is at fault for, and little of it."""
    m = cena.mundo
    cena.comecou()
    for provider, codigo in NOT_THERE.items():
        m.correio.provedores[provider] = sometimes(failing(codigo), 0.06)
    for _ in range(3):
        m.remind(30)
        yield 5 * MINUTE
    m.correio.provedores.clear()
    yield 5 * MINUTE
    cena.acabou()


@quase("quatro_recusas", "Quatro conexões recusadas seguidas, e o provedor volta", quando=Quando.COMERCIAL,
       dura=40 * MINUTE)  # fmt: skip
def quatro_recusas(cena: Cena) -> Passos:
    """One short of the five that open a provider's circuit."""
    m = cena.mundo
    cena.comecou()
    m.correio.provedores[ProviderName.EVOLUTION] = the_first(failing("rede.recusada"), 4)
    m.remind(24)
    yield 6 * MINUTE
    m.correio.provedores.clear()
    yield 5 * MINUTE
    cena.acabou()


@quase("incertas_recentes", "Duas mensagens incertas por vinte minutos", quando=Quando.COMERCIAL, dura=45 * MINUTE)
def incertas_recentes(cena: Cena) -> Passos:
    m = cena.mundo
    cena.comecou()
    with m.answers(the_first(failing("rede.perdida", took_ms=2_000), 2)):
        m.remind(12)
        yield 2 * MINUTE
    yield 18 * MINUTE
    m.settle_uncertain()
    yield 5 * MINUTE
    cena.acabou()


@quase("poucas_falhas_definitivas", "Três mensagens vão para as falhas definitivas", quando=Quando.COMERCIAL,
       dura=30 * MINUTE)  # fmt: skip
def poucas_falhas_definitivas(cena: Cena) -> Passos:
    m = cena.mundo
    cena.comecou()
    m.remind(40)
    for _ in range(3):
        yield 2 * MINUTE
        m.errors_among(m.remind(12), 1)
    yield 10 * MINUTE
    cena.acabou()


@quase("chips_em_revisao", "Quatro chips bloqueados para revisão; os outros levam tudo", dura=40 * MINUTE)
def chips_em_revisao(cena: Cena) -> Passos:
    m = cena.mundo
    chips = cena.rng.sample(m.chips, 4)
    cena.comecou()
    m.block(chips)
    yield 30 * MINUTE
    m.unblock(chips)
    cena.acabou()


@quase(
    "operacao_pausada", "A operação é pausada por uma pessoa por uma hora", quando=Quando.COMERCIAL, dura=100 * MINUTE
)
def operacao_pausada(cena: Cena) -> Passos:
    """What a switch holds is not stuck."""
    m = cena.mundo
    cena.comecou()
    m.switch("operacao_pausada", value=True)
    m.remind(70)
    yield 60 * MINUTE
    m.switch("operacao_pausada", value=False)
    yield 20 * MINUTE
    cena.acabou()
