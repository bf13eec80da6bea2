"""One trace: waterfall, folding, zoom, details, and parts that come late."""

import json
import time

import pytest
from playwright.sync_api import expect
from samples import checkout, segment, trace_id
from waits import attributes, box, eventually


def rows(page):
    return page.locator(".row")


def names(page):
    return page.locator(".row b")


def levels(page):
    return attributes(rows(page), "aria-level")


def details(page):
    return page.locator("aside.details")


def show(source, page, *documents):
    """Sends a trace and opens it."""
    source.send(*documents)
    trace = json.loads(documents[0])["trace_id"] if isinstance(documents[0], str) else documents[0]["trace_id"]
    page.goto(f"{source.url}/?trace={trace}")
    expect(rows(page).first).to_be_visible()


def family(**more):
    """A segment with children and a grandchild that fails; starts at the second 1,700,000,000."""
    at = 1_700_000_000
    sub = lambda id, name, start, end, **fields: {"id": id, "name": name, "start_time": at + start, "end_time": at + end, **fields}
    return segment(trace_id(1), "root", at, 1.0, subsegments=[
        sub("00000000000000b1", "second", 0.5, 0.9, subsegments=[sub("00000000000000c1", "inner", 0.6, 0.7, fault=True)]),
        sub("00000000000000a1", "first", 0.1, 0.3),
    ], **more)


def test_waterfall_in_order_of_time(source, page, picture):
    show(source, page, *checkout(seed=7))
    eventually(lambda: names(page).all_inner_texts()[:4], lambda found: found == ["web-frontend", "validate cart", "orders.internal", "orders"])
    eventually(lambda: levels(page)[:5], lambda found: found == ["1", "2", "2", "3", "4"])
    expect(page.locator(".legend li")).to_have_count(3)
    picture(page, "trace")


# Where each bar begins and how long it is, in parts of the trace, all read at one moment.
SHARES = """() => {
  const track = document.querySelector(".track").getBoundingClientRect();
  return [...document.querySelectorAll(".bar")].map((bar) => {
    const found = bar.getBoundingClientRect();
    return [((found.x - track.x) / track.width) * 1.02, (found.width / track.width) * 1.02];
  });
}"""


def test_bars_lie_where_the_time_says(source, page):
    show(source, page, family())
    expect(names(page)).to_have_text(["root", "first", "second", "inner"])
    expect(page.locator(".row .label")).to_have_text(["1.00\u202fs", "200\u202fms", "400\u202fms", "100\u202fms"])
    wanted = [(0, 1), (0.1, 0.2), (0.5, 0.4), (0.6, 0.1)]
    near = lambda found, where: abs(found[0] - where[0]) < 0.01 and abs(found[1] - where[1]) < 0.01
    eventually(lambda: page.evaluate(SHARES), lambda found: len(found) == 4 and all(map(near, found, wanted)))
    marks = page.locator(".tick").all_inner_texts
    eventually(marks, lambda found: "0\u202fms" in found and "200\u202fms" in found and len(found) >= 4)


def test_folding_by_mouse_and_keys(source, page):
    show(source, page, family())
    page.locator(".row", has_text="second").locator(".fold").click()
    expect(names(page)).to_have_text(["root", "first", "second"])
    folded = page.locator(".row", has_text="second")
    expect(folded).to_have_attribute("aria-expanded", "false")
    # What is folded away is counted, and a fault in it shows.
    expect(folded).to_contain_text("+1")
    expect(folded).to_contain_text("fault inside")
    page.keyboard.press("ArrowRight")
    expect(names(page)).to_have_text(["root", "first", "second", "inner"])
    page.keyboard.press("ArrowRight")
    expect(page.locator(".row:focus b")).to_have_text("inner")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".row:focus b")).to_have_text("second")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    expect(names(page)).to_have_text(["root"])
    page.get_by_role("button", name="Unfold all").click()
    expect(names(page)).to_have_text(["root", "first", "second", "inner"])


