"""Faults of processes, jobs, chips and circuits. Each begins when what the decisions call a fault is there.

A death begins with the last beat. What is a fault only after a while (a job past its limit) begins when that is over,
and so much less is a near-miss.
"""

from datetime import timedelta

from django.db import transaction

from chips.choices import ProviderName
from chips.providers.base import State
from core.circuits import services as circuits
from core.circuits.names import of_chip, of_provider
from core.circuits.services import Call, CallResult
from core.jobs import registry
from julia.exercicio.alertas.correio import credentials_rejected, failing
from julia.exercicio.alertas.roteiro import HOUR, MINUTE, Cena, Passos, Quando, Sinal, falha
from julia.supervisor import recorder
from julia.supervisor.child import Fall
from julia.supervisor.progress import Stall

SECOND = timedelta(seconds=1)
ROLE = 3 * MINUTE  # decisions §9: worker, scheduler or api dead or never started
CLUSTER = timedelta(seconds=90)
EVERY = 30 * SECOND  # the evaluator's own turn
#: What may follow from the death of a role, where it lasts.
WITHOUT_WORKER = ("fila_acumulada", "fila_parada", "campanha_sem_envio", "sem_respostas")
WITHOUT_SCHEDULER = ("job_atrasado",)


def _dies(cena: Cena, papel: str, *, away: tuple[int, int]) -> Passos:
    cena.mundo.papeis[papel].kill()
    cena.comecou()
    yield cena.rng.randint(*away) * MINUTE
    cena.mundo.papeis[papel].start()
    cena.acabou()


def _never(cena: Cena, papel: str, *, after: timedelta) -> Passos:
    """The system begins without it; somebody starts it at last."""
    cena.comecou()
    yield after
    cena.mundo.papeis[papel].start()
    cena.acabou()


@falha("worker_nunca_subiu", "O worker nunca foi iniciado, e há mensagens na fila", quando=Quando.INICIO,
       espera=(Sinal("worker_sem_heartbeat"),), limite=ROLE, consequencias=WITHOUT_WORKER)  # fmt: skip
def worker_nunca_subiu(cena: Cena) -> Passos:
    cena.mundo.remind(30)
    yield from _never(cena, "worker", after=12 * MINUTE)


@falha("scheduler_nunca_subiu", "O scheduler nunca foi iniciado", quando=Quando.INICIO,
       espera=(Sinal("scheduler_sem_sinal"),), limite=ROLE, consequencias=WITHOUT_SCHEDULER)  # fmt: skip
def scheduler_nunca_subiu(cena: Cena) -> Passos:
    yield from _never(cena, "scheduler", after=9 * MINUTE)


@falha("api_nunca_subiu", "A api nunca foi iniciada", quando=Quando.INICIO,
       espera=(Sinal("papel_sem_sinal", "api"),), limite=ROLE)  # fmt: skip
def api_nunca_subiu(cena: Cena) -> Passos:
    yield from _never(cena, "api", after=7 * MINUTE)


@falha("worker_morto", "O worker morre com SIGKILL e ninguém o sobe",
       espera=(Sinal("worker_sem_heartbeat"),), limite=ROLE, dura=40 * MINUTE,
       consequencias=WITHOUT_WORKER)  # fmt: skip
def worker_morto(cena: Cena) -> Passos:
    yield from _dies(cena, "worker", away=(5, 12))


@falha("scheduler_morto", "O scheduler morre com SIGKILL: nenhum job roda mais",
       espera=(Sinal("scheduler_sem_sinal"),), limite=ROLE, dura=40 * MINUTE,
       consequencias=WITHOUT_SCHEDULER)  # fmt: skip
def scheduler_morto(cena: Cena) -> Passos:
    yield from _dies(cena, "scheduler", away=(5, 12))


@falha("api_morta", "A api morre com SIGKILL: webhooks e backoffice ficam sem resposta",
       espera=(Sinal("papel_sem_sinal", "api"),), limite=ROLE, dura=40 * MINUTE)  # fmt: skip
def api_morta(cena: Cena) -> Passos:
    yield from _dies(cena, "api", away=(5, 10))


@falha("cluster_travado", "Um cluster de jobs para de concluir tarefas e o servir o reinicia",
       espera=(Sinal("papel_travado"),), limite=CLUSTER + EVERY, dura=45 * MINUTE,
       consequencias=("cluster_reiniciado",))  # fmt: skip
