"""The last 24 hours of every job as a strip of half hours: what ran in each, and the worst of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.database import rows

CELL = timedelta(minutes=30)
CELLS = 48


@dataclass(frozen=True, slots=True)
class Cell:
    """One half hour from `at` on. Runs in progress count as runs; rehearsals do not."""

    at: datetime
    runs: int = 0
    failures: int = 0
    skipped: int = 0


def last_24_hours(now: datetime) -> Mapping[str, list[Cell]]:
    """By job name, oldest first, 48 cells that end with the current half hour; jobs without a run are absent."""
    seconds = int(CELL.total_seconds())
    end = datetime.fromtimestamp((int(now.timestamp()) // seconds + 1) * seconds, tz=now.tzinfo)
    start = end - CELLS * CELL
    # job_executions_newest_first
    found = rows(
        """SELECT job_name, floor(extract(epoch FROM started_at - %(start)s) / %(seconds)s)::int AS cell,
               count(*) FILTER (WHERE status <> 'skipped') AS runs,
               count(*) FILTER (WHERE status IN ('error', 'timeout')) AS failures,
               count(*) FILTER (WHERE status = 'skipped') AS skipped
           FROM job_executions WHERE started_at >= %(start)s AND started_at < %(end)s AND origem <> 'ensaio'
           GROUP BY job_name, cell""",
        {"start": start, "end": end, "seconds": seconds},
    )
    strips = {row["job_name"]: [Cell(start + number * CELL) for number in range(CELLS)] for row in found}
    for row in found:
        at = start + row["cell"] * CELL
        strips[row["job_name"]][row["cell"]] = Cell(at, row["runs"], row["failures"], row["skipped"])
    return strips