def test_zoom(source, page):
    show(source, page, family())
    seen = page.locator(".seen")
    first = page.locator(".row", has_text="first").locator(".bar")
    wide = box(first)["width"]
    page.get_by_role("button", name="Zoom in").click()
    expect(seen).to_have_text("255\u202fms to 765\u202fms")
    page.get_by_role("button", name="Show the whole time").click()
    expect(seen).to_have_text("")

    rows(page).first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("z")
    expect(seen).to_have_text("80.0\u202fms to 320\u202fms")
    eventually(lambda: box(first)["width"], lambda found: found > 3.5 * wide)
    page.keyboard.press("Shift+ArrowRight")
    expect(seen).to_have_text("128\u202fms to 368\u202fms")
    page.keyboard.press("-")
    page.keyboard.press("0")
    expect(seen).to_have_text("")

    track = box(page.locator(".track").first)
    page.mouse.move(track["x"] + track["width"] * 0.1 / 1.02, track["y"] + 5)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -60)
    page.keyboard.up("Control")
    expect(seen).not_to_have_text("")
    # The time under the pointer stays under it.
    eventually(lambda: box(first)["x"] - track["x"] - track["width"] * 0.1 / 1.02, lambda found: abs(found) < 2)
    page.locator(".marks").dblclick()
    expect(seen).to_have_text("")

    for area in (".marks", ".overview"):
        place = box(page.locator(area))
        page.mouse.move(place["x"] + place["width"] * 0.5 / 1.02, place["y"] + 10)
        page.mouse.down()
        page.mouse.move(place["x"] + place["width"] * 0.75 / 1.02, place["y"] + 10, steps=4)
        expect(page.locator(".brush:visible")).to_have_count(1)
        page.mouse.up()
        expect(seen).to_contain_text("75")
        page.get_by_role("button", name="Show the whole time").click()


def everything():
    """A segment with every kind of field, as a text, so that it can be compared byte by byte."""
    return json.dumps(family(
        user="zoë", origin="AWS::EC2::Instance", resource_arn="arn:aws:ec2:eu-central-1:1:instance/i-1", service={"version": "4.2", "runtime": "CPython"},
        http={"request": {"method": "POST", "url": "https://me:pw@shop.example/pay?card=4711", "user_agent": "curl/8", "client_ip": "10.0.0.1", "x_forwarded_for": True},
              "response": {"status": 502, "content_length": 17}},
        aws={"ecs": {"container": "c-1"}, "xray": {"sdk": "X-Ray for Python", "sdk_version": "2.15.0"}, "account_id": "123456789012"},
        sql={"database_type": "MySQL", "sanitized_query": "SELECT *\n  FROM orders\n WHERE id = ? -- " + "x" * 300, "preparation": "statement"},
        annotations={"customer": "gold", "items": 3, "vip": False, "zero": 0},
        metadata={"default": {"cart": {"lines": [1, 2]}, "note": "line one\nline two", "empty": "", "none": None}, "other": [1, 2]},
        cause={"working_directory": "/srv/app", "exceptions": [
            {"id": "00000000000000e1", "type": "ValueError", "message": "no such\ncard", "remote": False, "truncated": 2, "skipped": 1, "cause": "00000000000000e2",
             "stack": [{"path": "pay.py", "line": 31, "label": "charge"}, {"path": "app.py", "line": 7}, {"label": "main"}]},
            {"id": "00000000000000e2", "type": "OSError", "message": "gone"}]},
        links=[{"trace_id": trace_id(2), "id": "00000000000000f1", "attributes": {"why": "retry"}}],
        something_new={"deep": [1, {"x": True}]}, precursor_ids=["00000000000000d1"],
    )).replace('"something_new"', '"exact": 12345678901234567890, "something_new"')


def test_every_detail_of_a_segment(source, open_page, picture):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    document = everything()
    show(source, page, document)
    rows(page).first.click()
    # The last section of the pane: what stands before it is there as well.
    expect(details(page).get_by_text("Raw JSON")).to_be_visible()
    text = details(page).inner_text()
    for wanted in [
        "zoë", "AWS::EC2::Instance", "arn:aws:ec2:eu-central-1:1:instance/i-1", "4.2", "CPython",
        "https://me:pw@shop.example/pay?card=4711", "curl/8", "10.0.0.1", "502", "17",
        "c-1", "X-Ray for Python", "2.15.0", "123456789012", "MySQL", "statement", "SELECT *\n  FROM orders\n WHERE id = ? -- " + "x" * 300,
        "customer", "gold", "items", "vip", "false", "zero", "line one\nline two", "/srv/app", "ValueError", "no such\ncard",
        "charge (pay.py:31)", "app.py:7", "main", "truncated", "OSError", "gone", trace_id(2), "00000000000000f1", "why", "retry",
        "something_new", "precursor_ids", "00000000000000d1", "12345678901234567890", "1.00\u202fs",
    ]:
        assert wanted in text, wanted
    picture(page, "details")
    # In the address, so that a link shows the same.
    expect(page).to_have_url(f"{source.url}/?trace={trace_id(1)}&segment={trace_id(1)[-16:]}")
    page.reload()
    expect(details(page)).to_contain_text("ValueError")

    page.get_by_text("Raw JSON").click()
    copied = lambda: page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Copy JSON").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert json.loads(copied()) == json.loads(document)
    page.get_by_role("button", name="Copy document as received").click()
    expect(page.get_by_role("button", name="Copied")).to_have_count(2)
    assert copied() == document

    page.locator(".links a").click()
    expect(page).to_have_url(f"{source.url}/?trace={trace_id(2)}&segment=00000000000000f1")
    expect(page.get_by_text("does not keep this trace")).to_be_visible()


