"""The AWS X-Ray SDK for Python through the daemon: traces to moto, read back by boto3."""

import json
import time

import boto3
import pytest
from aws_xray_sdk.core import AWSXRayRecorder
from processes import DEADLINE, KEY_ID, REGION, SECRET


def recorder_for(daemon, **settings):
    recorder = AWSXRayRecorder()
    recorder.configure(
        daemon_address=daemon.address,
        service="shop",
        context_missing="RUNTIME_ERROR",
        **settings,
    )
    return recorder


def documents_of(moto, trace_id, count):
    """The trace as boto3 reads it back, once it has `count` documents."""
    xray = boto3.client(
        "xray",
        region_name=REGION,
        endpoint_url=moto.url,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
    )
    end = time.monotonic() + DEADLINE
    while True:
        traces = xray.batch_get_traces(TraceIds=[trace_id])["Traces"]
        segments = [segment for trace in traces for segment in trace["Segments"]]
        if len(segments) >= count:
            return [json.loads(segment["Document"]) for segment in segments]
        assert time.monotonic() < end, f"{len(segments)} of {count} documents"
        # moto has no event to wait for.
        time.sleep(0.05)


def test_a_trace_arrives_as_it_was_recorded(moto, start_daemon):
    daemon = start_daemon(moto.url)
    recorder = recorder_for(daemon, sampling=False)
    segment = recorder.begin_segment("tienda de música 雪")
    segment.put_annotation("customer", "Zoë ñ 🦀")
    segment.put_annotation("items", 3)
    segment.put_metadata("basket", {"läden": ["a\nb", 'quo"te', "\u2028"]}, "ünits")
    segment.put_http_meta("url", "http://shop.example/päth?q=<>&")
    with recorder.in_subsegment("database") as database:
        database.set_sql({"url": "db.example", "database_type": "PostgreSQL"})
        with recorder.in_subsegment("query") as query:
            query.put_annotation("rows", 7)
    with pytest.raises(ValueError), recorder.in_subsegment("payment"):
        raise ValueError("número inválido")
    recorder.end_segment()
    recorded = json.loads(segment.serialize())
    assert len(recorded["subsegments"]) == 2

    [document] = documents_of(moto, segment.trace_id, 1)
    assert document == recorded


def test_a_streamed_trace_arrives_whole(moto, start_daemon):
    """Above a threshold the SDK sends finished subsegments by themselves, back to back."""
    daemon = start_daemon(moto.url)
    recorder = recorder_for(daemon, sampling=False)
    segment = recorder.begin_segment("batch")
    ids = set()
    for n in range(100):
        with recorder.in_subsegment(f"step {n}") as step:
            ids.add(step.id)
    recorder.end_segment()

    documents = documents_of(moto, segment.trace_id, 70)
    received = set()
    for document in documents:
        parts = document.get("subsegments", [])
        received |= {part["id"] for part in parts}
        if document.get("type") == "subsegment":
            received.add(document["id"])
    assert received == ids


def test_centralized_sampling(backend, daemon):
    recorder = recorder_for(daemon, sampling=True)
    sampler = recorder.sampler
    # The first decision starts the pollers. It may have their rules already, so that it is none of the shop's.
    sampler.should_trace({"service": "first"})
    headers, body = backend.wait_call("/GetSamplingRules")
    assert json.loads(body) == {}
    assert "X-Forwarded-For" not in headers

    end = time.monotonic() + DEADLINE
    while len(sampler._cache.rules) < 2 or not sampler._cache.last_updated:
        assert time.monotonic() < end, "the SDK has no rules"
        time.sleep(0.05)
    assert sampler.should_trace({"service": "shop"}) == "always-the-shop"
    assert sampler.should_trace({"service": "other"}) is False

    # The SDK reports ten seconds after a rule has matched.
    _, body = backend.wait_call("/SamplingTargets")
    [statistics] = [
        document
        for document in json.loads(body)["SamplingStatisticsDocuments"]
        if document["RuleName"] == "always-the-shop"
    ]
    assert statistics["RequestCount"] == 1

