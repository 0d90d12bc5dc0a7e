"""What exists from the first migration on: a setting per circuit, and the rows of the services we depend on."""

from typing import Any

from django.db import connection
from django.db.models.signals import post_migrate

from core.circuits import names
from core.circuits.config import CHIP_KEY, DEFAULTS, Config
from core.flags.registry import InvalidValue, Kind, Setting, register


def _declare(key: str, config: Config) -> None:
    def validate(value: object) -> dict[str, int]:
        try:
            return config.with_numbers(value).numbers
        except ValueError as refusal:
            raise InvalidValue(str(refusal)) from None

    whose = "de cada chip" if key == CHIP_KEY else names.spoken(key.removeprefix("circuito_"))
    register(
        Setting(
            key,
            Kind.OBJECT,
            config.numbers,
            f"Circuito {whose}: falhas seguidas que abrem, segundos até a primeira sonda e no máximo entre sondas.",
            validate,
        )
    )


for _key, _config in DEFAULTS.items():
    _declare(_key, _config)


def create_missing_rows(sender: Any, **_signal: Any) -> None:
    """A closed circuit for every service, so that the page shows them before their first failure."""
    from core.circuits import store  # settings are declared before models can be imported

    if sender.label == "core" and "circuits" in connection.introspection.table_names():
        store.ensure(names.KNOWN)


post_migrate.connect(create_missing_rows, dispatch_uid="core.circuits.create_missing_rows")
