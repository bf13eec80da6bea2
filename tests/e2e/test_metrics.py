"""The metrics, read by Prometheus' own parser, and the dashboard that draws them."""

import json
import re
import socket
import time
import urllib.request
from pathlib import Path

from processes import DEADLINE
from prometheus_client.parser import text_string_to_metric_families

DASHBOARD = Path(__file__).resolve().parents[2] / "deploy/grafana/xray-daemon.json"


def scrape(daemon):
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.tcp}/metrics", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return list(text_string_to_metric_families(answer.read().decode()))


def samples(families):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_books_by_the_official_parser(backend, daemon):
    header = b'{"format":"json","version":1}\n'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(header + b'{"id":"1"}', ("127.0.0.1", daemon.udp))
        client.sendto(b"garbage", ("127.0.0.1", daemon.udp))
    backend.wait_documents(1)

    families = scrape(daemon)
    values = samples(families)
    end = time.monotonic() + DEADLINE
    while values["xray_segments_sent_total",] == 0:
        assert time.monotonic() < end, values
        families = scrape(daemon)
        values = samples(families)
    assert values["xray_segments_received_total",] == 2
    assert values["xray_segments_sent_total",] == 1
    assert values["xray_segments_rejected_total",] == 1
    assert values["xray_segments_held",] == 0
    assert values["xray_upload_requests_total", ("outcome", "2xx")] >= 1
    assert values["xray_upload_request_duration_seconds_count",] >= 1
    for family in families:
        assert family.type in {"counter", "gauge", "histogram"}, family.name
        assert family.documentation, family.name
        # A counter's family has no suffix of its own for the parser.
        assert family.type != "counter" or all(s.name.endswith("_total") for s in family.samples)


def test_the_dashboard_asks_for_metrics_that_there_are(daemon):
    names = {sample.name for family in scrape(daemon) for sample in family.samples}
    # Only there while the credentials expire, once a client has asked something by TCP, and with a spool.
    names |= {"xray_credentials_expiry_timestamp_seconds", "xray_proxy_requests_total"}
    names |= {"xray_spool_bytes", "xray_spool_oldest_age_seconds", "xray_spool_lost_segments_total"}
    asked = set(re.findall(r"\bxray_[a-z_]+", json.dumps(json.loads(DASHBOARD.read_text()))))
    assert asked and asked <= names, asked - names
