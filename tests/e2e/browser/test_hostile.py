"""Traces that mean harm, or are nonsense: all of it is text, and nothing breaks.

The fixture of every page fails on any error, dialog, or request to elsewhere, and the page's
Content-Security-Policy is in force.
"""

import json
import random
import time

import pytest
from playwright.sync_api import expect
from samples import checkout, segment, trace_id
from waits import attributes, eventually

SCRIPT = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script><svg onload="window.hacked=1">'
ALL = (SCRIPT, "javascript:window.hacked=1", '"><iframe srcdoc="<script>parent.hacked=1</script>">', "{{7*7}}${7*7}<%= 7*7 %>", "</title></script><style>*{display:none}</style>",
       "\u202egnirts desrever\u202c", "\x1b[31mred\x1b[0m\x07", "a\u0000b", "zero\u200bwidth", "Z\u0351\u036b\u0343\u036a" * 30, "👩‍👩‍👧‍👦❤️", "https://evil.example/")


def hostile(trace, text, at):
    """`text` in every place where a text may stand, keys too."""
    return {
        **segment(trace, text, at, 0.5, fault=True), "user": text, "origin": text, "resource_arn": text, text: text,
        "http": {"request": {"method": text, "url": text, "user_agent": text, text: text}, "response": {"status": 500}},
        "annotations": {"key": text, text: text}, "metadata": {text: {text: [text, {text: text}]}}, "aws": {"operation": text, text: text},
        "sql": {"sanitized_query": text, "url": text}, "service": {"version": text}, "links": [{"trace_id": text, "id": text, "attributes": {text: text}}],
        "cause": {"working_directory": text, "exceptions": [{"id": text, "type": text, "message": text, "cause": text, "stack": [{"path": text, "line": text, "label": text}]}]},
        "subsegments": [{"id": "00000000000000a1", "name": text, "namespace": "remote", "start_time": at, "end_time": at + 0.1,
                         "http": {"request": {"url": text}}}],
    }


@pytest.mark.parametrize("number", range(len(ALL)))
def test_text_stays_text(source, page, number, picture):
    text = ALL[number]
    source.send(hostile(trace_id(1), text, time.time()))
    expect(page.locator("tbody tr")).to_have_count(1)
    before = page.locator("script, iframe, style, img, object, embed, form").count()
    page.locator("td.trace a").click()
    expect(page.locator(".row")).to_have_count(2)
    page.locator(".row").first.click()
    expect(page.locator("aside.details .exception")).to_be_visible()
    page.get_by_text("Raw JSON").click()
    picture(page, f"hostile-{number}")
    leads = attributes(page.locator("a"), "href")
    assert leads and all(lead.startswith(("/", "#")) for lead in leads), "a trace made a link"
    expect(page.locator("script, iframe, style, img, object, embed, form")).to_have_count(before)
    page.get_by_role("link", name="Service map").click()
    expect(page.locator(".node")).to_have_count(3)
    assert page.evaluate("window.hacked") is None
    if text == SCRIPT:
        expect(page.locator(".words b", has_text="<script>").first).to_be_attached()


def test_what_turns_or_hides_text_is_named(source, page):
    source.send(segment(trace_id(1), "\u202egnp.exe\x1b[2J\u200b", time.time(), 0.1))
    expect(page.locator("td.trace a")).to_have_text("[U+202E]gnp.exe␛[2J[U+200B]")


def test_policy_is_strict(source, open_page):
    page = open_page()
    blocked = page.evaluate("""async () => {
      const said = [];
      document.addEventListener("securitypolicyviolation", (event) => said.push(event.effectiveDirective));
      try { document.body.innerHTML = "<b>x</b>"; said.push("markup was parsed"); } catch { said.push("no markup"); }
      const script = document.createElement("script");
      try { script.text = "window.hacked = 1"; document.body.append(script); } catch { said.push("no script"); }
      const link = document.createElement("div");
      link.setAttribute("style", "color: red");
      document.body.append(link);
      said.push(getComputedStyle(link).color === "rgb(255, 0, 0)" ? "style was used" : "no style");
      return said;
    }""")
    assert {"no markup", "no script", "no style"} <= set(blocked)
    assert page.evaluate("window.hacked") is None


