"""OpenTelemetry through the daemon: ADOT's UDP exporter and sampler, and OTLP over HTTP."""

import base64
import gzip
import time

import pytest
from amazon.opentelemetry.distro.otlp_udp_exporter import OTLPUdpSpanExporter
from amazon.opentelemetry.distro.sampler.aws_xray_remote_sampler import AwsXRayRemoteSampler
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.trace import SpanKind
from processes import DEADLINE

# Seconds, and spans a second.
OUTAGE = 30
RATE = 50

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


def test_an_outage_of_thirty_seconds_loses_no_span(backend, otlp_daemon):
    endpoint = f"http://127.0.0.1:{otlp_daemon.otlp}/v1/traces"
    exporter = OTLPSpanExporter(endpoint=endpoint, compression=Compression.Gzip)
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    tracer = provider.get_tracer("e2e")
    sent = []
    backend.is_away.set()
    end = time.monotonic() + OUTAGE
    while time.monotonic() < end:
        with tracer.start_as_current_span("request") as span:
            sent.append(span.get_span_context().span_id.to_bytes(8, "big"))
        time.sleep(1 / RATE)
    backend.is_away.clear()
    provider.shutdown()
    calls = backend.wait_calls("/v1/traces", lambda calls: len(span_ids(calls)) >= len(sent))
    assert len(sent) > OUTAGE * RATE / 2
    assert sorted(span_ids(calls)) == sorted(sent)


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
