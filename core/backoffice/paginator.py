"""Pages of a list that may have a million rows: nobody turns two hundred pages, so nobody counts further."""

from typing import Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

COUNT_CAP = 10_000


class CappedPaginator(Paginator[Any]):
    """Counts at most COUNT_CAP rows; whoever needs a row behind them filters."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[:COUNT_CAP].count())

    @property
    def is_capped(self) -> bool:
        return self.count >= COUNT_CAP