@pytest.fixture
def open_page(open_page, request):
    """Chromium reports what the policy blocks; the test of the policy asks for that."""
    yield open_page
    if request.node.name == "test_policy_is_strict":
        open_page.faults.clear()


def test_long_strings(source, open_page, picture):
    long = "x" * 20_000 + " end"
    source.send({**segment(trace_id(1), long, time.time(), 0.1), "metadata": {"default": {"long": long}}, "annotations": {"long": long[-900:]},
                 "http": {"request": {"method": "GET", "url": "https://a.example/" + long[-5000:]}}})
    for width in (1280, 390):
        page = open_page(viewport={"width": width, "height": 800})
        expect(page.locator("tbody tr")).to_have_count(1)
        eventually(lambda: page.evaluate("document.documentElement.scrollWidth"), lambda found: found <= width)
        page.locator("td.trace a").click()
        page.locator(".row").first.click()
        button = page.get_by_role("button", name="Show all 20\u202f004 characters").last.last
        button.click()
        expect(page.locator("aside.details")).to_contain_text("x end")
        eventually(lambda: page.evaluate("document.documentElement.scrollWidth"), lambda found: found <= width)
        picture(page, f"long-{width}")


def test_a_megabyte_by_otlp(source, page, real):
    at = time.time()
    nanos = str(int(at * 1e9))
    source.post_spans({"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "big"}}]}, "scopeSpans": [{"spans": [
        {"traceId": trace_id(1)[2:].replace("-", ""), "spanId": "00000000000000d1", "name": "big", "kind": 2, "startTimeUnixNano": nanos, "endTimeUnixNano": nanos,
         "attributes": [{"key": "big", "value": {"stringValue": "y" * 1_000_000}}]}]}]}]})
    page.locator("td.trace a").click()
    page.locator(".row").first.click()
    expect(page.get_by_role("button", name="Show all 1\u202f000\u202f000 characters")).to_be_visible()


@pytest.mark.parametrize("depth", [100, 1000])
def test_nested_documents(source, page, depth, picture):
    at = 1_700_000_000
    trace = trace_id(1)
    opening = "".join(f'{{"id":"{level:04x}","name":"l{level}","subsegments":[' for level in range(100, 100 + depth))
    source.send(f'{{"trace_id":"{trace}","start_time":{at},"end_time":{at + 1},' + opening[1:] + "]}" * depth)
    source.wait_total(1)
    page.goto(f"{source.url}/?trace={trace}")
    expect(page.get_by_role("treegrid")).to_have_attribute("aria-rowcount", str(depth + 1))
    page.locator(".row").first.focus()
    page.keyboard.press("End")
    expect(page.locator(".row:focus")).to_have_attribute("aria-level", str(depth))
    page.keyboard.press("Enter")
    expect(page.locator("aside.details h2")).to_have_text(f"l{99 + depth}")
    picture(page, f"nested-{depth}")


def test_circles_of_parents(source, page):
    at = 1_700_000_000
    trace = trace_id(1)
    part = lambda id, parent: {"trace_id": trace, "id": f"{id:016x}", "parent_id": f"{parent:016x}", "name": f"n{id}", "start_time": at + id, "end_time": at + id + 1, "type": "subsegment"}
    source.send(part(1, 1), part(2, 3), part(3, 4), part(4, 2), part(5, 4), part(6, 99))
    page.goto(f"{source.url}/?trace={trace}")
    expect(page.locator(".row")).to_have_count(6)
    eventually(page.locator(".row b").all_inner_texts, lambda found: sorted(found) == [f"n{id}" for id in range(1, 7)])
    page.goto(f"{source.url}/?view=map")
    expect(page.locator("h1")).to_have_text("Service map")


