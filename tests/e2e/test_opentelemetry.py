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
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind
from processes import DEADLINE

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
def test_otlp_over_http_is_signed_and_passed_on(backend, daemon, compression):
    endpoint = f"http://127.0.0.1:{daemon.tcp}/v1/traces"
    ids = record(OTLPSpanExporter(endpoint=endpoint, compression=compression), "checkout")
    headers, body = backend.wait_call("/v1/traces")
    assert headers["Content-Type"] == "application/x-protobuf"
    if compression is Compression.Gzip:
        assert headers["Content-Encoding"] == "gzip"
        body = gzip.decompress(body)
    span = only_span(body)
    assert (span.trace_id, span.span_id) == ids


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
