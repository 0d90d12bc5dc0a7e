"""Two drills of the longer selection, small enough for every run: a fleet that falls ill, answers that lie."""

import pytest

from tests.exercicio.exercicios import broken, drill

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("words", [["pool_colapsa"], ["quatrocentos_mas_enviou", "--mensagens", "60"]])
def test_what_it_promises_holds(words: list[str]) -> None:
    code, report = drill(*words, "--semente", "11")
    assert report["ok"], (broken(report), report["observacoes"])
    assert (code, report["duplicadas"], report["perdidas"]) == (0, 0, 0)
