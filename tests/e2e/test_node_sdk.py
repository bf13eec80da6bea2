"""The AWS X-Ray SDK for Node through the daemon: centralized sampling, and a segment."""

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from processes import DEADLINE

HERE = Path(__file__).resolve().parent
MODULES = HERE.parents[1] / "target/e2e-node/node_modules"


@pytest.mark.skipif(not shutil.which("npm"), reason="needs node and npm")
def test_sampling_and_a_segment(backend, daemon):
    node = subprocess.Popen(
        ["node", HERE / "node/app.js"],
        env={
            "PATH": os.environ["PATH"],
            "NODE_PATH": str(MODULES),
            "AWS_XRAY_DAEMON_ADDRESS": daemon.address,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        [document] = backend.wait_documents(1)
        assert document == node.stdout.readline().rstrip("\n")
        assert json.loads(document)["name"] == "shop 雪"

        # The SDK reports ten seconds after a rule has matched.
        _, body = backend.wait_call("/SamplingTargets")
        [statistics] = json.loads(body)["SamplingStatisticsDocuments"]
        assert statistics["RuleName"] == "always-the-shop"
    finally:
        node.kill()
        node.communicate()


@pytest.mark.skipif(not shutil.which("npm"), reason="needs node and npm")
@pytest.mark.parametrize("encoding", ["proto", "http"])
def test_opentelemetry_through_an_outage(backend, start_daemon, encoding):
    daemon = start_daemon(backend.url, "--otlp", "127.0.0.1:0")
    backend.is_away.set()
    # It ends when the daemon has accepted everything: X-Ray is away all the time.
    node = subprocess.run(
        ["node", HERE / "node/otlp.js", "400", encoding],
        env={
            "PATH": os.environ["PATH"],
            "NODE_PATH": str(MODULES),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{daemon.otlp}",
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=DEADLINE,
    )
    sent = node.stdout.split()
    assert len(sent) == 400
    backend.is_away.clear()

    def ids(calls):
        found = []
        for headers, body in calls:
            assert headers["Content-Encoding"] == "gzip"
            body = gzip.decompress(body)
            if encoding == "http":
                assert headers["Content-Type"] == "application/json"
                request = json.loads(body)
                scopes = [s for r in request["resourceSpans"] for s in r["scopeSpans"]]
                found += [span["spanId"] for scope in scopes for span in scope["spans"]]
            else:
                request = ExportTraceServiceRequest.FromString(body)
                scopes = [s for r in request.resource_spans for s in r.scope_spans]
                found += [span.span_id.hex() for scope in scopes for span in scope.spans]
        return found

    calls = backend.wait_calls("/v1/traces", lambda calls: len(ids(calls)) >= len(sent))
    assert sorted(ids(calls)) == sorted(sent)
