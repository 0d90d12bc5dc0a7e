"""Alerts about a fila that does not move: backlog, standstill, campaigns that started and sent nothing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta

from chips.choices import TipoMensagem
from core.alert_rules import DATABASE_AWAY, NO_ROLE, WORKER_SILENT, link, page
from core.alerts.models import Severidade
from core.alerts.rules import Finding, alert_rule
from core.backoffice.moments import day_and_time, span
from core.backoffice.ui import counted, number
from core.circuits import services as circuits
from core.circuits.names import PROVIDERS, spoken
from core.circuits.services import Gate
from core.health import beats
from fila import policy
from fila.alert_rules import facts, judging
from fila.alert_rules.facts import Late, Operation, Unsent
from fila.stranded import FLEET_ILL
from guardrails.choices import Kind
from guardrails.policy import held_kinds

HALF_AN_HOUR = timedelta(minutes=30)
PILED_UP, STILL, OVERTAKEN, UNSENT = "fila_acumulada", "fila_parada", "mensagem_parada", "campanha_sem_envio"
NOBODY_SENDS = (DATABASE_AWAY, WORKER_SILENT, NO_ROLE)
POOL_EMPTY, WHATSAPP_AWAY = "pool_vazio", "whatsapp_fora"

CLASSES = {
    TipoMensagem.PROSPECCAO: "campanhas e primeiros contatos",
    TipoMensagem.FOLLOWUP: "acompanhamentos e lembretes",
    TipoMensagem.RESPOSTA: "respostas",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """When a backlog is one (S-36 T01.5): more than so many messages due for longer than `idade`."""

    pendentes: int = 50
    idade: timedelta = HALF_AN_HOUR


_limits: ContextVar[Limits] = ContextVar("fila_acumulada_limits", default=Limits())  # noqa: B039 (frozen)


@contextmanager
def limits(wanted: Limits) -> Iterator[None]:
    """Within this block `fila_acumulada` judges by `wanted`."""
    token = _limits.set(wanted)
    try:
        yield
    finally:
        _limits.reset(token)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Due messages that may go and have waited too long, and the facts around them."""

    groups: tuple[tuple[Late, int], ...] = ()
    operation: Operation | None = None

    @property
    def count(self) -> int:
        return sum(count for _, count in self.groups)


def backlog(now: datetime, wanted: Limits) -> Backlog:
    rules = policy.read()
    found = facts.late(rules, before=now - wanted.idade)
    if not found:
        return Backlog()
    operation = facts.operation(rules, now)
    return Backlog(tuple(judging.piled_up(found, operation, facts.sent(now), age=wanted.idade)), operation)


def _pending(chave: str = "") -> str:
    campaign = {"campanha": chave.removeprefix("campanha:")} if chave.startswith("campanha:") else {}
    return link("fila_mensagem_changelist", status__exact="pendente", **campaign)


