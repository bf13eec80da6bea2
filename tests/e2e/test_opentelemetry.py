"""OpenTelemetry through the daemon: ADOT's UDP exporter and sampler, and OTLP over HTTP."""

import base64
import gzip
import json
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from amazon.opentelemetry.distro.otlp_udp_exporter import OTLPUdpSpanExporter
from amazon.opentelemetry.distro.sampler.aws_xray_remote_sampler import AwsXRayRemoteSampler
from backend import BOOSTED_RULES, BOOSTED_TARGETS
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from processes import DEADLINE, free_port

# Seconds, and spans a second.
OUTAGE = 30
RATE = 50

RUST = Path(__file__).resolve().parents[2] / "target/e2e-rust/debug/xray-e2e-rust"

RESOURCE = Resource.create({"service.name": "shop"})


def record(exporter, name):
    """Exports one span, and gives its ids."""
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("e2e").start_as_current_span(name, kind=SpanKind.SERVER) as span:
        span.set_attribute("customer", "Zoë 雪")
    provider.shutdown()
    context = span.get_span_context()
    return context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")


def only_span(protobuf):
    request = ExportTraceServiceRequest.FromString(protobuf)
    [resource] = request.resource_spans
    [scope] = resource.scope_spans
    [span] = scope.spans
    return span


def test_adot_udp_exporter(backend, daemon):
    ids = record(OTLPUdpSpanExporter(endpoint=f"127.0.0.1:{daemon.udp}"), "checkout")
    [document] = backend.wait_documents(1)
    assert document.startswith("T1S")
    span = only_span(base64.b64decode(document[3:], validate=True))
    assert (span.trace_id, span.span_id) == ids
    assert span.name == "checkout"


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_otlp_over_http_is_signed_and_delivered(backend, daemon, compression):
    endpoint = f"http://127.0.0.1:{daemon.tcp}/v1/traces"
    ids = record(OTLPSpanExporter(endpoint=endpoint, compression=compression), "checkout")
    headers, body = backend.wait_call("/v1/traces")
    assert headers["Content-Type"] == "application/x-protobuf"
    if compression is Compression.Gzip:
        assert headers["Content-Encoding"] == "gzip"
        body = gzip.decompress(body)
    span = only_span(body)
    assert (span.trace_id, span.span_id) == ids


def span_ids(calls):
    """The ids of all spans in these requests."""
    found = []
    for headers, body in calls:
        if headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            found += [span.span_id for scope in resource.scope_spans for span in scope.spans]
    return found


@pytest.fixture
def otlp_daemon(backend, start_daemon):
    return start_daemon(backend.url, "--otlp", "127.0.0.1:0")


def batches_to(port):
    """A provider whose spans go to the daemon in batches."""
    endpoint = f"http://127.0.0.1:{port}/v1/traces"
    exporter = OTLPSpanExporter(endpoint=endpoint, compression=Compression.Gzip)
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    return provider


def make_span(tracer):
    """Makes a span, takes its time for it, and gives its id."""
    with tracer.start_as_current_span("request") as span:
        time.sleep(1 / RATE)
    return span.get_span_context().span_id.to_bytes(8, "big")


def test_an_outage_of_thirty_seconds_loses_no_span(backend, otlp_daemon):
    provider = batches_to(otlp_daemon.otlp)
    tracer = provider.get_tracer("e2e")
    sent = []
    backend.is_away.set()
    end = time.monotonic() + OUTAGE
    while time.monotonic() < end:
        sent.append(make_span(tracer))
    backend.is_away.clear()
    provider.shutdown()
    calls = backend.wait_calls("/v1/traces", lambda calls: len(span_ids(calls)) >= len(sent))
    assert len(sent) > OUTAGE
    assert sorted(span_ids(calls)) == sorted(sent)


def test_the_sdk_for_rust_through_an_outage_of_thirty_seconds(backend, otlp_daemon):
    backend.is_away.set()
    # It ends when the daemon has accepted everything: X-Ray is away all the time.
    rust = subprocess.run(
        [RUST, str(OUTAGE), str(RATE)],
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{otlp_daemon.otlp}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=OUTAGE + DEADLINE,
    )
    backend.is_away.clear()
    sent = [bytes.fromhex(line) for line in rust.stdout.split()]
    calls = backend.wait_calls("/v1/traces", lambda calls: len(span_ids(calls)) >= len(sent))
    assert len(sent) > OUTAGE
    assert {headers["Content-Encoding"] for headers, _ in calls} == {"gzip"}
    assert sorted(span_ids(calls)) == sorted(sent)


