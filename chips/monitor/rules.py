"""What one check says about one chip. Pure: the answer and what was known go in, what to write comes out.

| answer | estado | flag `evolution_connected` | resultado |
|---|---|---|---|
| open, its sends come back as echoes | `conectado` | true | `ok`; `reconectado` when a disconnection had been told |
| open, but nothing came back for its sends | `conectado_mas_mudo` | true | `ok` |
| close or connecting, first check in a row | as it was | false | `desconectado_aguardando` |
| close or connecting, second in a row | `desconectado` | false | `desconectado` |
| none (unreachable, refused, not loaded) | as it was | as it was | `sem_resposta`, then `erro_persistente` |

A chip that may be down carries nothing from the first such answer on; only the telling waits for the second. An answer
that does not come moves its own counter and nothing else: an API that is down says nothing about any chip.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from chips.choices import ConexaoEstado
from chips.providers.base import ConnectionState, ErrorKind, State

CONFIRMED_AFTER = 2
"""Checks in a row, of the same kind, before a disconnection or a silence is told (chips reference §6.5)."""

SILENT_SENDS = 3
SILENT_FOR = timedelta(minutes=10)
"""So many sends that may have left, the oldest of them so old, without one echo or receipt: the chip is mute.

Evolution tells of every send and WhatsApp's server acknowledges each within seconds (contracts §0, §1.7), offline
recipients included; webhooks may be repeated for minutes (§0.9), hence ten of them.
"""

MOST_COUNTED = 30_000  # a smallint column; nobody counts so far


class ResultadoVerificacao(StrEnum):
    """The words of the domain (jobs reference §1.4-5), and `sem_resposta` for the first check that nobody answered."""

    OK = "ok"
    DESCONECTADO = "desconectado"
    DESCONECTADO_AGUARDANDO = "desconectado_aguardando"
    RECONECTADO = "reconectado"
    SEM_RESPOSTA = "sem_resposta"
    ERRO_PERSISTENTE = "erro_persistente"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a chip before the check.

    `silent_sends`: sends that may have left, of this connection and the last 24 h, that nothing came back for and that
    are younger than the last echo; `silent_since`: when the oldest of them began.
    """

    estado: ConexaoEstado
    falhas: int = 0
    sem_resposta: int = 0
    silent_sends: int = 0
    silent_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to write. `connected` None: the connection fields stay as they are, whatever they say.

    `desde`: since when `estado` holds; None where it does not change. `erro`: why nobody answered.
    """

    resultado: ResultadoVerificacao
    estado: ConexaoEstado
    falhas: int
    sem_resposta: int
    connected: bool | None = None
    state: State = State.UNKNOWN
    desde: datetime | None = None
    erro: str = ""


def judge(known: Known, answer: ConnectionState, *, asked_at: datetime, counts: bool = True) -> Verdict:
    """`asked_at`: when the provider was asked, on the database's clock.

    `counts` False: a look out of turn (a person's, or the list's). It changes what is known, but is not one of the two
    checks that must agree: minutes lie between those, and a blip of seconds fits between two looks of one moment.
    """
    if answer.kind is not None or answer.state is State.UNKNOWN:
        return _unanswered(known, answer, int(counts))
    return _open(known, asked_at) if answer.connected else _closed(known, answer, asked_at, int(counts))


def is_mute(known: Known, now: datetime) -> bool:
    """Connected by the provider's word, and deaf or dead by its deeds. A chip that sends nothing is never mute."""
    old_enough = known.silent_since is not None and now - known.silent_since >= SILENT_FOR
    return known.silent_sends >= SILENT_SENDS and old_enough


def _unanswered(known: Known, answer: ConnectionState, more: int) -> Verdict:
    times = min(known.sem_resposta + more, MOST_COUNTED)
    words = ResultadoVerificacao.ERRO_PERSISTENTE if times >= CONFIRMED_AFTER else ResultadoVerificacao.SEM_RESPOSTA
    erro = (answer.kind or ErrorKind.SESSAO).value
    return Verdict(words, known.estado, known.falhas, times, erro=erro)


def _open(known: Known, asked_at: datetime) -> Verdict:
    mute = is_mute(known, asked_at)
    estado = ConexaoEstado.CONECTADO_MAS_MUDO if mute else ConexaoEstado.CONECTADO
    since = known.silent_since if mute else asked_at
    back = known.estado == ConexaoEstado.DESCONECTADO
    return Verdict(
        ResultadoVerificacao.RECONECTADO if back else ResultadoVerificacao.OK,
        estado,
        falhas=0,
        sem_resposta=0,
        connected=True,
        state=State.OPEN,
        desde=since if estado != known.estado else None,
    )


def _closed(known: Known, answer: ConnectionState, asked_at: datetime, more: int) -> Verdict:
    times = min(known.falhas + more, MOST_COUNTED)
    told = times >= CONFIRMED_AFTER or known.estado == ConexaoEstado.DESCONECTADO
    estado = ConexaoEstado.DESCONECTADO if told else known.estado
    return Verdict(
        ResultadoVerificacao.DESCONECTADO if told else ResultadoVerificacao.DESCONECTADO_AGUARDANDO,
        estado,
        falhas=times,
        sem_resposta=0,
        connected=False,
        state=answer.state,
        desde=asked_at if estado != known.estado else None,
    )