def cluster_travado(cena: Cena) -> Passos:
    """As the supervisor's recorder writes it, 60 s after the last canary."""
    nome = cena.rng.choice(("critico", "trabalhos"))
    cena.comecou()
    yield 60 * SECOND
    with transaction.atomic():
        recorder.raise_stuck(nome, "scheduler", Stall("canario", 60.0))
    yield 25 * SECOND
    recorder.record(Fall(nome, "scheduler", "não concluiu nenhuma tarefa", 3600.0, 1.0, 1))
    yield 30 * SECOND
    recorder.resolve_stuck(nome)
    cena.acabou()


@falha("processo_cai_sempre", "Um processo cai e volta, de novo e de novo", espera=(Sinal("cluster_reiniciado"),),
       limite=ROLE, dura=50 * MINUTE)  # fmt: skip
def processo_cai_sempre(cena: Cena) -> Passos:
    papel = cena.rng.choice(("scheduler", "worker"))
    cena.comecou()
    for number in range(4):
        recorder.record(Fall(papel, papel, "terminou com código 1", 30.0, 2.0**number, number + 1))
        yield 45 * SECOND
    cena.acabou()


def _job_stops(cena: Cena, nome: str, *, late_after: timedelta, then: timedelta = 12 * MINUTE) -> Passos:
    """The job alone is lost; the fault begins `late_after` its last run (decisions §9: min(2 × interval, SLA))."""
    cena.mundo.agenda.parados.add(nome)
    cena.expect("job_atrasado", nome)
    yield cena.mundo.agenda.since_last_run(nome, late_after, cena.mundo.agora)
    cena.comecou()
    yield then
    cena.mundo.agenda.parados.discard(nome)
    cena.acabou()


@falha("job_critico_parado", "Um job crítico de cada minuto deixa de rodar", dura=45 * MINUTE, limite=3 * MINUTE,
       antes=10 * MINUTE)  # fmt: skip
def job_critico_parado(cena: Cena) -> Passos:
    critical = [job.name for job in registry.registered() if job.critical and job.cron.text == "* * * * *"]
    yield from _job_stops(cena, cena.rng.choice(sorted(critical)), late_after=2 * MINUTE)


@falha("job_de_15_min_parado", "Um job de cada 15 minutos deixa de rodar", dura=90 * MINUTE, limite=3 * MINUTE,
       antes=20 * MINUTE)  # fmt: skip
def job_de_15_min_parado(cena: Cena) -> Passos:
    yield from _job_stops(cena, "resetar_fila_travada", late_after=30 * MINUTE)


@falha("job_diario_parado", "O job da madrugada não roda", quando=Quando.TARDE, dura=30 * HOUR, limite=3 * MINUTE,
       solta=True)  # fmt: skip
def job_diario_parado(cena: Cena) -> Passos:
    """It ran at three and does not the next night: late at four, after 25 hours."""
    yield from _job_stops(cena, "limpar_fila_antiga", late_after=25 * HOUR, then=20 * MINUTE)
    cena.mundo.agenda.run_now("limpar_fila_antiga", cena.mundo.agora)


@falha("chip_desconectado", "Um chip perde a conexão e não volta", dura=55 * MINUTE,
       consequencias=("conexao_perdida",))  # fmt: skip
def chip_desconectado(cena: Cena) -> Passos:
    chip = cena.rng.choice(cena.mundo.of_evolution)
    cena.expect("whatsapp_desconectado", of_chip(chip.id))
    cena.mundo.connection([chip], State.CLOSE)
    cena.comecou()
    yield 25 * MINUTE
    cena.mundo.connection([chip], State.OPEN)
    cena.acabou()


@falha("sessao_encerrada", "O WhatsApp encerra a sessão de um chip (401)", dura=55 * MINUTE)
def sessao_encerrada(cena: Cena) -> Passos:
    chip = cena.rng.choice(cena.mundo.of_evolution)
    cena.expect("whatsapp_desconectado", of_chip(chip.id))
    cena.mundo.connection([chip], State.CLOSE, reason=401)
    cena.comecou()
    yield 20 * MINUTE
    cena.mundo.reconnect_by_hand(chip)
    cena.acabou()


@falha("chip_mudo", "Um chip diz que está conectado e nada do que envia deixa rastro", quando=Quando.COMERCIAL,
       dura=80 * MINUTE)  # fmt: skip
