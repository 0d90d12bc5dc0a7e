"""What must hold after every drill: named pure functions over the evidence. Each returns what breaks it, in Portuguese.

An empty list means that it holds. They believe the wire; Julia's rows are what is being judged.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from core.clock import BRASILIA
from julia.exercicio.verdade import Chamada, Evidencia, Linha, Mudanca, Saida, Tentada

OPT_OUT_GRACE = timedelta(seconds=2)
#: A call may reach the provider this long after the opening that its attempt just preceded.
UNDER_WAY = timedelta(seconds=6)
JUST_BEFORE = timedelta(seconds=1)
PERMIT = timedelta(seconds=120)
STATES = {"open": "aberto", "half_open": "em teste"}
LOST_LEASE = timedelta(minutes=5)
HOUR = timedelta(minutes=60)
TERMINAL = frozenset({"enviada", "erro", "cancelada", "bloqueada"})
OPEN = frozenset({"pendente", "processando", "incerta"})
CONFIRMATION = "confirmacao_opt_out"
TOLD_AT_MOST = 5

Invariante = Callable[[Evidencia], list[str]]
Chave = tuple[str, str]


def sem_duplicata(e: Evidencia) -> list[str]:
    """Nobody received the same text twice."""
    return [f"{count} × o mesmo texto para …{who[-4:]}" for (who, _), count in duplicates(e).items()]


def fio_e_fila_concordam(e: Evidencia) -> list[str]:
    """What left is `enviada` or `incerta`, and what is `enviada` left."""
    rows = by_key(e.linhas)
    left = {key_of(record) for record in e.saidas if record.delivered}
    unknown = [f"saiu para …{who[-4:]} e não é de mensagem nenhuma" for who, text in left if (who, text) not in rows]
    denied = [
        f"{short(rows[key][0])} saiu e está {rows[key][0].status}"
        for key in left & rows.keys()
        if not any(admits_having_left(row) for row in rows[key])
    ]
    claimed = [f"{short(row)} está enviada e nunca saiu" for row in e.by_status("enviada") if key_of(row) not in left]
    return unknown + denied + claimed


def admits_having_left(row: Linha) -> bool:
    """`incerta` for 24 hours ends as `erro` / FAILED_UNKNOWN: it still says that it may have left."""
    return row.status in ("enviada", "incerta") or row.outcome == "FAILED_UNKNOWN"


def nenhuma_perdida(e: Evidencia) -> list[str]:
    """Every message ended, or is open where somebody can see it and something will move it."""
    known = {row.id for row in e.linhas}
    gone = [f"{str(missing)[:8]} sumiu da fila" for missing in sorted(e.esperadas - known, key=str)]
    return gone + [f"{short(row)} {why}" for row in e.linhas if (why := limbo_of(row, e.agora))]


def limbo_of(row: Linha, now: datetime) -> str:
    """Why nobody will ever move this row, or nothing."""
    if row.status in TERMINAL:
        return ""
    if row.status not in OPEN:
        return f"tem o estado desconhecido {row.status}"
    if row.status == "processando":
        if row.lease_ate is None or row.lease_ate < now - LOST_LEASE:
            return "está em envio sem que ninguém a tenha"
        return "está em envio até daqui a horas" if row.lease_ate > now + HOUR else ""
    if row.status == "incerta":
        return "" if row.tentativa_desconhecida else "está incerta sem tentativa que o explique"
    if row.agendar_para is None or row.agendar_para > now + timedelta(days=8):
        return "espera por um dia que não chega"
    ended = row.campanha_id is not None and row.campanha_status in ("concluida", "cancelada")
    return f"está pendente numa campanha {row.campanha_status}" if ended else ""


def tudo_explicado(e: Evidencia) -> list[str]:
    """Every end has its outcome and reason, every failure its row in the DLQ, every row a line of its story."""
    found = []
    for row in e.linhas:
        if row.status in ("enviada", "erro", "bloqueada") and not row.outcome:
            found.append(f"{short(row)} terminou {row.status} sem outcome")
        if row.status in TERMINAL and not row.motivo:
            found.append(f"{short(row)} terminou {row.status} sem motivo")
        if row.status == "erro" and not row.na_dlq:
            found.append(f"{short(row)} terminou em erro fora da DLQ")
        if row.status != "pendente" and not row.contada:
            found.append(f"{short(row)} não tem história")
    begun = sum(attempt.resultado == "iniciado" for attempt in e.tentativas)
    if begun and not e.by_status("processando"):
        found.append(f"{begun} tentativas ficaram abertas sem mensagem em envio")
    return found


def circuito_respeitado(e: Evidencia) -> list[str]:
    """No call through an open circuit beyond its probe: none while open, one per permit while it is tried."""
    return through_open(e)


def through_open(e: Evidencia) -> list[str]:
    """The calls that should not have been, by the wire and by the ledger (a refused connection reaches no wire)."""
    wire: list[str] = []
    ledger: list[str] = []
    for name, spans in spans_of(e.mudancas, e.agora).items():
        calls = [call for call in e.chamadas if name in e.circuito_de.get(call.chip, ())]
        attempts = [attempt for attempt in e.tentativas if name in e.circuito_de.get(attempt.chip, ())]
        for span in spans:
            wire += _calls_within(name, span, calls)
            ledger += _attempts_within(name, span, attempts)
        probes = sum(name in attempt.sondas for attempt in attempts)
        tries = sum(span.probes for span in spans)
        ledger += [f"{name}: {probes} sondas em {tries} testes"] if probes > tries else []
    return max(wire, ledger, key=len)


def _calls_within(name: str, span: "Span", calls: Sequence[Chamada]) -> list[str]:
    within = [call for call in calls if span.begins <= call.at < span.ends]
    if span.state == "open":
        wrong = [call for call in within if call.at >= span.begins + UNDER_WAY]
    else:
        wrong = within[span.probes :]
    return [f"{call.chip} chamado às {call.at:%H:%M:%S} com {name} {STATES[span.state]}" for call in wrong]


def _attempts_within(name: str, span: "Span", attempts: Sequence[Tentada]) -> list[str]:
    """Begun while it was open and not as its probe. One that read the circuit just before it opened is no fault."""
    return [
        f"{attempt.chip} tentado às {attempt.em:%H:%M:%S} com {name} {STATES[span.state]}"
        for attempt in attempts
        if span.begins + JUST_BEFORE <= attempt.em < span.ends and name not in attempt.sondas
    ]


@dataclass(frozen=True, slots=True)
class Span:
    """How long a circuit was in a state other than closed."""

    state: str
    begins: datetime
    ends: datetime

    @property
    def probes(self) -> int:
        """How many calls may pass: one per permit, and a permit whose holder died runs out."""
        return 1 + (self.ends - self.begins) // PERMIT if self.state == "half_open" else 0


def spans_of(changes: Sequence[Mudanca], now: datetime) -> dict[str, list[Span]]:
    by_name: defaultdict[str, list[Mudanca]] = defaultdict(list)
    for change in changes:
        by_name[change.circuito].append(change)
    return {
        name: [
            Span(change.para, change.em, after.em if after else now)
            for change, after in _with_next(mine)
            if change.para in ("open", "half_open")
        ]
        for name, mine in by_name.items()
    }


def _with_next(changes: Sequence[Mudanca]) -> Iterator[tuple[Mudanca, Mudanca | None]]:
    yield from pairwise(changes)
    if changes:
        yield changes[-1], None


def limites_respeitados(e: Evidencia) -> list[str]:
    """No window of an hour or day carried more weight than allowed, recomputed from the wire; one call per chip."""
    return limits_broken(e)


def limits_broken(e: Evidencia) -> list[str]:
    rows = by_key(e.linhas)
    sent = [(call, weight_of(rows.get(key_of(call), ()))) for call in e.chamadas if call.left]
    proactive = [(call, weight) for call, weight in sent if weight]
    limits = e.limites
    found = over(proactive, limits.global_hora, "global, uma hora") + over_days(proactive, limits.global_dia, "global")
    for chip, own in limits.chips.items():
        mine = [(call, weight) for call, weight in proactive if call.chip == chip]
        found += over(mine, int(own["hora"]), f"{chip}, uma hora") + over_days(mine, int(own["dia"]), chip)
    people: Counter[tuple[str, object]] = Counter(
        (call.recipient, call.at.astimezone(BRASILIA).date()) for call, _ in proactive
    )
    found += [
        f"…{who[-4:]} recebeu {count} no dia (limite {limits.pessoa_dia})"
        for (who, _), count in people.items()
        if count > limits.pessoa_dia
    ]
    crowded = [f"{chip} teve {most} chamadas ao mesmo tempo" for chip, most in e.max_por_chip.items() if most > 1]
    return found + crowded


def weight_of(rows: Sequence[Linha]) -> int:
    """Weight of the proactive call that carried one of these messages; 0 for replies, which no limit holds."""
    if any(row.tipo in ("resposta", CONFIRMATION) for row in rows):
        return 0
    return max((row.peso for row in rows), default=1)


def over(calls: Sequence[tuple[Chamada, int]], limit: int | None, what: str) -> list[str]:
    """Sliding windows of 60 minutes, each ending at a call."""
    if limit is None:
        return []
    window: deque[tuple[Chamada, int]] = deque()
    inside = worst = 0
    for call, weight in sorted(calls, key=lambda pair: pair[0].at):
        window.append((call, weight))
        inside += weight
        while window[0][0].at <= call.at - HOUR:
            inside -= window.popleft()[1]
        worst = max(worst, inside)
    return [f"{what}: peso {worst} com limite {limit}"] if worst > limit else []


def over_days(calls: Sequence[tuple[Chamada, int]], limit: int | None, what: str) -> list[str]:
    if limit is None:
        return []
    days: Counter[object] = Counter()
    for call, weight in calls:
        days[call.at.astimezone(BRASILIA).date()] += weight
    return [f"{what}, dia {day}: peso {weight} com limite {limit}" for day, weight in days.items() if weight > limit]


def opt_out_respeitado(e: Evidencia) -> list[str]:
    """Nothing but the one confirmation reaches a person after their opt-out was stored (2 s of grace on the way)."""
    found = []
    confirmations: Counter[str] = Counter()
    rows = by_key(e.linhas)
    for call in e.chamadas:
        stored = e.opt_outs.get(call.recipient)
        if stored is None or call.at <= stored + OPT_OUT_GRACE:
            continue
        if any(row.tipo == CONFIRMATION for row in rows.get(key_of(call), ())):
            confirmations[call.recipient] += 1
            continue
        found.append(f"…{call.recipient[-4:]} chamado {(call.at - stored).total_seconds():.0f} s depois do pedido")
    return found + [f"…{who[-4:]} recebeu {n} confirmações" for who, n in confirmations.items() if n > 1]


def processos_de_pe(e: Evidencia) -> list[str]:
    """No process of Julia ended by itself, no job failed."""
    return [f"caiu: {each}" for each in e.quedas] + [f"job falhou: {each}" for each in e.jobs_com_erro]


TODOS: Mapping[str, Invariante] = {
    each.__name__: each
    for each in (
        sem_duplicata,
        fio_e_fila_concordam,
        nenhuma_perdida,
        tudo_explicado,
        circuito_respeitado,
        limites_respeitados,
        opt_out_respeitado,
        processos_de_pe,
    )
}


def judge(e: Evidencia) -> dict[str, list[str]]:
    """Every invariant's violations by its name."""
    return {name: invariant(e) for name, invariant in TODOS.items()}


# -- shared readings of the evidence --------------------------------------------------------------------------------


def key_of(one: Saida | Chamada | Linha) -> Chave:
    """Person and text: what the same message is for whoever receives it."""
    if isinstance(one, Linha):
        return one.telefone, one.texto
    return one.recipient, one.text


def by_key(rows: Iterable[Linha]) -> dict[Chave, list[Linha]]:
    found: defaultdict[Chave, list[Linha]] = defaultdict(list)
    for row in rows:
        found[key_of(row)].append(row)
    return found


def duplicates(e: Evidencia) -> dict[Chave, int]:
    counts = Counter(key_of(record) for record in e.saidas if record.delivered)
    return {key: count for key, count in counts.items() if count > 1}


def lost(e: Evidencia) -> int:
    """Messages that are gone, in nobody's hands, or said to be sent without having left."""
    left = {key_of(record) for record in e.saidas if record.delivered}
    unsent = sum(key_of(row) not in left for row in e.by_status("enviada"))
    return len(nenhuma_perdida(e)) + unsent


def short(row: Linha) -> str:
    return f"mensagem {str(row.id)[:8]}"
