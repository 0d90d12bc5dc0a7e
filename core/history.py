"""Row history by database trigger: what people decide is tracked, raw SQL included, never counters."""

from collections.abc import Callable
from typing import Any

import pghistory
from django.db import models
from django.db.models import CharField, Func
from pghistory.models import Event


class _SessionUser(Func):
    template = "session_user"
    output_field = CharField()

    def __init__(self) -> None:
        super().__init__()


class _ApplicationName(Func):
    template = "current_setting('application_name')"
    output_field = CharField()

    def __init__(self) -> None:
        super().__init__()


class DecisionEvent(Event):
    """An event that also says which database login and which program wrote it: a raw connection has no context."""

    db_user = models.CharField(max_length=64, db_default=_SessionUser())
    db_application = models.CharField(max_length=64, db_default=_ApplicationName())

    class Meta:
        abstract = True


def track_decisions(*fields: str, key: str = "id", created: bool = True) -> Callable[[type[models.Model]], Any]:
    """Class decorator: a row in `<table>_history` for each delete and each update that changes one of `fields`.

    `created=False` leaves inserts out, for rows that a trigger makes by the million. `key` is the primary key's name.
    """

    def decorate(model: type[models.Model]) -> Any:
        trackers: list[Any] = [pghistory.UpdateEvent(condition=pghistory.AnyChange(*fields)), pghistory.DeleteEvent()]
        if created:
            trackers.append(pghistory.InsertEvent())
        return pghistory.track(
            *trackers,
            fields=[key, *fields],
            model_name=f"{model.__name__}History",
            base_model=DecisionEvent,
            obj_field=pghistory.ObjForeignKey(related_name="historico"),
            meta={"db_table": f"{model._meta.db_table}_history"},
        )(model)

    return decorate
