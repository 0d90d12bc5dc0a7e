"""Small charts of the last 24 hours, drawn on the server. Pure: a gap in the measuring is a gap in the line."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.backoffice import moments, ui

WIDTH, HEIGHT, MARGIN = 480, 72, 3
GAP = timedelta(minutes=15)  # three snapshots missed: nothing is drawn across that
OLD = timedelta(minutes=15)

Point = tuple[datetime, float]


@dataclass(frozen=True, slots=True)
class Chart:
    """`lines` and `areas` are SVG paths within WIDTH × HEIGHT. `note` says what the reader must not take for zero."""

    title: str
    newest: str
    highest: str
    lines: tuple[str, ...]
    areas: tuple[str, ...]
    note: str
    tone: str = ""

    @property
    def description(self) -> str:
        return f"{self.title}: {self.newest}; o mais alto das últimas 24 horas foi {self.highest}. {self.note}".strip()


def draw(title: str, points: Sequence[Point], now: datetime, *, minutes: bool = False, tone: str = "") -> Chart:
    """One metric over 24 hours; `minutes`: its values are minutes."""
    since = now - timedelta(hours=24)
    shown = [(at, value) for at, value in points if at >= since]
    if not shown:
        return Chart(title, "—", "—", (), (), "Sem medição nas últimas 24 horas.", tone)
    top = max(value for _, value in shown) or 1.0
    runs = [[_place(point, since, now, top) for point in run] for run in _runs(shown)]
    at, last = shown[-1]
    stale = now - at > OLD
    return Chart(
        title=title,
        newest="—" if stale else _spoken(last, minutes=minutes),
        highest=_spoken(max(value for _, value in shown), minutes=minutes),
        lines=tuple(_line(run) for run in runs),
        areas=tuple(_area(run) for run in runs),
        note=f"Última medição {moments.relative(at, now)}: depois disso não se sabe." if stale else "",
        tone=tone,
    )


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Stretches without a gap."""
    runs: list[list[Point]] = []
    for point in points:
        if runs and point[0] - runs[-1][-1][0] <= GAP:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _place(point: Point, since: datetime, now: datetime, top: float) -> tuple[float, float]:
    x = (point[0] - since) / (now - since) * WIDTH
    y = HEIGHT - MARGIN - max(0.0, point[1]) / top * (HEIGHT - 2 * MARGIN)
    return round(min(max(x, 0.0), WIDTH), 1), round(y, 1)


def _line(run: Sequence[tuple[float, float]]) -> str:
    first, *rest = run
    if not rest:  # a lone point is drawn as a short dash: a path of one point shows nothing
        return f"M{first[0] - 1} {first[1]}L{first[0] + 1} {first[1]}"
    return f"M{first[0]} {first[1]}" + "".join(f"L{x} {y}" for x, y in rest)


def _area(run: Sequence[tuple[float, float]]) -> str:
    return f"{_line(run)}L{run[-1][0]} {HEIGHT}L{run[0][0]} {HEIGHT}Z"


def _spoken(value: float, *, minutes: bool) -> str:
    return moments.span(value * 60) if minutes else ui.number(round(value))
