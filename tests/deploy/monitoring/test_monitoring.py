"""The alarms and the dashboard ask for metrics that exist, and the alarms are raised when they should be."""

import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "deploy" / "prometheus" / "note-whisperer.yaml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "note-whisperer.json").read_text())
OPERATING = (ROOT / "docs" / "operating.md").read_text()

NAME = (
    r"note_whisperer_[a-z_]+"  # of the server's metrics; recorded figures have a colon after note_whisperer
)
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alarms():
    return [rule["alert"] for rule in rules() if "alert" in rule]


def expressions_of_the_dashboard():
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.fixture
def exposition(server_url):
    """What a running server process says to Prometheus, after a put and a reveal."""
    request = urllib.request.Request(f"{server_url}/post", b"message=hello", {"Accept": "text/plain"})
    link = urllib.request.urlopen(request).read().decode().strip()
    urllib.request.urlopen(urllib.request.Request(link, headers={"Accept": "text/plain"})).close()
    return urllib.request.urlopen(f"{server_url}/metrics").read().decode()


def promtool(*arguments, stdin=""):
    done = subprocess.run(["promtool", *map(str, arguments)], input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_promtool
def test_rules_and_example_are_valid():
    """Prometheus itself reads the example of its configuration, and the rules that it names."""
    promtool("check", "config", "--lint=all", "--lint-fatal", RULES.with_name("prometheus.yaml"))


@needs_promtool
def test_alarms_are_raised_when_they_should_be(tmp_path):
    """On made-up series, each alarm is raised, and a healthy service raises none."""
    shutil.copy(RULES, tmp_path)
    cases = shutil.copy(Path(__file__).with_name("alarms.yaml"), tmp_path)
    promtool("test", "rules", cases)


def test_each_alarm_is_tried():
    """alarms.yaml has a service that raises it."""
    cases = yaml.safe_load(Path(__file__).with_name("alarms.yaml").read_text())["tests"]
    raised = {
        case["alertname"] for test in cases for case in test.get("alert_rule_test", []) if case["exp_alerts"]
    }
    assert raised == set(alarms())


def test_each_alarm_has_advice():
    """operating.md has a row for each alarm and for no other, with its severity."""
    advice = dict(re.findall(r"^\| `(NoteWhisperer\w+)` \| (\w+) \|", OPERATING, re.MULTILINE))
    assert advice == {rule["alert"]: rule["labels"]["severity"] for rule in rules() if "alert" in rule}


def test_every_metric_exists(exposition):
    """The rules, the dashboard and operating.md name metrics that a server process has."""
    exist = set(re.findall(rf"^({NAME})", exposition, re.MULTILINE))
    for text in (RULES.read_text(), *expressions_of_the_dashboard()):
        assert set(re.findall(NAME, text)) - exist == set()
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = re.findall(r"note_whisperer:[a-z0-9_:]+", RULES.read_text() + str(DASHBOARD))
    assert set(asked) == recorded


def test_every_metric_is_explained(exposition):
    """operating.md has a line for each metric, and for no other."""
    kinds = re.findall(rf"^# TYPE ({NAME}) (\w+)", exposition, re.MULTILINE)
    exist = {name for name, _ in kinds if not name.endswith("_created")}
    assert set(re.findall(rf"^\| `({NAME})`", OPERATING, re.MULTILINE)) == exist


@needs_promtool
def test_metrics_follow_the_conventions(exposition):
    """promtool's linter has nothing to say about their names, types and help texts."""
    assert promtool("check", "metrics", stdin=exposition) == ""


@needs_promtool
def test_dashboard_asks_valid_questions(tmp_path):
    """Prometheus can parse the expression of each panel."""
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(expressions_of_the_dashboard())
    ]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", file)


def test_dashboard_can_be_imported_anywhere():
    """No panel names a certain data source, and no two panels have the same id."""
    panels = DASHBOARD["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource"]
    assert len({panel["id"] for panel in panels}) == len(panels)
