"""Alerts about what fails: bursts of errors, the share that fails, what piles up, what stays unknown."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.alert_rules import DATABASE_AWAY, link
from core.alerts.models import Severidade
from core.alerts.rules import Finding, alert_rule
from core.backoffice.moments import day_and_time, span
from core.backoffice.ui import counted, number
from core.outcomes import SendOutcome
from fila.alert_rules import facts
from fila.alert_rules.facts import Outcomes
from fila.metricas import obter_metricas_fila

ERRORS, ERROR_RATE, DLQ_GROWS, OLD_UNKNOWN = "erros_acumulados", "taxa_erro_alta", "dlq_crescendo", "incertas_antigas"
FIVE_MINUTES, HALF_AN_HOUR, HOUR = timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=1)
TOLD_AS_CRITICAL = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Limits:
    """More than so many errors within `janela` (S-36 T03.3)."""

    erros: int = 10
    janela: timedelta = FIVE_MINUTES


_limits: ContextVar[Limits] = ContextVar("erros_acumulados_limits", default=Limits())  # noqa: B039 (frozen)


@contextmanager
def limits(wanted: Limits) -> Iterator[None]:
    """Within this block `erros_acumulados` judges by `wanted`."""
    token = _limits.set(wanted)
    try:
        yield
    finally:
        _limits.reset(token)


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of a span by what failed: message outcomes, jobs, webhook events."""

    mensagens: Mapping[str, int]
    jobs: Mapping[str, int]
    webhooks: Mapping[str, int]

    @property
    def count(self) -> int:
        return sum(sum(each.values()) for each in (self.mensagens, self.jobs, self.webhooks))

    def spoken(self) -> str:
        """The most frequent first, at most five."""
        told = [
            *((n, f"{label_of(outcome)}: {number(n)}") for outcome, n in self.mensagens.items()),
            *((n, f"job {name}: {number(n)}") for name, n in self.jobs.items()),
            *((n, f"webhook {name}: {number(n)}") for name, n in self.webhooks.items()),
        ]
        return "; ".join(text for _, text in sorted(told, key=lambda each: (-each[0], each[1]))[:5])


def label_of(outcome: str) -> str:
    return f"{outcome} ({SendOutcome(outcome).label})" if outcome in SendOutcome.values else outcome


def errors(now: datetime, *, within: timedelta) -> Errors:
    newest, _ = facts.outcomes(now, near=within, far=within)
    return Errors(newest.falhas, facts.failed_jobs(now, within=within), facts.failed_webhooks(now, within=within))