def test_an_annotation_leads_to_all_traces_that_have_it(source, page):
    source.send(segment(trace_id(5), "other", time.time(), 0.1, annotations={"customer": "silver"}))
    show(source, page, everything())
    rows(page).first.click()
    details(page).get_by_role("link", name="gold").click()
    expect(page.locator("[name=annotation]")).to_have_value("customer=gold")
    expect(page.locator("#summary")).to_have_text("1 of 2 traces")


def test_keys_open_and_close_the_details(source, page):
    show(source, page, family())
    rows(page).first.focus()
    page.keyboard.press("ArrowDown")
    expect(details(page)).to_be_hidden()
    page.keyboard.press("Enter")
    expect(details(page).locator("h2")).to_have_text("first")
    # While they are open they follow.
    page.keyboard.press("ArrowDown")
    expect(details(page).locator("h2")).to_have_text("second")
    details(page).get_by_role("button", name="root").click()
    expect(details(page).locator("h2")).to_have_text("root")
    page.keyboard.press("Escape")
    expect(details(page)).to_be_hidden()
    expect(page.locator(".row:focus b")).to_have_text("root")


def test_late_parts_join_and_nothing_jumps(source, page):
    at = time.time()
    started = segment(trace_id(1), "root", at, 0, in_progress=True)
    del started["end_time"]
    show(source, page, started)
    expect(page.locator(".facts")).to_contain_text("in progress")
    expect(page.locator(".bar.open")).to_have_count(1)
    child = {"type": "subsegment", "trace_id": trace_id(1), "parent_id": trace_id(1)[-16:], "id": "00000000000000a1", "name": "child",
             "start_time": at + 0.1, "end_time": at + 0.2, "subsegments": [{"id": "00000000000000a2", "name": "grandchild", "start_time": at + 0.1, "end_time": at + 0.2}]}
    source.send(child)
    expect(rows(page)).to_have_count(3)
    page.locator(".row", has_text="child").first.locator(".fold").click()
    rows(page).first.click()
    expect(details(page)).to_contain_text("in progress")
    # A segment of another service, and the end of the first.
    source.send({**segment(trace_id(1), "callee", at + 0.12, 0.05), "id": "00000000000000b1", "parent_id": "00000000000000a1"},
                segment(trace_id(1), "root", at, 0.5, annotations={"done": "yes"}))
    expect(page.locator(".facts")).not_to_contain_text("in progress")
    expect(details(page)).to_contain_text("done")
    expect(names(page)).to_have_text(["root", "child"])
    expect(page.locator(".row", has_text="child")).to_contain_text("+2")
    # A beginning that comes after the end changes nothing.
    source.send(started)
    source.send({**segment(trace_id(1), "last", at + 0.4, 0.05), "id": "00000000000000b2", "parent_id": trace_id(1)[-16:]})
    expect(rows(page)).to_have_count(3)
    expect(page.locator(".bar.open")).to_have_count(0)


def test_a_trace_that_is_not_there_yet(source, open_page):
    page = open_page(f"/?trace={trace_id(1)}")
    expect(page.get_by_text("does not keep this trace")).to_be_visible()
    source.send(family())
    expect(rows(page)).to_have_count(4)


def spans(trace, *spans):
    return {"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]},
                               "scopeSpans": [{"scope": {"name": "my.tracer", "version": "1.2"}, "spans": list(spans)}]}]}


