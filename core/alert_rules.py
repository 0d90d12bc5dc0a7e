"""What core itself watches: roles without a sign of life, jobs that are late, circuits that are open, restarts.

The facts of circuits are `circuits`, those of jobs `core.jobs.status`; everything else is one statement here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlencode

from django.conf import settings
from django.urls import reverse

from core.alerts.models import Severidade
from core.alerts.rules import Finding, alert_rule, shared
from core.backoffice.moments import day_and_time, span
from core.circuits import names, sentences, spoken
from core.circuits.models import CircuitState, Forced
from core.database import rows
from core.jobs.cron import interval
from core.jobs.status import JobState, job_states

SILENT = timedelta(minutes=2)  # S-36 T01.6
FALTERS = timedelta(seconds=75)  # a scheduler gives a sign every 10 s, and by its job every minute at the latest
RESTARTS_WITHIN = timedelta(minutes=15)
RESTARTS_IN_A_LOOP = 3
HALF_AN_HOUR = timedelta(minutes=30)

DATABASE_AWAY = "banco_fora"
DIAGNOSIS = "/admin/diagnostico/"
WORKER_SILENT = "worker_sem_heartbeat"
SCHEDULER_SILENT = "scheduler_sem_sinal"
ROLE_SILENT = "papel_sem_sinal"
NO_ROLE = "nenhum_papel_visto"


def link(view: str, *args: str, **query: str) -> str:
    """The path of an admin page, with its filters."""
    path = reverse(f"admin:{view}", args=args)
    return f"{path}?{urlencode(query)}" if query else path


def page(model: str, pk: str) -> str:
    """The page of one row of `app_model`, or their list where there is no row to name."""
    return link(f"{model}_change", pk) if pk else link(f"{model}_changelist")


# Roles -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sign:
    """The newest trace of one role. `primeiro`: when any role was first seen at all, which dates "never"."""

    papel: str
    beat_at: datetime | None
    encerrado_em: datetime | None
    primeiro: datetime | None


# One probe of role_beats_by_papel per role; the first start of all is read from a table of a few rows.
_SIGNS = """
SELECT p.papel, b.beat_at, b.encerrado_em, (SELECT min(started_at) FROM role_beats) AS primeiro
FROM unnest(%(papeis)s::text[]) AS p(papel) LEFT JOIN LATERAL (
    SELECT beat_at, encerrado_em FROM role_beats WHERE papel = p.papel ORDER BY beat_at DESC LIMIT 1) b ON true
