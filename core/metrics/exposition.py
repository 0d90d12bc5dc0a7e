"""`GET /metrics` in Prometheus's text format 0.0.4: what the table of counters holds, and the gauges of this moment.

Nothing of it is this process's own, so that every process answers the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.utils import floatToGoString

from core.metrics import store
from core.metrics.declared import METRICS, Declared, Values
from core.metrics.gauges import Reading, read_all
from core.metrics.store import Key, Sums

__all__ = ["CONTENT_TYPE", "SOURCE_UP", "exposition"]

SOURCE_UP = "metrics_source_up"
_NOTHING = Sums()


def exposition(now: datetime) -> str:
    """The whole page. Raises django.db.Error when the counters cannot be read; a gauge that cannot is left out, and
    `metrics_source_up` of its source is 0.
    """
    families = [*_counted(store.read()), *_measured(read_all(now))]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families))
    return generate_latest(registry).decode()


class _Families:
    """prometheus-client's form of a collector."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _counted(sums: Mapping[Key, Sums]) -> Iterator[Metric]:
    of_metric: dict[str, dict[Values, Sums]] = {name: {} for name in METRICS}
    for (name, values), each in sums.items():
        of_metric[name][values] = each
    for declared in METRICS.values():
        yield _family(declared, {**dict.fromkeys(declared.at_zero(), _NOTHING), **of_metric[declared.name]})


def _family(declared: Declared, series: Mapping[Values, Sums]) -> Metric:
    if not declared.buckets:
        counter = CounterMetricFamily(declared.name, declared.help, labels=declared.labels)
        for values in sorted(series):
            counter.add_metric(values, series[values].value)
        return counter
    histogram = HistogramMetricFamily(declared.name, declared.help, labels=declared.labels)
    bounds = [*map(floatToGoString, declared.buckets), "+Inf"]
    for values in sorted(series):
        counts = (series[values].counts or [0] * len(bounds))[: len(bounds)]
        histogram.add_metric(values, list(zip(bounds, accumulate(counts), strict=True)), series[values].value)
    return histogram


def _measured(readings: list[Reading]) -> Iterator[Metric]:
    up = GaugeMetricFamily(SOURCE_UP, "1: estes números puderam ser lidos; 0: não, e estão ausentes.", labels=["fonte"])
    for reading in readings:
        up.add_metric([reading.source.name], float(reading.ok))
        for name, samples in reading.samples.items():
            family = Metric(name, reading.source.gauges[name], "gauge")
            for sample in samples:
                family.add_sample(name, dict(sample.labels), float(sample.value))
            yield family
    yield up