@alert_rule(
    ERRORS,
    significa="Mais de 10 erros em 5 minutos, somando mensagens que falharam, jobs e webhooks (S-36 T03.3). Esperar "
    "por chip, limite ou circuito não é erro.",
    proximo="Comece pelo tipo mais frequente: a lista já vem filtrada pelas falhas. Mensagens que podem tentar de novo "
    "tentam sozinhas.",
    link=lambda _chave: link("fila_mensagem_changelist", status__exact="erro"),
    descanso=HALF_AN_HOUR,
    inibido_por=(DATABASE_AWAY,),
)
def erros_acumulados(now: datetime) -> Iterator[Finding]:
    wanted = _limits.get()
    found = errors(now, within=wanted.janela)
    if found.count <= wanted.erros:
        return
    minutes = int(wanted.janela.total_seconds() // 60)
    yield Finding(
        severidade=Severidade.ERROR,
        titulo=f"{number(found.count)} erros em {minutes} min",
        mensagem=f"O limite é {wanted.erros}. {found.spoken()}.",
        valor=found.count,
        limite=wanted.erros,
        contexto={"mensagens": found.mensagens, "jobs": found.jobs, "webhooks": found.webhooks},
        desde=now - wanted.janela,
    )


LEAST_EVENTS, LEAST_FAILURES = 10, 3
HIGH_PCT, GRAVE_PCT = 10, 25


def high_rate(near: Outcomes, far: Outcomes) -> tuple[Outcomes, int, int] | None:
    """(span judged, failures, events) when more than 10 % fail, of at least 10 that ended; None otherwise.

    `near` is the last five minutes; a small fleet sends too little in them and is judged by `far`, half an hour. Wrong
    numbers end but are no failure of ours. One or two failures are no rate.
    """
    for span_of in (near, far):
        failed = sum(n for outcome, n in span_of.falhas.items() if outcome != SendOutcome.FAILED_VALIDATION)
        events = span_of.enviadas + sum(span_of.falhas.values())
        if events >= LEAST_EVENTS:
            is_high = failed >= LEAST_FAILURES and failed * 100 > events * HIGH_PCT
            return (span_of, failed, events) if is_high else None
    return None


@alert_rule(
    ERROR_RATE,
    significa="Mais de 10% das mensagens que terminaram nos últimos minutos falharam; de 25% em diante é crítico.",
    proximo="Veja o tipo de falha mais frequente e os circuitos. Se é um chip só, pause-o; se é o provedor, a Julia "
    "espera por ele sozinha.",
    link=lambda _chave: link("fila_mensagem_changelist", status__exact="erro"),
    segura=timedelta(minutes=1),  # the first failures of a batch say little about its rate
    descanso=timedelta(minutes=15),
    inibido_por=(DATABASE_AWAY, "circuito_aberto"),
)
def taxa_erro_alta(now: datetime) -> Iterator[Finding]:
    near, far = facts.outcomes(now, near=FIVE_MINUTES, far=HALF_AN_HOUR)
    judged = high_rate(near, far)
    if judged is None:
        return
    span_of, failed, events = judged
    window = FIVE_MINUTES if span_of is near else HALF_AN_HOUR
    pct = failed * 100 // events
    most = sorted(span_of.falhas.items(), key=lambda each: (-each[1], each[0]))[:4]
    yield Finding(
        severidade=Severidade.CRITICAL if failed * 100 >= events * GRAVE_PCT else Severidade.WARNING,
        titulo=f"{pct}% das mensagens falham",
        mensagem=f"{number(failed)} de {number(events)} que terminaram em {int(window.total_seconds() // 60)} min "
        f"falharam (limite {HIGH_PCT}%). {'; '.join(f'{label_of(outcome)}: {number(n)}' for outcome, n in most)}.",
        valor=pct,
        limite=HIGH_PCT,
        contexto={"falhas": span_of.falhas, "enviadas": span_of.enviadas},
        desde=now - window,
    )


NEW_FAILURES, MANY_NEW_FAILURES, NEW_SHARE_PCT = 10, 50, 5


@alert_rule(
    DLQ_GROWS,
    significa="Mais de 10 mensagens falharam de vez na última hora, e são mais de 5% das que terminaram nela. Elas não "
    "tentam de novo sozinhas.",
    proximo="Abra Falhas definitivas, corrija a causa mais frequente e reprocesse só o que faz sentido.",
    link=lambda _chave: link("fila_mensagemdlq_changelist"),
    inibido_por=(DATABASE_AWAY,),
)
def dlq_crescendo(now: datetime) -> Iterator[Finding]:
    found = facts.new_failures(now, within=HOUR)
    count = sum(found.values())
    if count <= NEW_FAILURES:
        return
    ended = count + int(obter_metricas_fila()["enviadas_ultima_hora"])
    if count * 100 <= ended * NEW_SHARE_PCT:
        return
    yield Finding(
        severidade=Severidade.ERROR if count > MANY_NEW_FAILURES else Severidade.WARNING,
        titulo=f"{number(count)} falhas definitivas novas em 1 h",
        mensagem=f"O limite é {NEW_FAILURES}. "
        + "; ".join(f"{label_of(outcome)}: {number(n)}" for outcome, n in list(found.items())[:4])
        + ".",
        valor=count,
        limite=NEW_FAILURES,
        contexto={"por_desfecho": found},
        desde=now - HOUR,
    )


@alert_rule(
    OLD_UNKNOWN,
    significa="Mensagens que saíram e cujo resultado ninguém confirmou há mais de 1 hora. Não são enviadas de novo "
    "sozinhas; depois de 24 h terminam como falha.",
    proximo="Se o webhook do provedor não chega, corrija-o: os ecos resolvem sozinhos. Se não, confira no celular do "
    "chip e decida cada uma na lista: foi enviada, ou não foi e reenviar.",
    link=lambda _chave: link("fila_mensagem_changelist", status__exact="incerta"),
    descanso=TOLD_AS_CRITICAL,
    inibido_por=(DATABASE_AWAY,),
)
def incertas_antigas(now: datetime) -> Iterator[Finding]:
    count, oldest = facts.old_unknown(now - HOUR)
    if not count or oldest is None:
        return
    yield Finding(
        severidade=Severidade.CRITICAL if now - oldest > TOLD_AS_CRITICAL else Severidade.WARNING,
        titulo=f"{counted(count, 'mensagem incerta', 'mensagens incertas')} há mais de 1 h",
        mensagem=f"A mais antiga saiu há {span((now - oldest).total_seconds())} ({day_and_time(oldest, now)}) e nenhum "
        "eco, recibo ou busca a confirmou.",
        valor=count,
        limite=0,
        contexto={"mais_antiga": oldest},
        desde=oldest + HOUR,
    )
