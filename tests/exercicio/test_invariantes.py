"""Each invariant on evidence made by hand: what it lets pass, and what breaks it."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from julia.exercicio import invariantes
from julia.exercicio.verdade import Chamada, Evidencia, Limites, Linha, Mudanca, Saida, Tentada

T0 = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
ANA = "5511900010001"
CHIP = "chip-01"
LIMITES = Limites(
    global_hora=None,
    global_dia=None,
    pessoa_dia=3,
    peso_campanha=2,
    pausa_s={},
    janela={},
    chips={CHIP: {"hora": 6, "dia": 100}},
)


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def row(text: str = "Oi", person: str = ANA, **values: Any) -> Linha:
    known: dict[str, Any] = {
        "id": uuid.uuid4(),
        "cliente_id": uuid.uuid4(),
        "campanha_id": None,
        "telefone": person,
        "texto": text,
        "tipo": "lembrete",
        "status": "enviada",
        "outcome": "SENT",
        "motivo": "ok",
        "peso": 2,
        "agendar_para": T0,
        "lease_ate": None,
        "tentativa_aberta": None,
        "tentativa_desconhecida": False,
        "na_dlq": False,
        "contada": True,
        "campanha_status": None,
    }
    return Linha(**known | values)


def call(text: str = "Oi", person: str = ANA, *, at: float = 0, chip: str = CHIP, left: bool = True) -> Chamada:
    return Chamada(chip, "evolution", person, text, later(at), later(at + 0.1), left)


def left(text: str = "Oi", person: str = ANA, *, at: float = 0, delivered: bool = True) -> Saida:
    return Saida(CHIP, "evolution", person, text, "K", later(at), delivered)


def evidence(*rows: Linha, **values: Any) -> Evidencia:
    """One message that left and is `enviada`, unless told otherwise."""
    rows = rows or (row(),)
    known: dict[str, Any] = {
        "agora": later(7200),
        "linhas": rows,
        "esperadas": frozenset(each.id for each in rows),
        "saidas": (left(),),
        "chamadas": (call(),),
        "mudancas": (),
        "limites": LIMITES,
        "circuito_de": {CHIP: ("evolution", "chip:1")},
    }
    return Evidencia(**known | values)


def opened(at: float, name: str = "evolution") -> Mudanca:
    return Mudanca(name, "closed", "open", later(at), "muitas_falhas_5")


def half_open(at: float, name: str = "evolution") -> Mudanca:
    return Mudanca(name, "open", "half_open", later(at), "timeout_reset_300s")


def closed(at: float, name: str = "evolution") -> Mudanca:
    return Mudanca(name, "half_open", "closed", later(at), "recuperado")


def test_a_plain_send_breaks_nothing() -> None:
    assert not any(invariantes.judge(evidence()).values())


def test_the_same_text_delivered_twice_is_a_duplicate() -> None:
    e = evidence(saidas=(left(), left(at=5)))
    assert invariantes.sem_duplicata(e)
    assert sum(n - 1 for n in invariantes.duplicates(e).values()) == 1


def test_a_copy_that_whatsapp_turned_down_is_no_duplicate() -> None:
    assert not invariantes.sem_duplicata(evidence(saidas=(left(delivered=False), left(at=5))))


@pytest.mark.parametrize("status", ["pendente", "erro", "bloqueada", "cancelada", "processando"])
def test_what_left_must_be_enviada_or_incerta(status: str) -> None:
    assert invariantes.fio_e_fila_concordam(evidence(row(status=status, outcome="FAILED_PROVIDER")))


def test_a_message_that_aged_as_unknown_still_admits_that_it_may_have_left() -> None:
    assert not invariantes.fio_e_fila_concordam(evidence(row(status="erro", outcome="FAILED_UNKNOWN")))


def test_enviada_without_a_wire_record_is_a_lie_and_counts_as_lost() -> None:
    e = evidence(saidas=())
    assert invariantes.fio_e_fila_concordam(e)
    assert invariantes.lost(e) == 1


def test_a_record_of_nobodys_message_is_told() -> None:
    assert invariantes.fio_e_fila_concordam(evidence(saidas=(left(), left("outra"))))


@pytest.mark.parametrize(
    "lost",
    [
        row(status="processando", lease_ate=later(0)),
        row(status="processando", lease_ate=later(30 * 86_400)),
        row(status="incerta", tentativa_desconhecida=False),
        row(status="pendente", agendar_para=later(90 * 86_400)),
        row(status="pendente", campanha_id=1, campanha_status="concluida"),
        row(status="desaparecida"),
    ],
    ids=["lease over", "lease for ever", "incerta alone", "another year", "campaign over", "unknown status"],
)
def test_a_message_that_nothing_will_move_is_lost(lost: Linha) -> None:
    assert invariantes.nenhuma_perdida(evidence(lost))


def test_a_deleted_message_is_lost() -> None:
    gone = row()
    assert invariantes.nenhuma_perdida(replace(evidence(), esperadas=frozenset({gone.id})))


def test_an_open_message_that_everybody_can_see_is_not_lost() -> None:
    waiting = row(status="pendente", campanha_id=1, campanha_status="pausada", outcome=None, motivo=None)
    assert not invariantes.nenhuma_perdida(evidence(waiting, saidas=(), chamadas=()))


@pytest.mark.parametrize(
    "unexplained",
    [
        row(outcome=None),
        row(motivo=None),
        row(status="erro", outcome="FAILED_PROVIDER", na_dlq=False),
        row(status="bloqueada", outcome="BLOCKED_OPTED_OUT", contada=False),
    ],
    ids=["no outcome", "no reason", "not in the dlq", "no story"],
)
def test_every_end_is_explained(unexplained: Linha) -> None:
    assert invariantes.tudo_explicado(evidence(unexplained))


def test_calls_through_an_open_circuit_are_told_but_those_under_way_are_not() -> None:
    changes = (opened(100), half_open(400), closed(402))
    calls = (call(at=101), call("b", at=300), call("c", at=401))
    assert len(invariantes.through_open(evidence(mudancas=changes, chamadas=calls))) == 1


def test_a_half_open_circuit_lets_one_probe_pass() -> None:
    changes = (opened(100), half_open(400), closed(410))
    two = (call("b", at=401), call("c", at=402))
    assert len(invariantes.through_open(evidence(mudancas=changes, chamadas=two))) == 1


def test_a_probe_whose_holder_died_is_followed_by_another_when_its_permit_ran_out() -> None:
    changes = (opened(100), half_open(400), closed(530))
    assert not invariantes.through_open(evidence(mudancas=changes, chamadas=(call("b", at=401), call("c", at=522))))


def test_a_chip_circuit_concerns_its_chip_alone() -> None:
    other = call("b", at=200, chip="chip-02")
    e = evidence(mudancas=(opened(100, "chip:1"),), chamadas=(other,), circuito_de={CHIP: ("evolution", "chip:1")})
    assert not invariantes.through_open(e)


def test_refused_connections_are_judged_by_the_ledger() -> None:
    tried = (Tentada(CHIP, later(200), (), "rejeitado"), Tentada(CHIP, later(399), ("evolution",), "rejeitado"))
    e = evidence(mudancas=(opened(100), half_open(399.5)), chamadas=(), tentativas=tried)
    assert len(invariantes.through_open(e)) == 1


def test_an_hour_is_a_sliding_window() -> None:
    rows = [row(f"t{n}", f"55119000100{n:02d}") for n in range(4)]
    quick = tuple(call(each.texto, each.telefone, at=n * 60) for n, each in enumerate(rows))
    slow = tuple(call(each.texto, each.telefone, at=n * 1200) for n, each in enumerate(rows))
    assert invariantes.limites_respeitados(evidence(*rows, chamadas=quick))
    assert not invariantes.limites_respeitados(evidence(*rows, chamadas=slow))


def test_replies_have_no_limit() -> None:
    rows = [row(f"t{n}", f"55119000100{n:02d}", tipo="resposta") for n in range(9)]
    assert not invariantes.limites_respeitados(
        evidence(*rows, chamadas=tuple(call(each.texto, each.telefone) for each in rows))
    )


def test_a_person_gets_three_a_day() -> None:
    rows = [row(f"t{n}", peso=1) for n in range(4)]
    assert invariantes.limites_respeitados(evidence(*rows, chamadas=tuple(call(each.texto) for each in rows)))


def test_two_calls_at_once_on_one_chip_are_told() -> None:
    assert invariantes.limites_respeitados(evidence(max_por_chip={CHIP: 2}))


def test_after_an_opt_out_only_one_confirmation_may_come() -> None:
    rows = (row("a"), row("adeus", tipo="confirmacao_opt_out"))
    stored = {ANA: later(100)}
    grace, confirmation = call("a", at=101), call("adeus", at=130)
    assert not invariantes.opt_out_respeitado(evidence(*rows, opt_outs=stored, chamadas=(grace, confirmation)))
    assert invariantes.opt_out_respeitado(evidence(*rows, opt_outs=stored, chamadas=(call("a", at=103),)))
    twice = (confirmation, call("adeus", at=140))
    assert invariantes.opt_out_respeitado(evidence(*rows, opt_outs=stored, chamadas=twice))


def test_a_process_that_fell_by_itself_is_told() -> None:
    assert invariantes.processos_de_pe(evidence(quedas=("worker#1: …",)))
