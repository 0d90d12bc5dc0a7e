"""One alert, look by look: what opens, what resolves, and what is worth saying."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.alerts.models import Especie, Severidade
from core.alerts.rules import Rule
from core.alerts.transitions import GRAVITY, Memory, Move, Said, is_worse, step, word

T0 = datetime(2026, 3, 3, 10, 0, tzinfo=UTC)
MIN = timedelta(minutes=1)
RULE = Rule(tipo="x", segura=2 * MIN, solta=MIN, descanso=60 * MIN, escala_apos=15 * MIN)
WARNING, CRITICAL = Severidade.WARNING, Severidade.CRITICAL
ANNOUNCED = Said(severidade=WARNING, anunciado_em=T0, dito_em=T0, avisado_em=T0, avisada=WARNING)


def life(looks: str, rule: Rule = RULE, every: timedelta = MIN) -> str:
    """`looks`: `#` present, `.` gone, one per `every`. Moves: `o` opened, `s` seen again, `r` resolved, `-` nothing."""
    signs = {Move.OPEN: "o", Move.SEEN: "s", Move.RESOLVE: "r", Move.NONE: "-"}
    memory, told = Memory(), ""
    for number, look in enumerate(looks):
        memory, move = step(memory, present=look == "#", rule=rule, now=T0 + number * every)
        if move is Move.RESOLVE:
            memory = replace(memory, is_open=False)
        told += signs[move]
    return told


@pytest.mark.parametrize(
    ("looks", "moves"),
    [
        ("....", "----"),
        ("#.", "--"),
        ("##.", "---"),
        ("###", "--o"),
        ("####", "--os"),
        ("##.##", "-----"),  # pending begins anew
        ("###..", "--o-r"),
        ("###.#..", "--o-s-r"),  # clearing begins anew
        ("###..#", "--o-r-"),
        ("###..###", "--o-r--o"),
    ],
)
def test_a_condition_opens_when_it_held_and_resolves_when_it_was_gone(looks: str, moves: str) -> None:
    assert life(looks) == moves


def test_without_thresholds_one_look_opens_and_one_resolves() -> None:
    assert life("#.#", replace(RULE, segura=timedelta(0), solta=timedelta(0))) == "oro"


def test_two_looks_far_apart_prove_nothing_about_the_time_between_them() -> None:
    assert life("##", every=10 * MIN) == "--"
    assert life("##", replace(RULE, segura=30 * MIN), every=31 * MIN) == "-o"


@pytest.mark.parametrize(
    ("said", "minutes", "expected"),
    [
        (Said(severidade=WARNING), 0, Especie.ABERTO),
        (Said(severidade=WARNING, silenciado=True), 0, None),
        (Said(severidade=WARNING, inibido=True), 0, None),
        (Said(severidade=WARNING, reconhecido=True), 0, None),
        # an earlier alert of the same key was told of a moment ago
        (Said(severidade=WARNING, avisado_em=T0, avisada=WARNING), 59, None),
        (Said(severidade=WARNING, avisado_em=T0, avisada=WARNING), 60, Especie.ABERTO),
        (Said(severidade=CRITICAL, avisado_em=T0, avisada=WARNING), 5, Especie.ABERTO),
        (ANNOUNCED, 1, None),
        (ANNOUNCED, 14, None),
        (ANNOUNCED, 15, Especie.ESCALADO),
        (replace(ANNOUNCED, reconhecido=True), 15, None),
        (replace(ANNOUNCED, silenciado=True), 15, None),
        (replace(ANNOUNCED, inibido=True), 15, None),
        (replace(ANNOUNCED, esperando=True), 15, None),  # nobody can take what has not arrived
        (replace(ANNOUNCED, dito_em=T0 + 10 * MIN), 16, None),
        (replace(ANNOUNCED, escalado_em=T0 + 15 * MIN, avisado_em=T0 + 15 * MIN), 60, None),
        (replace(ANNOUNCED, escalado_em=T0 + 15 * MIN, avisado_em=T0 + 15 * MIN), 75, Especie.LEMBRETE),
        (replace(ANNOUNCED, escalado_em=T0, reconhecido=True), 600, None),
        (replace(ANNOUNCED, escalado_em=T0, esperando=True), 600, None),
        (replace(ANNOUNCED, severidade=CRITICAL), 1, Especie.ESCALADO),
        (replace(ANNOUNCED, severidade=CRITICAL, reconhecido=True), 1, Especie.ESCALADO),
        (replace(ANNOUNCED, severidade=Severidade.INFO), 1, None),
    ],
)
def test_what_is_said(said: Said, minutes: int, expected: Especie | None) -> None:
    assert word(said, RULE, T0 + minutes * MIN) == expected


def test_a_rule_that_does_not_notify_says_nothing() -> None:
    assert word(Said(severidade=CRITICAL), replace(RULE, notifica=False), T0) is None


looks_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "present": st.booleans(),
            "seconds": st.integers(1, 1800),
            "severity": st.sampled_from([WARNING, CRITICAL]),
            "silenced": st.sampled_from([False, False, False, True]),
            "inhibited": st.sampled_from([False, False, False, True]),
            "taken": st.sampled_from([False, False, False, False, True]),
        }
    ),
    max_size=120,
)
rules_strategy = st.builds(
    Rule,
    tipo=st.just("x"),
    segura=st.sampled_from([timedelta(0), MIN, 10 * MIN]),
    solta=st.sampled_from([timedelta(0), MIN, 5 * MIN]),
    descanso=st.sampled_from([15 * MIN, 60 * MIN]),
    escala_apos=st.sampled_from([None, 15 * MIN]),
)


@given(rules_strategy, looks_strategy)
def test_no_history_of_looks_breaks_the_promises(rule: Rule, looks: list[dict[str, object]]) -> None:
    """The loop of the evaluator over one key; the promises are asserted on the trace of what was said."""
    memory, said, now = Memory(), Said(severidade=WARNING), T0
    spoken: list[tuple[datetime, Especie, Severidade]] = []
    escalated_in_turn = 0
    for look in looks:
        now += timedelta(seconds=int(str(look["seconds"])))
        present = bool(look["present"])
        memory, move = step(memory, present=present, rule=rule, now=now)
        assert not (move is Move.RESOLVE and present)
        assert not (move in (Move.OPEN, Move.SEEN) and not present)
        if move is Move.RESOLVE:
            memory = replace(memory, is_open=False)
            said = Said(severidade=WARNING, avisado_em=said.avisado_em, avisada=said.avisada)
            escalated_in_turn = 0
        if not memory.is_open:
            continue
        said = replace(
            said,
            severidade=Severidade(str(look["severity"])) if present else said.severidade,
            silenciado=bool(look["silenced"]),
            inibido=bool(look["inhibited"]),
            reconhecido=said.reconhecido or bool(look["taken"]),
        )
        especie = word(said, rule, now)
        if especie is None:
            continue
        assert not said.silenciado
        assert not said.inibido
        is_timed = especie is Especie.ESCALADO and not is_worse(said)
        assert not (said.reconhecido and (is_timed or especie in (Especie.ABERTO, Especie.LEMBRETE)))
        escalated_in_turn += is_timed
        assert escalated_in_turn <= 1
        spoken.append((now, especie, said.severidade))
        said = replace(
            said,
            anunciado_em=said.anunciado_em or now,
            dito_em=said.dito_em or now,
            avisado_em=now,
            avisada=said.severidade,
            escalado_em=now if is_timed else said.escalado_em,
        )
    for (before, _, mild), (after, especie, grave) in pairwise(spoken):
        if especie is not Especie.ESCALADO and GRAVITY[grave] <= GRAVITY[mild]:
            assert after - before >= rule.descanso
