"""Everything that may be done to a campaign, for the backoffice, the API and the command."""

from fila.campanhas.editing import Changes, create, delete, duplicate, edit, schedule, unschedule
from fila.campanhas.lifecycle import begin, cancel, pause, request_start, resume, start
from fila.campanhas.testing import test_send
from fila.campanhas.upkeep import conclude_finished

__all__ = [
    "Changes",
    "begin",
    "cancel",
    "conclude_finished",
    "create",
    "delete",
    "duplicate",
    "edit",
    "pause",
    "request_start",
    "resume",
    "schedule",
    "start",
    "test_send",
    "unschedule",
]
