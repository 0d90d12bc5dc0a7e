from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

from chips.models import Chip
from chips.simulator.client import SimulatorProcess
from core.health import reading
from core.health.lanes import lanes
from tests import factories


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """A job that never ran is late some minutes after the first migration: no test's verdict depends on the session's
    age."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET applied = now() + interval '1 day'")


@pytest.fixture(autouse=True)
def _health_remembers_nothing() -> Iterator[None]:
    """Health pages have connections and answers of their own: neither outlives its test."""
    yield
    if lanes.count:
        reading.forget_all()


@pytest.fixture(scope="session")
def simulator_process() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as process:
        yield process


@pytest.fixture
def simulator(simulator_process: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorProcess]:
    """The provider simulator as a real process, empty, and the settings that make Julia call it."""
    simulator_process.reset()
    monkeypatch.setattr(settings, "EVOLUTION_API_URL", simulator_process.evolution_url)
    monkeypatch.setattr(settings, "ZAPI_BASE_URL", simulator_process.zapi_url)
    monkeypatch.setattr(settings, "EVOLUTION_API_KEY", simulator_process.apikey)
    monkeypatch.setattr(settings, "SIMULADOR_NONCE", simulator_process.nonce)
    yield simulator_process
    simulator_process.reset()


def connect(simulator: SimulatorProcess, *chips: Chip) -> None:
    """Register the chips as open instances of the simulator."""
    for chip in chips:
        simulator.register(chip.instance_name, phone=chip.telefone)


@pytest.fixture
def open_operation(db: None) -> None:
    factories.open_operation()
