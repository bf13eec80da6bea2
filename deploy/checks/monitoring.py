"""The dashboard and the alert rules."""

import json
import re

import yaml

from report import DEPLOY, ROOT, check, files, name, report

# What Prometheus adds to the name of a histogram.
SUFFIXES = r"_(bucket|count|sum)$"


def exported():
    """Every name of a metric in the source of /metrics, which writes them without their prefix."""
    # The tests of that source do not export anything.
    sources = [path.read_text().partition("mod tests")[0] for path in (ROOT / "src/admin").rglob("*.rs")]
    words = set(re.findall(r'"(?:xray_)?([a-z_]+)"', "\n".join(sources)))
    # The names of the metrics of spans are put together from what they count and how it ended.
    return words | {f"{noun}_{fate}" for noun in ("spans", "span_requests", "span_bytes") for fate in words}


def unknown(text):
    asked = {re.sub(SUFFIXES, "", metric) for metric in re.findall(r"\bxray_([a-z_]+)", text)}
    return ", ".join(sorted(asked - exported())) if asked else "no metric of the daemon is asked for"


def grafana():
    for path in files("grafana/*.json"):
        dashboard = json.loads(path.read_text())
        targets = json.dumps([panel.get("targets", []) for panel in dashboard["panels"]])
        report(f"{name(path)} (the daemon exports every metric)", unknown(targets))
        # Grafana draws panels that overlap one above the other, and one of two with the same id.
        ids = [panel["id"] for panel in dashboard["panels"]]
        report(f"{name(path)} (panels have ids of their own)", "" if len(set(ids)) == len(ids) else str(sorted(ids)))
        report(f"{name(path)} (no panels overlap)", overlaps(dashboard["panels"]))


def overlaps(panels):
    taken = {}
    for panel in panels:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                if x >= 24 or (x, y) in taken:
                    return f"{panel['title']} and {taken.get((x, y), 'the edge')}"
                taken[x, y] = panel["title"]
    return ""


def prometheus():
    [alerts] = files("prometheus/alerts.yaml")
    [tests] = files("prometheus/alerts.test.yaml")
    check(f"{name(alerts)} (promtool check rules)", "promtool", "check", "rules", "--lint-fatal", alerts)
    check(f"{name(tests)} (promtool test rules)", "promtool", "test", "rules", tests, cwd=DEPLOY / "prometheus")
    rules = [rule for group in yaml.safe_load(alerts.read_text())["groups"] for rule in group["rules"]]
    report(f"{name(alerts)} (the daemon exports every metric)", unknown("\n".join(rule["expr"] for rule in rules)))
    tested = tests.read_text()
    for rule in rules:
        bare = [key for key in ["for", "severity", "summary", "description"]
                if not (rule.get(key) or rule["labels"].get(key) or rule["annotations"].get(key))]
        fires = re.search(rf"alertname: {rule['alert']}\n\s+exp_alerts:", tested)
        problems = [f"no {key}" for key in bare] + ([] if fires else ["no test in which it fires"])
        report(f"{name(alerts)} {rule['alert']} (complete, and seen firing)", ", ".join(problems))
