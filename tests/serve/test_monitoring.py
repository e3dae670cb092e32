"""Dashboard and alert rules name only what the collector tells."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from collector.serve.metrics import exposition
from tests.test_live_state import state

INFRA = Path(__file__).parents[2] / "infra"
RULES = INFRA / "prometheus" / "alerts.yml"
FIRING = Path(__file__).with_name("alerts.yml")
DASHBOARDS = sorted((INFRA / "grafana").glob("*.json"))
_NAME = re.compile(r"\bcollector_[a-z_]+")


def told() -> set[str]:
    """Every metric of the exposition, by the names that Prometheus keeps it under."""
    names = set()
    for _, name, kind in re.findall(r"^# (TYPE) (\S+) (\S+)$", exposition(state(10**18))[0].decode(), re.MULTILINE):
        names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name}
    return names


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_alerts_name_metrics_that_exist() -> None:
    known = told()
    assert len(rules()) > 10
    for rule in rules():
        unknown = set(_NAME.findall(rule["expr"])) - known
        assert not unknown, rule["alert"]
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_the_dashboard_shows_metrics_that_exist_and_all_of_them() -> None:
    assert DASHBOARDS
    used = {
        name for path in DASHBOARDS for text in strings(json.loads(path.read_text())) for name in _NAME.findall(text)
    }
    assert used <= told()
    stages = {"collector_up", "collector_start_timestamp_seconds"}
    missing = {name for name in told() if not name.endswith(("_sum", "_count"))} - used - stages
    assert not missing


def test_every_alert_is_one_that_an_operator_can_look_up() -> None:
    text = (INFRA.parent / "OPERATIONS.md").read_text()
    assert [rule["alert"] for rule in rules() if rule["alert"] not in text] == []


def test_every_alert_is_shown_to_fire() -> None:
    cases = [case for test in yaml.safe_load(FIRING.read_text())["tests"] for case in test.get("alert_rule_test", [])]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == {rule["alert"] for rule in rules()}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: apt-get install prometheus")
@pytest.mark.parametrize(
    "command",
    [("check", "rules", "--lint-fatal", str(RULES)), ("test", "rules", str(FIRING))],
    ids=["every expression is PromQL", "alerts fire when they should, and only then"],
)
def test_promtool(command: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_s_expressions_are_promql(tmp_path: Path) -> None:
    """As rules that record what each panel shows, which promtool can parse."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool: apt-get install prometheus")
    targets = [
        target["expr"]
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
        for target in panel.get("targets", [])
    ]
    assert len(targets) > 20
    recorded = [{"record": f"panel:{at}", "expr": expression} for at, expression in enumerate(targets)]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