def test_a_restart_in_an_outage_loses_no_span(backend, start_daemon, tmp_path):
    arguments = ("--otlp", f"127.0.0.1:{free_port()}", "--spool", str(tmp_path / "spool"))
    daemon = start_daemon(backend.url, *arguments)
    backend.is_away.set()
    provider = batches_to(daemon.otlp)
    tracer = provider.get_tracer("e2e")
    sent = [make_span(tracer) for _ in range(RATE * 2)]
    is_restarted = threading.Event()

    def restart():
        assert daemon.stop() == 0
        start_daemon(backend.url, *arguments)
        is_restarted.set()

    restarting = threading.Thread(target=restart)
    restarting.start()
    while not is_restarted.is_set():
        sent.append(make_span(tracer))
        assert restarting.is_alive() or is_restarted.is_set()
    sent += [make_span(tracer) for _ in range(RATE * 2)]
    backend.is_away.clear()
    # What the exporter could not hand over meanwhile it has kept.
    assert provider.force_flush(DEADLINE * 1000)
    # A request whose answer was lost comes again.
    calls = backend.wait_calls("/v1/traces", lambda calls: set(span_ids(calls)) >= set(sent))
    assert set(span_ids(calls)) == set(sent)
    provider.shutdown()


def test_a_batch_of_ten_thousand_spans(backend, otlp_daemon):
    endpoint = f"http://127.0.0.1:{otlp_daemon.otlp}/v1/traces"
    exporter = OTLPSpanExporter(endpoint=endpoint)
    provider = TracerProvider(resource=RESOURCE)
    batches = BatchSpanProcessor(exporter, max_queue_size=10_000, max_export_batch_size=10_000)
    provider.add_span_processor(batches)
    tracer = provider.get_tracer("e2e")
    for _ in range(9_999):
        tracer.start_span("request").end()
    provider.shutdown()
    [call] = backend.wait_calls("/v1/traces", lambda calls: calls)
    assert len(span_ids([call])) == 9_999


def test_adot_remote_sampler(backend, daemon):
    def decides(service):
        resource = Resource.create({"service.name": service})
        endpoint = f"http://127.0.0.1:{daemon.tcp}"
        sampler = AwsXRayRemoteSampler(resource=resource, endpoint=endpoint)
        provider = TracerProvider(resource=resource, sampler=sampler)
        tracer = provider.get_tracer("e2e")
        return lambda: tracer.start_span("request", kind=SpanKind.SERVER).is_recording()

    shop, other = decides("shop"), decides("other")
    backend.wait_call("/GetSamplingRules")
    # Until the rules are there, the fallback takes one span a second and 5 % of the rest.
    end = time.monotonic() + DEADLINE
    while not all(shop() for _ in range(100)) or any(other() for _ in range(100)):
        assert time.monotonic() < end, "the sampler does not follow the rules"
        time.sleep(0.05)


def test_adaptive_sampling_of_adot(backend, daemon):
    backend.answers["/GetSamplingRules"] = BOOSTED_RULES
    backend.answers["/SamplingTargets"] = BOOSTED_TARGETS
    resource = Resource.create({"service.name": "shop"})
    sampler = AwsXRayRemoteSampler(resource=resource, endpoint=f"http://127.0.0.1:{daemon.tcp}")
    sampler.set_span_exporter(OTLPUdpSpanExporter(endpoint=f"127.0.0.1:{daemon.udp}"))
    provider = TracerProvider(resource=resource, sampler=sampler)
    tracer = provider.get_tracer("e2e")

    class Adapt(SpanProcessor):
        """What ADOT's own processor does with each span that has ended."""

        def on_end(self, span):
            sampler.adapt_sampling(span)

    provider.add_span_processor(Adapt())

    def is_sampled():
        span = tracer.start_span("request", kind=SpanKind.SERVER)
        span.set_status(StatusCode.ERROR)
        span.end()
        return span.get_span_context().trace_flags.sampled

    # Nothing is taken by the rule, until X-Ray's answer to the statistics boosts it.
    backend.wait_call("/GetSamplingRules")
    end = time.monotonic() + DEADLINE
    while not all(is_sampled() for _ in range(50)):
        assert time.monotonic() < end, "the sampler does not follow the boost"
        time.sleep(0.05)
    _, body = backend.wait_call("/SamplingTargets")
    assert "SamplingBoostStatisticsDocuments" in json.loads(body)


# Clients write these in different ways: .NET sends null where it has nothing.
@pytest.mark.parametrize(
    "boosts",
    [
        b"null",
        b"[]",
        b'[{"RuleName":"r","ServiceName":"shop","Timestamp":1.795376664307844E9,'
        b'"AnomalyCount":1, "TotalCount":2,"SampledAnomalyCount":0}]',
    ],
)
def test_adaptive_sampling_byte_for_byte(backend, daemon, boosts):
    backend.answers["/GetSamplingRules"] = BOOSTED_RULES
    backend.answers["/SamplingTargets"] = BOOSTED_TARGETS
    statistics = b'{ "SamplingStatisticsDocuments":[],"SamplingBoostStatisticsDocuments":%s}' % boosts
    for path, body in [("/GetSamplingRules", b"{}"), ("/SamplingTargets", statistics)]:
        url = f"http://127.0.0.1:{daemon.tcp}{path}"
        with urllib.request.urlopen(url, body, timeout=DEADLINE) as answer:
            assert answer.read() == json.dumps(backend.answers[path]).encode()
        assert backend.wait_call(path)[1] == body
