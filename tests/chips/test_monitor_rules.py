"""What one check of a connection comes to: the table of chips/monitor/rules.py."""

from datetime import UTC, datetime, timedelta

import pytest

from chips.choices import ConexaoEstado
from chips.monitor.rules import SILENT_FOR, SILENT_SENDS, Known, ResultadoVerificacao, is_mute, judge
from chips.providers.base import ConnectionState, ErrorKind, State

ASKED = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
CONECTADO, DESCONECTADO = ConexaoEstado.CONECTADO, ConexaoEstado.DESCONECTADO
MUDO, NOVO = ConexaoEstado.CONECTADO_MAS_MUDO, ConexaoEstado.NAO_VERIFICADO
OK, AGUARDANDO = ResultadoVerificacao.OK, ResultadoVerificacao.DESCONECTADO_AGUARDANDO

OPEN = ConnectionState(True, State.OPEN)
CLOSED = ConnectionState(False, State.CLOSE)
CONNECTING = ConnectionState(False, State.CONNECTING)
NOT_LOADED = ConnectionState(False, State.UNKNOWN, "instância não carregada no servidor")
UNREACHABLE = ConnectionState(False, State.UNKNOWN, "", ErrorKind.REDE)
REFUSED = ConnectionState(False, State.UNKNOWN, "", ErrorKind.CREDENCIAL)


def silent(estado: ConexaoEstado, falhas: int = 0) -> Known:
    return Known(estado, falhas, silent_sends=SILENT_SENDS, silent_since=ASKED - SILENT_FOR)


@pytest.mark.parametrize(
    ("known", "answer", "resultado", "estado", "connected", "falhas"),
    [
        (Known(NOVO), OPEN, OK, CONECTADO, True, 0),
        (Known(CONECTADO), OPEN, OK, CONECTADO, True, 0),
        (Known(CONECTADO, falhas=1), OPEN, OK, CONECTADO, True, 0),
        (Known(DESCONECTADO, falhas=7), OPEN, ResultadoVerificacao.RECONECTADO, CONECTADO, True, 0),
        (Known(NOVO), CLOSED, AGUARDANDO, NOVO, False, 1),
        (Known(CONECTADO), CLOSED, AGUARDANDO, CONECTADO, False, 1),
        (Known(CONECTADO), CONNECTING, AGUARDANDO, CONECTADO, False, 1),
        (Known(CONECTADO, falhas=1), CLOSED, ResultadoVerificacao.DESCONECTADO, DESCONECTADO, False, 2),
        (Known(CONECTADO, falhas=1), CONNECTING, ResultadoVerificacao.DESCONECTADO, DESCONECTADO, False, 2),
        (Known(MUDO, falhas=1), CLOSED, ResultadoVerificacao.DESCONECTADO, DESCONECTADO, False, 2),
        (Known(DESCONECTADO, falhas=2), CLOSED, ResultadoVerificacao.DESCONECTADO, DESCONECTADO, False, 3),
        (silent(CONECTADO), OPEN, OK, MUDO, True, 0),
        (silent(MUDO), OPEN, OK, MUDO, True, 0),
        (Known(MUDO), OPEN, OK, CONECTADO, True, 0),
        (silent(DESCONECTADO, falhas=2), OPEN, ResultadoVerificacao.RECONECTADO, MUDO, True, 0),
    ],
)  # fmt: skip
def test_an_answer_decides_state_and_flag(
    known: Known,
    answer: ConnectionState,
    resultado: ResultadoVerificacao,
    estado: ConexaoEstado,
    connected: bool,
    falhas: int,
) -> None:
    verdict = judge(known, answer, asked_at=ASKED)
    assert (verdict.resultado, verdict.estado, verdict.connected, verdict.falhas) == (
        resultado, estado, connected, falhas,
    )  # fmt: skip
    assert (verdict.state, verdict.sem_resposta, verdict.erro) == (answer.state, 0, "")
    assert (verdict.desde is not None) == (estado != known.estado)


@pytest.mark.parametrize("estado", list(ConexaoEstado))
@pytest.mark.parametrize(("answer", "erro"), [(UNREACHABLE, "rede"), (REFUSED, "credencial"), (NOT_LOADED, "sessao")])
def test_silence_moves_its_own_counter_and_nothing_else(
    estado: ConexaoEstado, answer: ConnectionState, erro: str
) -> None:
    first = judge(silent(estado, falhas=1), answer, asked_at=ASKED)
    assert (first.resultado, first.sem_resposta, first.erro) == (ResultadoVerificacao.SEM_RESPOSTA, 1, erro)
    assert (first.estado, first.connected, first.falhas, first.desde) == (estado, None, 1, None)
    second = judge(Known(estado, sem_resposta=1), answer, asked_at=ASKED)
    assert (second.resultado, second.sem_resposta) == (ResultadoVerificacao.ERRO_PERSISTENTE, 2)


def test_a_failed_check_counts_across_an_unanswered_one() -> None:
    known = Known(CONECTADO, falhas=1, sem_resposta=3)
    assert judge(known, CLOSED, asked_at=ASKED).resultado == ResultadoVerificacao.DESCONECTADO


def test_a_look_out_of_turn_is_none_of_the_two_checks() -> None:
    once = judge(Known(CONECTADO, falhas=1), CLOSED, asked_at=ASKED, counts=False)
    assert (once.resultado, once.estado, once.falhas, once.connected) == (AGUARDANDO, CONECTADO, 1, False)
    assert judge(Known(CONECTADO), UNREACHABLE, asked_at=ASKED, counts=False).sem_resposta == 0
    told = judge(Known(DESCONECTADO, falhas=2), CLOSED, asked_at=ASKED, counts=False)
    assert (told.resultado, told.estado) == (ResultadoVerificacao.DESCONECTADO, DESCONECTADO)
    assert judge(Known(DESCONECTADO, falhas=2), OPEN, asked_at=ASKED, counts=False).estado == CONECTADO


@pytest.mark.parametrize(
    ("sends", "age", "mute"),
    [
        (0, None, False),
        (SILENT_SENDS - 1, timedelta(hours=5), False),
        (SILENT_SENDS, SILENT_FOR - timedelta(seconds=1), False),
        (SILENT_SENDS, SILENT_FOR, True),
        (50, timedelta(hours=20), True),
    ],
)
def test_mute_is_who_sent_enough_long_enough_ago_without_an_echo(sends: int, age: timedelta | None, mute: bool) -> None:
    since = ASKED - age if age is not None else None
    assert is_mute(Known(CONECTADO, silent_sends=sends, silent_since=since), ASKED) is mute


def test_mute_since_the_oldest_send_that_nothing_came_back_for() -> None:
    assert judge(silent(CONECTADO), OPEN, asked_at=ASKED).desde == ASKED - SILENT_FOR