def test_spans_and_segments_in_one_trace(source, page, picture):
    at = 1_700_000_000
    trace = trace_id(1)
    nanos = lambda seconds: str(int((at + seconds) * 1_000_000_000))
    request = spans(trace, {
        "traceId": trace[2:].replace("-", ""), "spanId": "00000000000000d1", "parentSpanId": "00000000000000a1", "name": "GET /cart", "kind": 2,
        "startTimeUnixNano": nanos(0.12), "endTimeUnixNano": nanos(0.28), "traceState": "vendor=1",
        "status": {"code": 2, "message": "it broke"},
        "attributes": [{"key": "http.response.status_code", "value": {"intValue": "500"}}, {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"boolValue": True}]}}}],
        "events": [{"timeUnixNano": nanos(0.2), "name": "exception", "attributes": [
            {"key": "exception.type", "value": {"stringValue": "KeyError"}}, {"key": "exception.message", "value": {"stringValue": "nothing here"}},
            {"key": "exception.stacktrace", "value": {"stringValue": "File cart.py\n  line 3"}}]},
            {"timeUnixNano": nanos(0.15), "name": "cache miss", "attributes": [{"key": "size", "value": {"doubleValue": 1.5}}]}],
        "links": [{"traceId": "6553f100000000070000000000000007", "spanId": "00000000000000d7", "attributes": []}],
    })
    source.send(family())
    source.post_spans(request)
    page.goto(f"{source.url}/?trace={trace}")
    expect(rows(page)).to_have_count(5)
    expect(names(page)).to_have_text(["root", "first", "cart", "second", "inner"])
    eventually(lambda: levels(page), lambda found: found == ["1", "2", "3", "2", "3"])
    page.locator(".row", has_text="cart").click()
    expect(details(page)).to_contain_text("GET /cart")
    text = details(page).inner_text()
    for wanted in ["GET /cart", "server span", "it broke", "KeyError", "nothing here", "File cart.py\n  line 3", "cache miss", "+150\u202fms", "1.5",
                   "http.response.status_code", "500", "a, true", "my.tracer", "1.2", "vendor=1", "service.name", "6553f100000000070000000000000007"]:
        assert wanted in text, wanted
    picture(page, "span")


def test_t1s_by_udp(source, page, real):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    import base64
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "cart"
    resource.scope_spans.add().spans.add(
        trace_id=bytes.fromhex(trace_id(1)[2:].replace("-", "")), span_id=bytes(7) + b"\xd1", parent_span_id=bytes(7) + b"\xa1", name="GET /cart", kind=2,
        start_time_unix_nano=1_700_000_000_120_000_000, end_time_unix_nano=1_700_000_000_280_000_000)
    source.send(family(), "T1S" + base64.b64encode(request.SerializeToString()).decode())
    page.goto(f"{source.url}/?trace={trace_id(1)}")
    expect(rows(page)).to_have_count(5)
    expect(names(page)).to_have_text(["root", "first", "cart", "second", "inner"])


@pytest.mark.parametrize("width", [390, 1280])
def test_ten_thousand_subsegments(source, open_page, width, picture):
    at = 1_700_000_000
    trace = trace_id(1)
    root = segment(trace, "root", at, 100)
    batch = lambda number: {
        "type": "subsegment", "trace_id": trace, "parent_id": root["id"], "id": f"{number * 1000:016x}", "name": f"batch {number}", "start_time": at + number, "end_time": at + number + 1,
        "subsegments": [{"id": f"{number * 1000 + call:016x}", "name": f"call {number}/{call}", "start_time": at + number + call / 100, "end_time": at + number + call / 100 + 0.01} for call in range(1, 100)]}
    source.send(root)
    for number in range(1, 101):
        source.send(batch(number))
        source.get("/api/traces?limit=0")
    page = open_page(f"/?trace={trace}", viewport={"width": width, "height": 800})
    expect(page.locator(".facts")).to_contain_text("10\u202f001 segments")
    expect(page.get_by_role("treegrid")).to_have_attribute("aria-rowcount", "10002")
    eventually(rows(page).count, lambda found: 0 < found < 80)
    rows(page).first.focus()
    for _ in range(5):
        page.keyboard.press("PageDown")
    page.keyboard.press("End")
    expect(page.locator(".row:focus b")).to_have_text("call 100/99")
    eventually(rows(page).count, lambda found: 0 < found < 80)
    picture(page, f"trace-10001-{width}")
    page.keyboard.press("Home")
    expect(page.locator(".row:focus b")).to_have_text("root")
