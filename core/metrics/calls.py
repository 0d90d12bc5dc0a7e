"""Counting calls to the outside, wherever they are made: one counter by result, one histogram."""

import time
from types import TracebackType

from core.metrics import counters
from core.metrics.declared import ERROR, SUCCESS


class CountedCall:
    """Around one call, from before its first byte to its whole answer: `with CountedCall("slack", "post") as call:`.

    It counts as an error when the block raises, or when it sets `call.ok = False`: the service did not do its part. A
    recipient who does not exist is no error of the service. About three microseconds.
    """

    __slots__ = ("_labels", "_started", "ok")

    def __init__(self, integration: str, operation: str) -> None:
        self._labels = {"integration": integration, "operation": operation}
        self.ok = True

    def __enter__(self) -> "CountedCall":
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._started
        status = SUCCESS if self.ok and kind is None else ERROR
        counters.inc("integration_requests_total", {**self._labels, "status": status})
        counters.observe("integration_request_duration_seconds", self._labels, seconds)