"""


def signs(papeis: list[str]) -> list[Sign]:
    return [Sign(**row) for row in rows(_SIGNS, {"papeis": papeis})]


def silence(sign: Sign, now: datetime) -> Finding | None:
    """The finding of a role that is expected and has given no sign for more than `SILENT`; None while it lives.

    A role closed on purpose is expected all the same. One that never gave a sign counts from the first sign of any.
    """
    since = sign.primeiro if sign.beat_at is None else max(sign.beat_at, sign.encerrado_em or sign.beat_at)
    if since is None or now - since <= SILENT:
        return None
    effect, name = _EFFECTS.get(sign.papel, _NO_EFFECT), sign.papel
    silent = span((now - since).total_seconds())
    if sign.beat_at is None:
        title = f"O papel {name} nunca foi iniciado"
        evidence = f"A Julia roda há {silent} ({day_and_time(since, now)}) e o {name} nunca deu sinal de vida."
    elif sign.encerrado_em is not None and sign.encerrado_em >= sign.beat_at:
        title = f"O papel {name} foi encerrado há {silent}"
        evidence = f"Ele foi encerrado de propósito ({day_and_time(since, now)}) e ninguém o iniciou de novo."
    else:
        title = f"O papel {name} não dá sinal há {silent}"
        evidence = f"Último sinal {day_and_time(since, now)}; o limite é {span(SILENT.total_seconds())}."
    return Finding(
        chave=name,
        severidade=Severidade.CRITICAL,
        titulo=title,
        mensagem=f"{evidence} {effect} Inicie-o: python manage.py servir --papel {name}.",
        valor=int((now - since).total_seconds()),
        limite=int(SILENT.total_seconds()),
        contexto={"papel": name, "ultimo_sinal": sign.beat_at, "encerrado_em": sign.encerrado_em},
        desde=since,
    )


_EFFECTS = {
    "worker": "A fila não é consumida por ele: mensagens vencidas esperam, ou saem devagar pelo job de reserva.",
    "scheduler": "Nenhum job roda: campanhas agendadas não começam e ninguém substitui um worker que caia.",
    "api": "O backoffice e os webhooks não respondem: respostas de médicos não são recebidas.",
}
_NO_EFFECT = "O que este papel faz está parado."


def _silent(papeis: list[str], now: datetime) -> Iterator[Finding]:
    for sign in signs(papeis):
        if (found := silence(sign, now)) is not None:
            yield found


def _expected(*only: str, but: tuple[str, ...] = ()) -> list[str]:
    return [papel for papel in settings.PAPEIS_ESPERADOS if (not only or papel in only) and papel not in but]


_START_IT = (
    "Na máquina do papel, veja se o servir está de pé e as últimas linhas do log dele; inicie-o com python manage.py "
    "servir --papel <papel>. python manage.py diagnostico diz o que mais impede os envios."
)
_about_roles = partial(
    alert_rule,
    proximo=_START_IT,
    link=DIAGNOSIS,
    descanso=HALF_AN_HOUR,
    inibido_por=(DATABASE_AWAY,),
    escala_apos=timedelta(minutes=15),
)


@_about_roles(
    WORKER_SILENT,
    significa="O worker, que envia as mensagens da fila, é esperado e não dá sinal de vida há mais de 2 minutos.",
)
def worker_sem_heartbeat(now: datetime) -> Iterator[Finding]:
    return _silent(_expected("worker"), now)


@_about_roles(
    SCHEDULER_SILENT,
    significa="O scheduler, que roda os jobs, é esperado e não dá sinal de vida há mais de 2 minutos.",
)
def scheduler_sem_sinal(now: datetime) -> Iterator[Finding]:
    return _silent(_expected("scheduler"), now)


@_about_roles(
    ROLE_SILENT,
    significa="Um papel que esta instalação espera (PAPEIS_ESPERADOS) não dá sinal de vida há mais de 2 minutos.",
)
def papel_sem_sinal(now: datetime) -> Iterator[Finding]:
    return _silent(_expected(but=("worker", "scheduler")), now)


@_about_roles(
    NO_ROLE,
    significa="Há quem avalie os alertas, mas nenhum dos papéis esperados deu sinal de vida, nunca, neste banco.",
    segura=SILENT,
)
def nenhum_papel_visto(now: datetime) -> Iterator[Finding]:
    """Before the first sign of all there is no fact to count from: the engine's own memory does."""
    expected = _expected()
    if expected and all(sign.primeiro is None for sign in signs(expected)):
        yield Finding(
            severidade=Severidade.CRITICAL,
            titulo="Nenhum papel da Julia deu sinal de vida",
            mensagem=f"São esperados {', '.join(expected)} e nenhum foi visto neste banco. Nada é enviado nem "
            "recebido. Inicie-os: python manage.py servir.",
            contexto={"esperados": expected},
        )


# Jobs ------------------------------------------------------------------------------------------------------------


def _executions(chave: str) -> str:
    return link("core_jobexecution_changelist", q=chave)


@shared
def _states(now: datetime) -> list[JobState]:
    return job_states(now)


def late_jobs(now: datetime) -> list[JobState]:
    return [state for state in _states(now) if state.is_late]


@alert_rule(
    "job_atrasado",
    significa="Um job não começa há mais que o menor entre duas vezes o intervalo e o SLA dele (S-36 T03.6). Fora da "
    "janela do job ninguém o espera.",
    proximo="Veja as execuções dele. Se outros jobs também atrasam, confira o scheduler; se é só ele, leia o erro da "
    "última execução e use Executar agora em Jobs.",
    link=_executions,
    descanso=HALF_AN_HOUR,
    inibido_por=(DATABASE_AWAY, SCHEDULER_SILENT, NO_ROLE),
)
def job_atrasado(now: datetime) -> Iterator[Finding]:
    late = late_jobs(now)
    if not late:
        return
    found = {sign.papel: sign for sign in signs(["scheduler", "worker"])}
    if _falters(found["scheduler"], now):
        return
    lives = {papel: _life(sign, now) for papel, sign in found.items()}
    for state in late:
        since = state.last_run or state.first_seen
        limit = state.alert_deadline - since
        told = f"última execução há {_ago(since, now)}" if state.last_run else f"nunca rodou, em {_ago(since, now)}"
        yield Finding(
            chave=state.name,
            severidade=Severidade.CRITICAL if state.job.critical else Severidade.WARNING,
            titulo=f"Job {state.name} atrasado: {told}",
            mensagem=f"O limite é {span(limit.total_seconds())} (roda a cada "
            f"{span(interval(state.job.cron).total_seconds())}). Heartbeat: scheduler {lives['scheduler']}, "
            f"worker {lives['worker']}.",
            valor=int((now - since).total_seconds()),
            limite=int(limit.total_seconds()),
            contexto={
                "ultima_execucao": state.last_run,
                "ultimo_status": state.last_status,
                "critico": state.job.critical,
                "heartbeat": lives,
            },
            desde=state.alert_deadline,
        )


