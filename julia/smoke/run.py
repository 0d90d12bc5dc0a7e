"""One smoke: every canary sets out at once, each is waited for until the deadline, and nothing of them stays."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import redis
from django.db import DatabaseError, OperationalError

from core.database import execute, rows
from core.jobs.registry import Cluster
from core.logging import get_logger
from fila import policy
from guardrails.choices import Kind
from guardrails.policy import held_kinds, holding_switches
from julia.smoke import canario, clusters
from julia.smoke.report import Parte, Relatorio

POLL_S = 0.2
CLEAN_WITHIN_S = 5.0
_LOCK = 0x4A756C69_536D6F6B  # "JuliSmok": one smoke at a time, each removes what others have left

log = get_logger("julia.smoke")


class AnotherRuns(Exception):
    """Another smoke on this database did not end in time."""


def smoke(timeout_s: float) -> Relatorio:
    """Raises AnotherRuns, django.db.Error or redis.RedisError when it could not even begin."""
    deadline = time.monotonic() + timeout_s
    with _alone(deadline):
        _clean(deadline)
        offers: list[clusters.Offer] = []
        try:
            canary = canario.place()
            for cluster in Cluster:
                offers.append(clusters.offer(cluster))  # noqa: PERF401 (each is to be taken back, whatever comes next)
            looks = [partial(canario.look, canary), *(partial(clusters.look, offered) for offered in offers)]
            partes = _wait(looks, deadline)
        finally:
            clean = _clean(time.monotonic() + CLEAN_WITHIN_S, offers)
        return Relatorio(partes, tuple(held_by_switches()), clean)


def held_by_switches() -> Iterator[str]:
    """The canary reaches nobody, so no switch holds it; real messages may be held all the same."""
    switches = policy.read().policy.switches
    held = held_kinds(switches)
    if not held:
        return
    names = sorted({name for kind in held for name, _ in holding_switches(switches, kind, proactive=True)})
    what = "todos os envios" if held == set(Kind) else "parte dos envios"
    yield f"o canário passa, mas chaves seguram {what} de verdade: {', '.join(names)} (veja Ajustes)."


def _wait(looks: Sequence[Callable[[], Parte]], deadline: float) -> tuple[Parte, ...]:
    found = [look() for look in looks]
    while not all(parte.chegou for parte in found) and time.monotonic() < deadline:
        time.sleep(POLL_S)
        found = [parte if parte.chegou else look() for parte, look in zip(found, looks, strict=True)]
    return tuple(found)


def _clean(deadline: float, offers: list[clusters.Offer] | None = None) -> bool:
    """Whether everything is gone. Somebody may hold a row for a moment: the worker settles, an operator looks."""
    try:
        for offered in offers or ():
            clusters.remove(offered)
        clusters.remove_results()
    except (DatabaseError, redis.RedisError):
        log.warning("ofertas do canário não retiradas", exc_info=True)
        return False
    while True:
        try:
            canario.remove_all()
        except OperationalError:
            if time.monotonic() > deadline:
                log.warning("linhas do canário não apagadas", exc_info=True)
                return False
            time.sleep(POLL_S)
        else:
            return True


@contextmanager
def _alone(deadline: float) -> Iterator[None]:
    while not rows("SELECT pg_try_advisory_lock(%s) AS taken", [_LOCK])[0]["taken"]:
        if time.monotonic() > deadline:
            raise AnotherRuns
        time.sleep(POLL_S)
    try:
        yield
    finally:
        execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
