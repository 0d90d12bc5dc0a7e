"""`manage.py exercicio`: a short seeded selection, what its report says, and what it refuses."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import psycopg
import pytest

from julia.embedded.places import PROJECT
from julia.exercicio.banco import PREFIX, TEMPLATE, url_of
from julia.exercicio.cenario import all_scenarios
from tests.exercicio.exercicios import broken, drill, run

KEYS = [
    "cenario", "semente", "mensagens", "enviadas", "duplicadas", "perdidas", "incertas", "bloqueadas", "mortes",
    "chamadas_totais", "chamadas_ao_chip_restrito", "chamadas_com_circuito_aberto", "limites", "limites_violados",
    "deteccao_s", "recuperacao_s", "invariantes", "ok",
]  # fmt: skip
#: Decisions §11, and the incident without any other chip.
NAMES = {
    "incidente", "incidente_400_ambiguo", "incidente_201_error", "incidente_sem_reserva", "worker_morto",
    "cluster_travado", "banco_reinicia", "provedor_fora", "provedor_lento", "buraco_negro", "respostas_malformadas",
    "quatrocentos_mas_enviou", "zapi_reconecta", "webhooks_baguncados", "pool_colapsa", "manada",
    "opt_out_na_corrida", "dois_schedulers", "relogio_salta",
}  # fmt: skip


_NAMES = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"


def databases() -> list[str]:
    with psycopg.connect(url_of(os.environ["DATABASE_URL"], "postgres"), autocommit=True) as connection:
        found = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [PREFIX]
        ).fetchall()
    return [row[0] for row in found if not row[0].startswith(TEMPLATE)]


def test_every_scenario_exists() -> None:
    known = all_scenarios()
    assert known.keys() >= NAMES
    assert not [name for name in NAMES if known[name].extra]


@pytest.mark.slow
@pytest.mark.parametrize("words", [["ensaio"], ["ensaio_circuito"], ["ensaio_restrito"], ["incidente_sem_reserva"]])
def test_a_short_drill_holds(words: list[str]) -> None:
    code, report = drill(*words, "--semente", "7")
    assert report["ok"], (broken(report), report["observacoes"])
    assert code == 0
    assert list(report)[: len(KEYS)] == KEYS
    assert (report["cenario"], report["semente"]) == (words[0], 7)
    assert (report["duplicadas"], report["perdidas"], report["chamadas_com_circuito_aberto"]) == (0, 0, 0)


@pytest.mark.slow
def test_a_drill_below_its_size_fails() -> None:
    code, report = drill("ensaio", "--mensagens", "3")
    assert (code, report["ok"], broken(report)) == (1, False, {"tamanho_minimo"})
    assert report["tamanhos"]["mensagens"] == 3
    assert report["tamanhos"]["minimo_mensagens"] == 20


def _hears_interrupts() -> None:
    """A shell's background jobs inherit SIGINT ignored, and so would the drill."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_a_drill_that_is_interrupted_leaves_nothing_behind() -> None:
    before = set(databases())
    process = subprocess.Popen(
        [sys.executable, "manage.py", "exercicio", "ensaio_circuito"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_hears_interrupts,  # noqa: PLW1509 (one signal's default, no locks)
    )
    _until(lambda: set(databases()) - before)
    ours = set(databases()) - before
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert not ours & set(databases())


def _until(reached: Any) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_production_is_refused() -> None:
    done = run("ensaio", APP_ENV="production")
    assert done.returncode != 0


def test_an_unknown_scenario_names_those_there_are() -> None:
    done = run("naufragio")
    assert done.returncode == 1
    assert "incidente" in done.stderr