def test_what_python_writes_that_json_is_not(source, page):
    trace = trace_id(1)
    source.send(f'{{"trace_id": "{trace}", "id": "00000000000000a1", "name": "n", "start_time": 1700000000, "end_time": 1700000001, '
                '"metadata": {"default": {"a": NaN, "b": -Infinity, "text": "NaN stays \\"NaN\\""}}, "annotations": {"cut": "\\ud83d"}}')
    source.wait_total(1)
    page.goto(f"{source.url}/?trace={trace}")
    page.locator(".row").first.click()
    expect(page.locator("aside.details")).to_contain_text("-Infinity")
    expect(page.locator("aside.details")).to_contain_text('NaN stays "NaN"')
    expect(page.locator("aside.details")).to_contain_text("\ufffd")


VALUES = [None, True, False, 0, -1, 1e300, 12345678901234567890, "", "text", "1700000000", [], [[]], [None], {}, {"a": {"b": [1, {}]}}, {"exceptions": [1, None, {"stack": [1, None]}]},
          {"request": 1, "response": []}, {"request": {"url": {}}, "response": {"status": "abc"}}, [{"trace_id": 5}], {"__proto__": {"x": 1}, "constructor": "c", "toString": 1}]
FIELDS = ["id", "parent_id", "name", "start_time", "end_time", "in_progress", "type", "namespace", "http", "aws", "sql", "annotations", "metadata", "cause", "subsegments", "links",
          "error", "fault", "throttle", "user", "origin", "resource_arn", "service", "__proto__", "constructor"]


@pytest.mark.parametrize("seed", range(6))
def test_fields_of_any_type(source, page, seed):
    chance = random.Random(seed)
    now = time.time()
    trace = trace_id(seed)
    for number in range(15):
        fields = {field: chance.choice(VALUES) for field in chance.sample(FIELDS, 8)}
        nested = {field: chance.choice(VALUES) for field in chance.sample(FIELDS, 6)}
        source.send({**segment(trace, "n", now, 0.1), "id": f"{number + 1:016x}", **fields, **({"subsegments": [nested, 5, None]} if number % 3 == 0 else {})})
    # What stands beside the nonsense is shown as ever.
    good = segment(trace, "good", now + 5, 0.1, annotations={"fine": "yes"})
    source.send({**good, "id": "00000000000000ff"})
    page.goto(f"{source.url}/?trace={trace}")
    page.locator(".row").first.click()
    count = int(page.get_by_role("treegrid").get_attribute("aria-rowcount")) - 1
    seen = []
    for _ in range(count):
        expect(page.locator("aside.details")).to_be_visible()
        seen.append(page.locator("aside.details").inner_text())
        page.keyboard.press("ArrowDown")
    eventually(page.locator("aside.details").inner_text, lambda last: any("fine" in text for text in (*seen, last)))
    page.goto(f"{source.url}/?view=map")
    expect(page.locator("table.numbers")).to_be_visible()


def test_documents_that_are_none(source, page):
    source.send("this is no JSON <b>at all</b>", "[]", "3", '"text"', "{", "null")
    source.send(*checkout(seed=1))
    expect(page.locator("td.trace a", has_text="web-frontend")).to_have_count(1)


def test_names_that_are_paths(source, page):
    """A trace id of any text stands in addresses."""
    odd = "../../api/services?x=1#y %00<b>&trace=other"
    source.send({"trace_id": odd, "id": "00000000000000a1", "name": "odd", "start_time": time.time(), "end_time": time.time()})
    page.locator("td.trace a", has_text="odd").click()
    expect(page.locator(".row")).to_have_count(1)
    eventually(page.locator(".facts code").inner_text, lambda found: json.dumps(odd)[1:-1] in json.dumps(found))
