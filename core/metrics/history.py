"""What the gauges were: `GET /metrics/history`, and the series that charts draw."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from core.database import rows

DEFAULT_HOURS, MOST_HOURS = 24, 168
DEFAULT_LIMIT, MOST_POINTS = 1000, 10_000
MOST_NAME = 100
CHART_POINTS = 288  # a day of snapshots: what a chart of a page can show

# idx_metrics_name_time with a name; without one a week of snapshots is read (about 40,000 narrow rows)
_HISTORY = """
SELECT metric_name, value, coalesce(labels, '{{}}') AS labels, created_at FROM metrics_snapshots
WHERE created_at > %(since)s AND created_at <= %(now)s {of_name} ORDER BY created_at DESC, metric_name LIMIT %(limit)s
"""
# idx_metrics_name_time, one range per name
_SERIES = """
SELECT metric_name, date_bin(make_interval(secs => %(slice)s), created_at, timestamptz '2000-01-01 00:00:00+00') AS at,
    max(value) AS value
FROM metrics_snapshots
WHERE metric_name = ANY(%(names)s) AND created_at > agora() - make_interval(hours => %(hours)s)
GROUP BY 1, 2 ORDER BY 1, 2
"""


class InvalidQuery(ValueError):
    """A parameter that cannot be answered; the text is for whoever asked (400)."""


def history(
    now: datetime, metric_name: str = "", horas: int | str = DEFAULT_HOURS, limit: int | str = DEFAULT_LIMIT
) -> dict[str, Any]:
    """The body of `GET /metrics/history`: newest first, at most `limit` points of the last `horas` hours.

    `metric_name` empty: every metric. Parameters come as the request has them. Raises InvalidQuery.
    """
    hours = _whole("horas", horas, MOST_HOURS)
    most = _whole("limit", limit, MOST_POINTS)
    if len(metric_name) > MOST_NAME or "\x00" in metric_name:
        raise InvalidQuery(f"metric_name não é o nome de uma métrica. Use até {MOST_NAME} caracteres.")
    sql = _HISTORY.format(of_name="AND metric_name = %(name)s" if metric_name else "")
    found = rows(sql, {"since": now - timedelta(hours=hours), "now": now, "name": metric_name, "limit": most})
    points = [
        {
            "metric_name": row["metric_name"],
            "value": float(row["value"]),
            "labels": row["labels"],
            "created_at": row["created_at"].isoformat(),
        }
        for row in found
    ]
    return {
        "metric_name": metric_name or None,
        "period_hours": hours,
        "total": len(points),
        "points": points,
        "timestamp": now.isoformat(),
    }


def series(names: Collection[str], hours: int) -> dict[str, list[tuple[datetime, float]]]:
    """Each metric over the last `hours`, oldest first, in one statement; an empty list for what has no snapshot.

    At most about `CHART_POINTS` points: each is the highest value of its slice (over all labels), so that drawing a
    week never hides a peak.
    """
    found = rows(_SERIES, {"names": list(names), "hours": hours, "slice": max(300, hours * 3600 // CHART_POINTS)})
    drawn: dict[str, list[tuple[datetime, float]]] = {name: [] for name in names}
    for row in found:
        drawn[row["metric_name"]].append((row["at"], float(row["value"])))
    return drawn


def _whole(name: str, written: int | str, most: int) -> int:
    try:
        number = int(written)
    except ValueError:
        number = 0
    if not 1 <= number <= most:
        raise InvalidQuery(f"{name} precisa ser um número inteiro de 1 a {most}.")
    return number
