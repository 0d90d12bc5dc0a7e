"""Sixteen real processes on one circuit: nothing passes while it is open, one probe at a time, no permit is lost."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection

from core.circuits import services
from core.circuits.services import Gate
from core.database import execute, rows
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

PROCESSES = 16


def environment() -> dict[str, str]:
    values = connection.settings_dict
    host = quote(str(values.get("HOST") or values["OPTIONS"].get("host", "")), safe="/")
    port = values.get("PORT") or values["OPTIONS"].get("port", "")
    url = f"postgresql://{values['USER']}:{values['PASSWORD']}@/{values['NAME']}?host={host}"
    return os.environ | {
        "DATABASE_URL": f"{url}&port={port}" if port else url,
        "APP_ENV": "test",
        "DJANGO_SETTINGS_MODULE": "julia.settings",
        "LOG_LEVEL": "CRITICAL",
    }


class Racers:
    """The forking process and its orders."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._answer()

    def __call__(self, do: str, *, processes: int = PROCESSES, permit_s: float = 120, **more: Any) -> int:
        """Run the order to its end; how many of the processes SIGKILL ended."""
        assert self._process.stdin
        order = {"do": do, "processes": processes, "permit_s": permit_s, "seed": 1} | more
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._answer()["killed"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the racers' parent died"
        answer: dict[str, Any] = json.loads(line)
        return answer


@pytest.fixture
def racers(transactional_db: None) -> Iterator[Racers]:
    execute(
        """CREATE TABLE ensaio_chamadas (id bigserial PRIMARY KEY, processo int, sonda bigint, iniciada timestamptz,
           terminada timestamptz, permissao_ate timestamptz)"""
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.core.circuit_racers"],
        cwd=settings.BASE_DIR,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Racers(process)
    finally:
        assert process.stdin
        assert process.stdout
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
        execute("DROP TABLE ensaio_chamadas")


def make_due() -> None:
    """An open circuit whose next probe is due."""
    execute(
        """INSERT INTO circuits (name, state, failures, opened_at, last_failure_at, retry_at)
           VALUES ('evolution', 'open', 5, agora(), agora() - interval '300 s', agora())
           ON CONFLICT (name) DO UPDATE SET state = excluded.state, failures = excluded.failures,
               opened_at = excluded.opened_at, last_failure_at = excluded.last_failure_at,
               retry_at = excluded.retry_at"""
    )


def probes() -> list[dict[str, Any]]:
    return rows(
        """SELECT processo, sonda, iniciada, least(coalesce(terminada, permissao_ate), permissao_ate) AS acabou
           FROM ensaio_chamadas WHERE sonda IS NOT NULL ORDER BY iniciada"""
    )


@pytest.mark.slow
def test_sixteen_processes_never_call_while_open_and_never_probe_twice_at_a_time(racers: Racers) -> None:
    factories.set_setting("circuito_evolution", {"falhas": 5, "inicial_s": 1, "max_s": 1})
    killed = racers("race", calls=310, permit_s=1.5)
    outages = rows(
        """SELECT created_at AS began, (SELECT min(created_at) FROM circuit_transitions e
               WHERE e.circuit_name = 'evolution' AND e.to_state = 'closed' AND e.created_at > b.created_at) AS ended
           FROM circuit_transitions b WHERE circuit_name = 'evolution' AND from_state = 'closed'"""
    )
    assert len(outages) >= 2
    assert killed >= 1
    assert len(probes()) >= 3
    through_open = rows(
        """SELECT c.* FROM ensaio_chamadas c JOIN unnest(%s::timestamptz[], %s::timestamptz[]) AS o(began, ended)
               ON c.iniciada >= o.began AND c.iniciada < coalesce(o.ended, 'infinity') WHERE c.sonda IS NULL""",
        [[each["began"] for each in outages], [each["ended"] for each in outages]],
    )
    assert through_open == []
    history = rows("SELECT from_state, to_state FROM circuit_transitions ORDER BY created_at")
    assert all(later["from_state"] == earlier["to_state"] for earlier, later in pairwise(history))
    assert [later for earlier, later in pairwise(probes()) if later["iniciada"] < earlier["acabou"]] == []


def test_of_sixteen_processes_one_wins_the_permit(racers: Racers) -> None:
    make_due()
    racers("once")
    assert len(probes()) == 1
    assert services.snapshot().gate("evolution") is Gate.CLOSED


@pytest.mark.parametrize("dies", ["before_commit", "after_commit"])
def test_a_permit_whose_holder_was_killed_goes_to_exactly_one_other(racers: Racers, dies: str) -> None:
    make_due()
    assert racers("once", processes=1, dies=dies) == 1
    racers("once")
    if dies == "after_commit":
        assert len(probes()) == 1
        execute("UPDATE circuits SET permit_until = agora()")  # its 120 s are over
        racers("once")
    assert len(probes()) == (2 if dies == "after_commit" else 1)
    assert len({probe["sonda"] for probe in probes()}) == len(probes())