def _falters(scheduler: Sign, now: datetime) -> bool:
    """Silent for longer than a living one is, and not yet for as long as is told.

    Jobs of every minute are late before their scheduler is: within the minute it is told of, once, or it is back.
    """
    if scheduler.beat_at is None:
        return False
    silent = now - max(scheduler.beat_at, scheduler.encerrado_em or scheduler.beat_at)
    return FALTERS < silent <= SILENT


def _ago(since: datetime, now: datetime) -> str:
    return span((now - since).total_seconds())


def _life(sign: Sign, now: datetime) -> str:
    if sign.beat_at is None:
        return "nunca visto"
    ended = " (encerrado)" if sign.encerrado_em is not None else ""
    return f"há {_ago(sign.beat_at, now)}{ended}"


@alert_rule(
    "job_demorando",
    significa="Uma execução em andamento passou do tempo que o job declara que pode levar.",
    proximo="Veja a execução em andamento. A próxima vez dele é pulada até esta terminar; depois de 10 minutos ela é "
    "dada por perdida e o job roda de novo.",
    link=_executions,
    descanso=HALF_AN_HOUR,
    inibido_por=(DATABASE_AWAY,),
)
def job_demorando(now: datetime) -> Iterator[Finding]:
    for state in _states(now):
        if not state.is_too_long or state.running_since is None:
            continue
        yield Finding(
            chave=state.name,
            severidade=Severidade.ERROR if state.job.critical else Severidade.WARNING,
            titulo=f"Job {state.name} em andamento há {_ago(state.running_since, now)}",
            mensagem=f"Ele declara no máximo {span(state.job.longest.total_seconds())} por execução; esta começou "
            f"{day_and_time(state.running_since, now)}.",
            valor=int((now - state.running_since).total_seconds()),
            limite=int(state.job.longest.total_seconds()),
            contexto={"iniciado_em": state.running_since},
            desde=state.running_since,
        )


@alert_rule(
    "job_falhando",
    significa="O job roda, mas falha: nenhuma execução terminou bem dentro do SLA dele.",
    proximo="Leia o erro da última execução. Corrigida a causa, use Executar agora em Jobs; o alerta se resolve na "
    "primeira execução que der certo.",
    link=_executions,
    inibido_por=(DATABASE_AWAY, SCHEDULER_SILENT),
)
def job_falhando(now: datetime) -> Iterator[Finding]:
    for state in _states(now):
        if not (state.newest_failed and state.without_success):
            continue
        good = f"há {_ago(state.last_success, now)}" if state.last_success else "fora do período que se olha"
        yield Finding(
            chave=state.name,
            severidade=Severidade.CRITICAL if state.job.critical else Severidade.WARNING,
            titulo=f"Job {state.name} falha em todas as execuções",
            mensagem=f"A última terminou como {state.last_status}; último sucesso {good}. Em 24 h: "
            f"{state.errors_24h} erros e {state.timeouts_24h} tempos esgotados em {state.runs_24h} execuções.",
            valor=state.errors_24h + state.timeouts_24h,
            contexto={"ultimo_sucesso": state.last_success, "ultima_execucao": state.last_run},
            desde=state.last_success,
        )


# Circuits and restarts -------------------------------------------------------------------------------------------

# circuits_not_plain holds these few rows. A half-open circuit lets one probe through and nothing else: still open.
_NOT_CLOSED = """
SELECT name, state, forced, failures, opened_at, retry_at, last_error_kind FROM circuits
WHERE (state <> 'closed' AND forced <> 'desligado') OR forced = 'aberto' ORDER BY name
"""


def open_circuits(now: datetime, *, of_chips: bool) -> Iterator[Finding]:
    """One finding for each circuit that lets nothing through, of the chips or of everything else."""
    found = [row for row in rows(_NOT_CLOSED) if names.is_chip(row["name"]) == of_chips]
    titles = spoken.titles(row["name"] for row in found)
    for row in found:
        yield _open_circuit(row, titles[row["name"]], now)