def chip_mudo(cena: Cena) -> Passos:
    """A fault once the monitor's own definition is met: three sends without a trace, the oldest ten minutes old."""
    m = cena.mundo
    chip = cena.rng.choice(m.chips)
    cena.expect("chip_mudo", of_chip(chip.id))
    m.recibos.mudos.add(chip.id)
    began = m.agora
    m.remind(5 * len(m.chips))
    yield 6 * MINUTE
    yield max(m.first_send(chip.id, since=began) + 10 * MINUTE - m.agora, SECOND)
    cena.comecou()
    yield 15 * MINUTE
    m.recibos.mudos.discard(chip.id)
    m.remind(3 * len(m.chips))
    yield 6 * MINUTE
    cena.acabou()


@falha("pool_vazio", "Todos os chips são bloqueados: ninguém pode enviar", dura=50 * MINUTE,
       consequencias=("pool_baixo_prospeccao", "pool_baixo_followup", "pool_baixo_resposta", "pool_degradado",
                      "fila_acumulada", "fila_parada", "sem_respostas"))  # fmt: skip
def pool_vazio(cena: Cena) -> Passos:
    cena.expect("pool_vazio")
    cena.mundo.block(cena.mundo.chips)
    cena.comecou()
    yield 15 * MINUTE
    cena.mundo.unblock(cena.mundo.chips)
    cena.acabou()


@falha("pool_baixo", "Sobram dois chips para prospectar", dura=50 * MINUTE,
       consequencias=("pool_baixo_followup", "pool_baixo_resposta", "pool_degradado"))  # fmt: skip
def pool_baixo(cena: Cena) -> Passos:
    cena.expect("pool_baixo_prospeccao")
    chips = cena.rng.sample(cena.mundo.chips, len(cena.mundo.chips) - 2)
    cena.mundo.block(chips)
    cena.comecou()
    yield 15 * MINUTE
    cena.mundo.unblock(chips)
    cena.acabou()


def _goes_down(cena: Cena, provider: ProviderName) -> Passos:
    """Every call is refused; messages are due, so that the circuit learns of it."""
    m = cena.mundo
    m.correio.provedores[provider] = failing("rede.recusada")
    m.remind(20)
    cena.comecou()
    yield 10 * MINUTE
    m.correio.provedores.pop(provider)
    m.remind(10, in_s=300)
    yield 25 * MINUTE
    cena.acabou()


FROM_PROVIDER = ("erros_acumulados", "taxa_erro_alta", "dlq_crescendo", "frota_doente", "fila_parada", "muitos_erros",
                 "circuito_de_chip_aberto", "incertas_antigas")  # fmt: skip


@falha("provedor_fora", "Um provedor recusa todas as conexões: o circuito dele abre", quando=Quando.COMERCIAL,
       dura=75 * MINUTE, consequencias=FROM_PROVIDER)  # fmt: skip
def provedor_fora(cena: Cena) -> Passos:
    provider = cena.rng.choice((ProviderName.EVOLUTION, ProviderName.ZAPI))
    cena.expect("circuito_aberto", of_provider(provider))
    yield from _goes_down(cena, provider)


def _refused(cena: Cena) -> Call:
    return Call("chatwoot", CallResult.FAILURE, kind="rede", started_at=cena.mundo.agora, only_scope=True)


@falha("circuito_de_apoio", "O circuito do Chatwoot abre fora do horário", quando=Quando.NOITE, dura=30 * MINUTE)
def circuito_de_apoio(cena: Cena) -> Passos:
    cena.expect("circuito_aberto", "chatwoot")
    cena.comecou()
    with transaction.atomic():
        circuits.record([_refused(cena) for _ in range(6)])
    yield 8 * MINUTE
    circuits.reset("chatwoot", actor="exercicio", motivo="exercício: o Chatwoot voltou")
    cena.acabou()


@falha("credenciais_recusadas", "Um provedor recusa as credenciais de um chip", quando=Quando.COMERCIAL,
       dura=60 * MINUTE, consequencias=("circuito_aberto", *FROM_PROVIDER))  # fmt: skip
def credenciais_recusadas(cena: Cena) -> Passos:
    m = cena.mundo
    chip = cena.rng.choice(m.chips[:6])
    cena.expect("falha_autenticacao", of_chip(chip.id))
    m.correio.chips[chip.id] = credentials_rejected(chip.provider)
    m.remind(24)
    cena.comecou()
    yield 10 * MINUTE
    m.correio.chips.pop(chip.id)
    m.remind(32, in_s=60)
    yield 10 * MINUTE
    cena.acabou()
