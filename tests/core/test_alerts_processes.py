"""Four real evaluators at a time, killed and started again more than fifty times: everything is said, and once."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings

from core.database import execute, rows
from tests.core.test_circuits_processes import environment

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

SCOPES = 12


@pytest.fixture
def race(transactional_db: None) -> Iterator[Callable[..., int]]:
    execute("CREATE TABLE ensaio_fatos (tipo text, chave text)")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.core.alert_racers"],
        cwd=settings.BASE_DIR,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout

    def order(**what: int) -> int:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(what) + "\n")
        process.stdin.flush()
        return int(json.loads(process.stdout.readline())["kills"])

    try:
        yield order
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
        execute("DROP TABLE ensaio_fatos")
        execute("TRUNCATE alertas, alerta_estados, alerta_entregas CASCADE")


def test_fifty_killed_evaluators_leave_no_duplicate_and_nothing_untold(race: Callable[..., int]) -> None:
    execute(
        """INSERT INTO ensaio_fatos SELECT 'ensaio_' || t, 'chave:' || n
           FROM unnest(ARRAY['a', 'b', 'c']) t, generate_series(1, %s) n""",
        [SCOPES],
    )
    kills = race(processes=4, kills=25, seed=1)
    execute("DELETE FROM ensaio_fatos")
    kills += race(processes=4, kills=25, seed=2)
    assert kills >= 50
    told = Counter(
        (row["tipo"], row["chave"], row["especie"])
        for row in rows("SELECT a.tipo, a.chave, v.especie FROM alerta_avisos v JOIN alertas a ON a.id = v.alerta_id")
    )
    assert set(told.values()) == {1}
    assert Counter(especie for _, _, especie in told) == {"aberto": 3 * SCOPES, "resolvido": 3 * SCOPES}
    assert rows("SELECT count(*) AS n FROM alertas WHERE resolvido_em IS NULL")[0]["n"] == 0