def _open_circuit(row: Mapping[str, object], title: str, now: datetime) -> Finding:
    name, opened = str(row["name"]), row["opened_at"]
    retry, kind = row["retry_at"], str(row["last_error_kind"])
    state, forced = CircuitState(str(row["state"])), Forced(str(row["forced"]))
    since = f"Aberto {day_and_time(opened, now)}" if isinstance(opened, datetime) else "Aberto"
    cause = "por uma pessoa" if forced is Forced.OPEN else f"por {sentences.error_kind(kind) if kind else 'falhas'}"
    again = (
        f" Próximo teste {day_and_time(retry, now)}."
        if isinstance(retry, datetime) and retry > now and forced is Forced.NO
        else ""
    )
    return Finding(
        chave=name,
        severidade=_gravity(name, forced),
        titulo=f"{title}: circuito aberto",
        mensagem=f"{since}, {cause}.{again} {sentences.meaning(state, forced, is_chip=names.is_chip(name))}",
        valor=int(str(row["failures"])),
        contexto={"estado": state.value, "forcado": forced.value, "erro": kind, "proximo_teste": retry},
        desde=opened if isinstance(opened, datetime) else None,
    )


def _gravity(name: str, forced: Forced) -> Severidade:
    """What a person opened on purpose is known to a person."""
    if forced is Forced.OPEN or names.is_chip(name):
        return Severidade.WARNING
    return Severidade.CRITICAL if name in names.PROVIDERS else Severidade.ERROR


def circuit_page(chave: str) -> str:
    return page("core_circuit", chave)


@alert_rule(
    "circuito_aberto",
    significa="Um serviço de que a Julia depende falhou várias vezes seguidas: nada passa por ele até um teste dar "
    "certo. Mensagens vão por outro provedor ou esperam, sem penalidade.",
    proximo="Veja se o servidor do serviço responde. Quando ele voltar, o próximo teste fecha o circuito; para não "
    "esperar, feche-o na página dele, com motivo.",
    link=circuit_page,
    descanso=HALF_AN_HOUR,
    inibido_por=(DATABASE_AWAY,),
)
def circuito_aberto(now: datetime) -> Iterator[Finding]:
    return open_circuits(now, of_chips=False)


# audit_by_entity, one range per role.
_RESTARTS = """
SELECT a.entidade_id AS papel, count(*)::int AS n, max(a.created_at) AS ultimo,
       (array_agg(a.motivo ORDER BY a.created_at DESC))[1] AS motivo,
       array_agg(DISTINCT a.detalhes->>'processo') AS processos
FROM audit_trail a WHERE a.entidade = 'papel' AND a.entidade_id = ANY(%(papeis)s) AND a.created_at > %(desde)s
    AND a.acao = 'processo_reiniciado'
GROUP BY a.entidade_id ORDER BY a.entidade_id
"""


@alert_rule(
    "cluster_reiniciado",
    significa="Um processo da Julia caiu ou travou e o supervisor o iniciou de novo, sem ação de ninguém.",
    proximo="Leia o motivo nas evidências e, no log, as linhas logo antes. Uma vez pode ser acaso; se repete, falta "
    "memória ou há um defeito.",
    link=DIAGNOSIS,
    inibido_por=(DATABASE_AWAY, "papel_travado"),
)
def cluster_reiniciado(now: datetime) -> Iterator[Finding]:
    papeis = sorted({"api", "scheduler", "worker", *settings.PAPEIS_ESPERADOS})
    for row in rows(_RESTARTS, {"papeis": papeis, "desde": now - RESTARTS_WITHIN}):
        looping = row["n"] >= RESTARTS_IN_A_LOOP
        times = "uma vez" if row["n"] == 1 else f"{row['n']} vezes"
        minutes = int(RESTARTS_WITHIN.total_seconds() // 60)
        yield Finding(
            chave=row["papel"],
            severidade=Severidade.ERROR if looping else Severidade.WARNING,
            titulo=f"Papel {row['papel']} reiniciado {times} em {minutes} minutos",
            mensagem=f"Processos: {', '.join(filter(None, row['processos'])) or row['papel']}. Última vez "
            f"{day_and_time(row['ultimo'], now)}: {row['motivo']}.",
            valor=row["n"],
            limite=RESTARTS_IN_A_LOOP,
            contexto={"processos": row["processos"], "motivo": row["motivo"]},
            desde=row["ultimo"],
        )