@alert_rule(
    PILED_UP,
    significa="Mais de 50 mensagens que já podiam sair esperam há mais de 30 minutos (S-36 T01.5). O que pausa, chave, "
    "limite ou horário retém não conta.",
    proximo="Veja o worker e os chips em Agora e rode python manage.py diagnostico: ele diz a primeira coisa que "
    "impede os envios. A lista mostra, em cada mensagem, por que ela espera.",
    link=_pending,
    descanso=timedelta(minutes=60),
    inibido_por=(*NOBODY_SENDS, WHATSAPP_AWAY),
    escala_apos=timedelta(minutes=60),
)
def fila_acumulada(now: datetime) -> Iterator[Finding]:
    wanted = _limits.get()
    late = backlog(now, wanted)
    if late.count <= wanted.pendentes:
        return
    oldest = min(group.desde for group, _ in late.groups)
    minutes = int(wanted.idade.total_seconds() // 60)
    seen = _seen(late.groups)
    yield Finding(
        severidade=Severidade.CRITICAL,
        titulo=f"Fila acumulada: {seen} mensagens vencidas há mais de {minutes} min",
        mensagem=f"A mais antiga podia ter saído há {span((now - oldest).total_seconds())} (limite: "
        f"{number(wanted.pendentes)} mensagens por {minutes} min). {_by_campaign(late.groups)} {_surroundings(now)}",
        valor=late.count,
        limite=wanted.pendentes,
        contexto=_evidence(late.groups, now),
        desde=oldest + wanted.idade,
    )


@alert_rule(
    STILL,
    significa="Há mensagens vencidas que podem sair, no horário de quem recebe e com limite disponível, e nenhuma "
    "daquele tipo saiu nos últimos minutos.",
    proximo="Rode python manage.py diagnostico e veja o log do worker: ele vive, mas não leva estas mensagens. Abra "
    "uma delas na lista para ver a última decisão.",
    link=_pending,
    segura=timedelta(minutes=1),  # a switch that was just released, a limit that has just grown back
    descanso=HALF_AN_HOUR,
    inibido_por=(*NOBODY_SENDS, POOL_EMPTY, WHATSAPP_AWAY),
    escala_apos=timedelta(minutes=15),
)
def fila_parada(now: datetime) -> Iterator[Finding]:
    rules = policy.read()
    found = facts.late(rules, before=now - judging.STILL)
    if not found:
        return
    operation = facts.operation(rules, now)
    still = judging.standing_still(found, operation, facts.sent(now))
    for classe, since in sorted(still.items()):
        groups = [(group, len(group.desdes)) for group in found if group.classe == classe]
        minutes = int(judging.STILL.total_seconds() // 60)
        yield Finding(
            chave=classe.value,
            severidade=Severidade.CRITICAL,
            titulo=f"Fila parada: nada sai de {CLASSES[classe]}",
            mensagem=f"{_seen(groups)} mensagens esperam, a mais antiga há {span((now - since).total_seconds())}, e "
            f"nenhuma saiu nos últimos {minutes} min. {_room(operation, classe)} {_surroundings(now)}",
            valor=int((now - since).total_seconds() // 60),
            limite=minutes,
            contexto=_evidence(groups, now),
            desde=since,
        )


@alert_rule(
    OVERTAKEN,
    significa="Mensagens vencidas que podem sair ficam para trás enquanto outras da mesma fila, que venceram depois, "
    "saem: algo segura justamente estas.",
    proximo="Abra as mais antigas na lista e veja a última decisão de cada uma. Se não há nenhuma, alguém as segura no "
    "banco: procure uma sessão de psql com transação aberta.",
    link=_pending,
    segura=timedelta(seconds=30),
    inibido_por=(*NOBODY_SENDS, STILL, PILED_UP, POOL_EMPTY, WHATSAPP_AWAY),
)
def mensagem_parada(now: datetime) -> Iterator[Finding]:
    rules = policy.read()
    found = facts.late(rules, before=now - judging.STILL)
    if not found:
        return
    newest = facts.newest_sent(now, within=judging.STILL)
    for classe, (since, count) in sorted(judging.overtaken(found, facts.operation(rules, now), newest).items()):
        yield Finding(
            chave=classe.value,
            severidade=Severidade.ERROR,
            titulo=f"{counted(count, 'mensagem parada', 'mensagens paradas')} entre as que saem",
            mensagem=f"De {CLASSES[classe]}: a mais antiga podia ter saído há {span((now - since).total_seconds())}, e "
            f"outras que venceram depois já saíram. {_surroundings(now)}",
            valor=count,
            limite=int(judging.STILL.total_seconds() // 60),
            contexto={"mais_antiga": since, "worker": _worker(now)},
            desde=since,
        )


@alert_rule(
    UNSENT,
    significa="Uma campanha está ativa, já podia ter enviado há quase 15 minutos de horário de contato e nenhuma "
    "mensagem dela saiu.",
    proximo="Abra a campanha: as mensagens mostram por que esperam. Se o texto ou o público está errado, pause-a; se "
    "está tudo certo, python manage.py diagnostico diz o que impede os envios.",
    link=lambda chave: page("fila_campanha", chave.removeprefix("campanha:")),
    segura=timedelta(seconds=30),
    inibido_por=(*NOBODY_SENDS, POOL_EMPTY, WHATSAPP_AWAY, FLEET_ILL),
    escala_apos=HALF_AN_HOUR,
)
def campanha_sem_envio(now: datetime) -> Iterator[Finding]:
    rules = policy.read()
    if Kind.CAMPANHA in held_kinds(rules.policy.switches):
        return
    found = facts.campaigns_without_sends()
    if not found:
        return
    operation, sent = facts.operation(rules, now), facts.sent(now)
    for campaign in found:
        since = judging.waits_since(campaign, operation, sent)
        if since is not None:
            yield _unsent(campaign, since, operation, now)


def _unsent(campaign: Unsent, since: datetime, operation: Operation, now: datetime) -> Finding:
    if campaign.pode_desde:
        why = f"As mensagens dela estão na fila desde {day_and_time(since, now)} e nenhuma saiu."
        if campaign.incertas:
            why += f" {counted(campaign.incertas, 'está incerta', 'estão incertas')}."
    else:
        why = "As mensagens dela ainda não entraram na fila: o cluster trabalhos do scheduler não a preparou."
    return Finding(
        chave=f"campanha:{campaign.id}",
        severidade=Severidade.CRITICAL,
        titulo=f"Campanha {campaign.id} ativa há {span((now - since).total_seconds())} sem nenhum envio",
        mensagem=f"“{campaign.nome[:80]}”. {why} {_room(operation, TipoMensagem.PROSPECCAO)} {_surroundings(now)}",
        valor=0,
        limite=int(judging.UNSENT.total_seconds() // 60),
        contexto={"campanha": campaign.id, "iniciada_em": campaign.iniciada_em, "incertas": campaign.incertas},
        desde=since,
    )


# Evidence --------------------------------------------------------------------------------------------------------


def _seen(groups: Sequence[tuple[Late, int]]) -> str:
    """A number, or "mais de": of each campaign and priority only the first are read."""
    total = sum(count for _, count in groups)
    capped = any(len(group.desdes) >= facts.PER_PROBE for group, _ in groups)
    return f"mais de {number(total)}" if capped else number(total)


def _by_campaign(groups: Sequence[tuple[Late, int]]) -> str:
    most = _campaigns(groups).most_common(3)
    return "Por campanha: " + ", ".join(f"{name} ({number(n)})" for name, n in most) + "."


def _campaigns(groups: Sequence[tuple[Late, int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for group, count in groups:
        counts[f"campanha {group.campanha_id}" if group.campanha_id is not None else "sem campanha"] += count
    return counts


def _evidence(groups: Sequence[tuple[Late, int]], now: datetime) -> dict[str, object]:
    by_class: Counter[str] = Counter()
    for group, count in groups:
        by_class[group.classe.value] += count
    return {
        "por_campanha": dict(_campaigns(groups).most_common(20)),
        "por_tipo": dict(by_class),
        "mais_antiga": min(group.desde for group, _ in groups),
        "worker": _worker(now),
        "circuitos_abertos": _open_circuits(),
    }


_ROOM = {
    judging.Room.LIVRE: "Há chip livre para levá-las.",
    judging.Room.EM_USO: "Os chips estão ocupados ou no limite.",
    judging.Room.CIRCUITO: "O circuito dos chips está aberto.",
    judging.Room.NENHUMA: "Nenhum chip pode levá-las agora.",
}


def _room(operation: Operation, classe: TipoMensagem) -> str:
    return _ROOM[judging.room(operation, classe)]


def _surroundings(now: datetime) -> str:
    opened = _open_circuits()
    return f"Worker: {_worker(now)}." + (f" Circuitos abertos: {', '.join(opened)}." if opened else "")


def _worker(now: datetime) -> str:
    newest = beats.newest("worker")
    if newest is None:
        return "nunca visto"
    if newest.encerrado_em is not None:
        return f"encerrado {day_and_time(newest.encerrado_em, now)}"
    return f"último sinal há {span((now - newest.beat_at).total_seconds())}"


def _open_circuits() -> list[str]:
    known = circuits.snapshot()
    return [spoken(name) for name in PROVIDERS if known.gate(name) is Gate.CLOSED]
