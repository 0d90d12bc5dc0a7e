"""The story of a message, told from its records alone."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from chips.models import Selecao, Tentativa
from fila.choices import Evento, Status
from fila.models import Mensagem, MensagemEvento
from fila.sentences import reason_sentence
from fila.timeline import Records, answer, story

T0 = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
CHIP = uuid.UUID(int=7)


def message(**values: object) -> Mensagem:
    defaults = {"status": "pendente", "created_at": T0, "agendar_para": T0, "campanha_id": 1, "outcome": None,
                "outcome_reason_code": None, "delivery_status": None, "tentativa_aberta_id": None,
                "updated_at": T0}  # fmt: skip
    return Mensagem(**(defaults | values))


def event(minutes: int, tipo: Evento, motivo: str = "", **values: object) -> MensagemEvento:
    defaults: dict[str, object] = {"outcome": "", "detalhes": {}, "ate": None}
    return MensagemEvento(tipo=tipo, motivo=motivo, em=T0 + timedelta(minutes=minutes), **(defaults | values))


def attempt(minutes: int, resultado: str, **values: object) -> Tentativa:
    defaults = {"tentativa_no": 1, "chip_id": CHIP, "motivo_escolha": "menor_uso", "codigo": "", "erro": "",
                "http_status": None, "duracao_ms": None, "selecao_id": None}  # fmt: skip
    at = T0 + timedelta(minutes=minutes)
    closed = None if resultado == "iniciado" else at + timedelta(seconds=1)
    return Tentativa(iniciado_em=at, encerrado_em=closed, resultado=resultado, **(defaults | values))


def test_a_story_begins_with_the_fila_even_without_an_event_for_it() -> None:
    assert [entry.title for entry in story(message(), Records())] == ["Entrou na fila"]


def test_attempts_and_events_are_told_in_the_order_of_time() -> None:
    records = Records(
        events=[event(1, Evento.ADIADA, "quiet_hours"), event(9, Evento.RECIBO, "read")],
        attempts=[attempt(5, "enviado", tentativa_no=1)],
        chips={str(CHIP): "julia_…0001"},
    )
    titles = [entry.title for entry in story(message(status="enviada"), records)]
    assert titles == [
        "Entrou na fila", "Adiada", "Tentativa 1 pelo chip julia_…0001", "Tentativa 1: aceita pelo provedor",
        "Confirmação do WhatsApp",
    ]  # fmt: skip


def test_equal_neighbours_become_one_line_with_a_count() -> None:
    records = Records(events=[event(n, Evento.SEM_CHIP, "no_capacity:chips_no_limite") for n in range(1, 41)])
    told = story(message(), records)
    assert (told[-1].title, told[-1].times, told[-1].at) == ("Nenhum chip disponível", 40, T0 + timedelta(minutes=40))
    assert len(told) == 2


def test_every_candidate_is_named_with_each_of_its_refusals() -> None:
    selection = Selecao(
        candidatos=[
            {"tipo": "prospeccao", "emergencia": False, "elegiveis": ["0001"],
             "recusados": {str(CHIP): ["limite_dia", "desconectado"]}},
        ]
    )  # fmt: skip
    records = Records(
        events=[event(1, Evento.SEM_CHIP, "no_capacity", detalhes={"selecao": 3})],
        selections={3: selection},
        chips={str(CHIP): "julia_…0002"},
    )
    assert story(message(), records)[-1].details == (
        "Prospecção: podiam levar final 0001",
        "julia_…0002: chegou ao limite do dia; está desconectado do WhatsApp",
    )


def test_every_rule_that_objected_is_listed() -> None:
    objections = [{"reason": "quiet_hours", "outcome": ""}, {"reason": "daily_limit", "outcome": ""}]
    records = Records(events=[event(1, Evento.ADIADA, "quiet_hours", detalhes={"objections": objections})])
    assert len(story(message(), records)[-1].details) == 2


def test_an_end_that_left_no_event_is_told_from_the_row() -> None:
    ended = message(status="cancelada", outcome_reason_code="campanha_cancelada", outcome_at=T0 + timedelta(hours=1))
    assert story(ended, Records())[-1].text == "A campanha foi cancelada."


@pytest.mark.parametrize("status", Status.values)
def test_every_status_has_an_answer(status: str) -> None:
    assert answer(message(status=status), now=T0)


def test_a_message_of_a_paused_campaign_waits_for_the_campaign() -> None:
    assert "campanha está pausada" in answer(message(), now=T0, campanha_status="pausada")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("quiet_hours", "fora do horário"),
        ("no_capacity:chips_no_limite", "chegaram aos seus limites"),
        ("no_capacity", "Nenhum chip podia levar"),
        ("account_restricted:forbidden", "(Detalhe: forbidden)"),
        ("rate_limit:limite_global", "limite global"),
        ("algo_novo", "algo_novo"),
        (None, ""),
    ],
)
def test_a_reason_code_becomes_a_sentence(code: str | None, says: str) -> None:
    assert says in reason_sentence(code)


def test_an_unknown_code_with_an_outcome_uses_the_outcomes_label() -> None:
    assert reason_sentence("novo", "FAILED_TIMEOUT") == "Falha: tempo esgotado. (Detalhe: novo)"
