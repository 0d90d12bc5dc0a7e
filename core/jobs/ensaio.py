"""A rehearsal: the job itself runs, and what it wrote is taken back. Its counts are what it would have done."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction

DRY_RUN = "dry_run"
LIMIT = timedelta(seconds=20)  # its locks stand until it ends; what it did not reach by then is not in its counts


def rehearse(call: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Only for jobs that do nothing outside the database."""
    with transaction.atomic():
        result = dict(call())
        transaction.set_rollback(True)
    return {**result, DRY_RUN: True}
