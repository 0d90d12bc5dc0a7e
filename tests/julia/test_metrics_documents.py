"""The dashboard and the rules in docs/ speak of metrics that exist."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.conf import settings

from core.alerts.rules import registered
from core.metrics import gauges
from core.metrics.declared import METRICS
from core.metrics.exposition import SOURCE_UP

DOCS = settings.BASE_DIR / "docs"
# What is left of an expression when the words of PromQL are gone is metrics and labels.
WORDS = {
    "absent", "and", "by", "delta", "histogram_quantile", "increase", "job", "le", "max", "max_over_time", "min", "or",
    "rate", "sum", "up", "without",
}  # fmt: skip
SUFFIXES = ("_bucket", "_sum", "_count")


def known() -> set[str]:
    histograms = {name + suffix for name, each in METRICS.items() if each.buckets for suffix in SUFFIXES}
    counters = {name for name, each in METRICS.items() if not each.buckets}
    return {*counters, *histograms, *(name for source in gauges.sources() for name in source.gauges), SOURCE_UP}


def names_in(expression: str) -> set[str]:
    """The metrics of an expression: words outside of braces, brackets and label lists."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|without) \([^)]*\)", " ", expression)
    return set(re.findall(r"[a-z_][a-z0-9_]*", bare)) - WORDS


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DOCS / "grafana.json").read_text())
    return loaded


def rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((DOCS / "prometheus-regras.yml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def targets() -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target


def test_the_dashboard_shows_metrics_that_exist_through_its_variable():
    expressions = {title: target["expr"] for title, target in targets()}
    assert len(expressions) > 20
    unknown = {name for expression in expressions.values() for name in names_in(expression)} - known()
    assert not unknown
    assert {variable["type"] for variable in dashboard()["templating"]["list"]} == {"datasource", "query"}
    assert all(target["datasource"] == {"type": "prometheus", "uid": "${fonte}"} for _, target in targets())


def test_the_dashboard_is_one_that_grafana_loads():
    board = dashboard()
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time", "annotations"} <= set(board)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_rule_asks_for_metrics_that_exist_and_says_what_to_do(rule: dict[str, Any]):
    assert names_in(rule["expr"]) <= known(), names_in(rule["expr"]) - known()
    assert rule["expr"].count("(") == rule["expr"].count(")")
    assert rule["labels"]["severity"] in ("critical", "error", "warning")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")


def test_rules_are_named_after_the_alerts_of_julia_herself():
    ours = {rule.tipo for rule in registered()} | {"metricas_nao_lidas"}
    assert {rule["labels"]["tipo"] for rule in rules()} <= ours
    assert yaml.safe_load((DOCS / "prometheus.yml").read_text())["rule_files"] == ["prometheus-regras.yml"]
