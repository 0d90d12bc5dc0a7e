"""One drill of the longer selection, small enough for every run: a fleet that falls ill."""

import pytest

from tests.exercicio.exercicios import broken, drill

pytestmark = pytest.mark.slow


def test_what_it_promises_holds() -> None:
    code, report = drill("pool_colapsa", "--semente", "11")
    assert report["ok"], (broken(report), report["observacoes"])
    assert (code, report["duplicadas"], report["perdidas"]) == (0, 0, 0)
