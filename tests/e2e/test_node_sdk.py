"""Node's SDKs through the daemon: AWS X-Ray's, OpenTelemetry's, and AWS' distribution of that."""

import base64
import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from backend import BOOSTED_RULES, BOOSTED_TARGETS
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from processes import DEADLINE, free_port

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


def ids(calls):
    """The ids of all spans in these requests, in either encoding."""
    found = []
    for headers, body in calls:
        assert headers["Content-Encoding"] == "gzip"
        body = gzip.decompress(body)
        if headers["Content-Type"] == "application/json":
            request = json.loads(body)
            scopes = [s for r in request["resourceSpans"] for s in r["scopeSpans"]]
            found += [span["spanId"] for scope in scopes for span in scope["spans"]]
        else:
            request = ExportTraceServiceRequest.FromString(body)
            scopes = [s for r in request.resource_spans for s in r.scope_spans]
            found += [span.span_id.hex() for scope in scopes for span in scope.spans]
    return found


@pytest.mark.skipif(not shutil.which("npm"), reason="needs node and npm")
@pytest.mark.parametrize("encoding", ["proto", "http"])
def test_opentelemetry_through_an_outage(backend, start_daemon, encoding):
    daemon = start_daemon(backend.url, "--otlp", "127.0.0.1:0")
    backend.is_away.set()
    # It ends when the daemon has accepted everything: X-Ray is away all the time.
    node = subprocess.run(
        ["node", HERE / "node/otlp.js", "400", encoding, "0"],
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
    calls = backend.wait_calls("/v1/traces", lambda calls: len(ids(calls)) >= len(sent))
    expected_type = {"proto": "application/x-protobuf", "http": "application/json"}[encoding]
    assert {headers["Content-Type"] for headers, _ in calls} == {expected_type}
    assert sorted(ids(calls)) == sorted(sent)


@pytest.mark.skipif(not shutil.which("npm"), reason="needs node and npm")
def test_opentelemetry_through_a_restart_in_an_outage(backend, start_daemon, tmp_path):
    arguments = ("--otlp", f"127.0.0.1:{free_port()}", "--spool", str(tmp_path / "spool"))
    daemon = start_daemon(backend.url, *arguments)
    backend.is_away.set()
    node = subprocess.Popen(
        ["node", HERE / "node/otlp.js", "300", "proto", "20"],
        env={
            "PATH": os.environ["PATH"],
            "NODE_PATH": str(MODULES),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{daemon.otlp}",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        sent = [node.stdout.readline().strip() for _ in range(100)]
        assert daemon.stop() == 0
        start_daemon(backend.url, *arguments)
        rest, _ = node.communicate(timeout=DEADLINE)
    finally:
        node.kill()
    sent += rest.split()
    assert (len(sent), node.returncode) == (300, 0)
    backend.is_away.clear()
    # A request whose answer was lost comes again.
    calls = backend.wait_calls("/v1/traces", lambda calls: set(ids(calls)) >= set(sent))
    assert set(ids(calls)) == set(sent)


@pytest.mark.skipif(not shutil.which("npm"), reason="needs node and npm")
def test_adot(backend, daemon):
    """Its sampler by TCP, and its spans by UDP, as it sends them in AWS Lambda."""
    # This sampler knows no boost, and must not mind it.
    backend.answers["/GetSamplingRules"] = BOOSTED_RULES
    [target] = BOOSTED_TARGETS["SamplingTargetDocuments"]
    targets = {**BOOSTED_TARGETS, "SamplingTargetDocuments": [{**target, "FixedRate": 1.0}]}
    backend.answers["/SamplingTargets"] = targets
    distribution = MODULES / "@aws/aws-distro-opentelemetry-node-autoinstrumentation"
    node = subprocess.Popen(
        ["node", "--require", distribution / "build/src/register.js", HERE / "node/adot.js"],
        env={
            "PATH": os.environ["PATH"],
            "NODE_PATH": str(MODULES),
            "AWS_LAMBDA_FUNCTION_NAME": "checkout",
            "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{daemon.udp}",
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_TRACES_SAMPLER": "xray",
            "OTEL_TRACES_SAMPLER_ARG": f"endpoint=http://127.0.0.1:{daemon.tcp}",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_NODE_RESOURCE_DETECTORS": "none",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        # The sampler prints a line of its own.
        lines = (line.split() for line in node.stdout)
        span_id = next(words[1] for words in lines if words[0] == "span")

        def spans(requests):
            bodies = [json.loads(body) for path, _, body in requests if path == "/TraceSegments"]
            documents = [d for body in bodies for d in body["TraceSegmentDocuments"]]
            found = []
            for document in documents:
                if document.startswith("T1S"):
                    body = base64.b64decode(document[3:], validate=True)
                    request = ExportTraceServiceRequest.FromString(body)
                    scopes = [s for r in request.resource_spans for s in r.scope_spans]
                    found += [span.span_id.hex() for s in scopes for span in s.spans]
            return span_id in found

        backend.wait(spans)
    finally:
        node.kill()
        node.communicate()
