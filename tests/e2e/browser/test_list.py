"""The list: order, live rows, search, address bar."""

import re
import time

import pytest
from mock import Mock
from playwright.sync_api import expect
from samples import checkout, segment, trace_id


def rows(page):
    return page.locator("table.traces tbody tr")


def names(page):
    return page.locator("td.trace a")


def three(source):
    """Three traces that differ in everything that can be searched for. Gives their ids."""
    now = time.time()
    ids = [trace_id(at) for at in range(3)]
    source.send(
        segment(ids[0], "alpha", now - 30, 0.05, http={"request": {"method": "GET", "url": "https://a.example/books/7"}, "response": {"status": 200}},
                annotations={"customer": "gold", "items": 3, "vip": True}),
        segment(ids[1], "beta", now - 20, 0.5, error=True, http={"request": {"method": "POST", "url": "https://b.example/orders"}, "response": {"status": 404}},
                annotations={"customer": "silver"}),
        segment(ids[2], "gamma", now - 10, 5, fault=True, http={"request": {"method": "PUT", "url": "https://c.example/pay"}, "response": {"status": 503}},
                cause={"exceptions": [{"type": "Timeout", "message": "the acquirer slept"}]},
                subsegments=[{"id": "00000000000000aa", "name": "db", "namespace": "remote", "start_time": now - 9, "end_time": now - 8, "sql": {"sanitized_query": "SELECT wonder FROM lamp"}}]),
    )
    source.wait_total(3)
    return ids


def test_newest_first_with_all_columns(source, page, picture):
    three(source)
    expect(rows(page)).to_have_count(3)
    expect(names(page)).to_have_text(["gamma", "beta", "alpha"])
    expect(rows(page).first.locator("td:not(:first-child)")).to_have_text(["gamma PUT /pay c.example", "503 fault", "5.00\u202fs", "gamma", "2"])
    expect(page.locator("#summary")).to_have_text("3 traces")
    picture(page, "list-three")


def test_traces_come_without_a_reload(source, page, picture):
    expect(page.get_by_role("heading", name="No trace yet")).to_be_visible()
    picture(page, "empty")
    source.send(*checkout(seed=1))
    expect(rows(page)).to_have_count(1)
    page.evaluate("window.stays = true")
    source.send(*checkout(seed=2, ago=0.7))
    expect(rows(page)).to_have_count(2)
    expect(page.locator("tr.fresh")).to_have_count(2)
    assert page.evaluate("window.stays")


def test_focus_stays_on_its_row_when_others_come(source, page):
    three(source)
    expect(rows(page)).to_have_count(3)
    page.locator("td.trace a", has_text="beta").focus()
    source.send(segment(trace_id(9), "newest", time.time(), 0.1))
    expect(rows(page)).to_have_count(4)
    expect(page.locator("td.trace a:focus")).to_have_text("beta")
    page.keyboard.press("ArrowUp")
    expect(page.locator("td.trace a:focus")).to_have_text("gamma")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("gamma")
    page.go_back()
    expect(page.locator("td.trace a:focus")).to_have_text("gamma")


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("text", "books", ["alpha"]),
        ("text", "WONDER lamp", ["gamma"]),
        ("text", "acquirer", ["gamma"]),
        ("text", "silver", ["beta"]),
        ("text", "example", ["gamma", "beta", "alpha"]),
        ("service", "beta", ["beta"]),
        ("status", "fault", ["gamma"]),
        ("status", "error,ok", ["beta", "alpha"]),
        ("status", "404", ["beta"]),
        ("status", "5xx", ["gamma"]),
        ("min_duration", "400ms", ["gamma", "beta"]),
        ("max_duration", "0.5", ["beta", "alpha"]),
        ("annotation", "customer", ["beta", "alpha"]),
        ("annotation", "customer=gold", ["alpha"]),
        ("annotation", "items=3 & vip=true", ["alpha"]),
        ("annotation", "customer=gold & items=4", []),
    ],
)
def test_search(source, page, field, value, found):
    three(source)
    expect(rows(page)).to_have_count(3)
    input = page.locator(f"[name={field}]")
    input.select_option(value) if field == "service" else input.fill(value)
    if found:
        expect(page.locator("#summary")).to_have_text(f"{len(found)} of 3 traces")
        expect(names(page)).to_have_text(found)
    else:
        expect(page.get_by_text("No trace matches the filter.")).to_be_visible()
    # The address alone shows the same.
    expect(page).to_have_url(re.compile(f"{field}="))
    page.reload()
    expect(page.locator(f"[name={field}]")).to_have_value(value)
    expect(page.locator("#summary")).to_have_text(f"{len(found)} of 3 traces")
    if found:
        expect(names(page)).to_have_text(found)


@pytest.mark.parametrize("form", ["whole", "w3c", "beginning"])
def test_search_by_trace_id(source, page, form):
    wanted = three(source)[1]
    expect(rows(page)).to_have_count(3)
    page.locator("[name=id]").fill({"whole": wanted.upper(), "w3c": wanted[2:].replace("-", ""), "beginning": wanted[:30]}[form])
    expect(rows(page)).to_have_count(1)
    expect(names(page)).to_have_text(["beta"])


def test_what_does_not_match_does_not_come(source, page):
    three(source)
    page.locator("[name=status]").fill("fault")
    expect(rows(page)).to_have_count(1)
    source.send(segment(trace_id(8), "fine", time.time(), 0.1), segment(trace_id(9), "broken", time.time(), 0.1, fault=True))
    expect(rows(page)).to_have_count(2)
    expect(names(page)).to_have_text(["broken", "gamma"])


def test_a_filter_that_cannot_be_read_is_said(source, page):
    three(source)
    page.locator("[name=min_duration]").fill("soon")
    expect(page.get_by_role("alert")).to_contain_text("soon")
    page.locator("[name=min_duration]").fill("")
    expect(rows(page)).to_have_count(3)


def test_only_new_ones(source, page):
    three(source)
    expect(rows(page)).to_have_count(3)
    page.get_by_role("button", name="Only new ones").click()
    expect(page.get_by_text("No trace matches the filter.")).to_be_visible()
    source.send(segment(trace_id(9), "newest", time.time() + 1, 0.1))
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name="show all").click()
    expect(rows(page)).to_have_count(4)


def test_pause_and_go_on(source, page):
    three(source)
    expect(rows(page)).to_have_count(3)
    page.locator("#live").click()
    expect(page.locator("#live")).to_have_text("Paused")
    source.send(segment(trace_id(9), "newest", time.time(), 0.1))
    source.wait_total(4)
    expect(rows(page)).to_have_count(3)
    page.locator("#live").click()
    expect(page.locator("#live")).to_have_text("Live")
    expect(rows(page)).to_have_count(4)


def test_slash_goes_to_the_search(source, page):
    three(source)
    expect(rows(page)).to_have_count(3)
    page.keyboard.press("/")
    page.keyboard.type("books")
    expect(rows(page)).to_have_count(1)


def test_more_are_shown_when_asked_for(source, page):
    now = time.time()
    source.fill([segment(trace_id(at), f"s{at % 7}", now - at, 0.1)] for at in range(150))
    expect(page.locator("#summary")).to_have_text("150 traces")
    expect(rows(page)).to_have_count(100)
    page.get_by_role("button", name="Show 50 more").click()
    expect(rows(page)).to_have_count(150)
    expect(page.locator("button.more")).to_be_hidden()


# From a key to the painted rows, in milliseconds.
MEASURE = """async (word) => {
  const input = document.querySelector("[name=text]");
  const start = performance.now();
  input.value = word;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  await new Promise((done) => {
    const look = () => document.querySelector("#summary").textContent.startsWith("100 of") ? done() : requestAnimationFrame(look);
    look();
  });
  return performance.now() - start;
}"""


def test_ten_thousand_traces_stay_usable(source, page, picture):
    now = time.time()
    source.fill([segment(trace_id(at), f"s{at % 9}", now - at / 10, 0.1, annotations={"bucket": f"b{at % 100}x"})] for at in range(10_000))
    expect(page.locator("#summary")).to_have_text("10\u202f000 traces", timeout=60_000)
    picture(page, "list-10000")
    # The quickest of some, since other work on the machine only adds to it.
    times = []
    while len(times) < 3 or (min(times) > 200 and len(times) < 30):
        times.append(page.evaluate(MEASURE, f"b{len(times)}x"))
        page.locator("[name=text]").fill("")
        expect(page.locator("#summary")).to_have_text("10\u202f000 traces")
    print("filtered 10,000 traces in", [f"{time:.0f} ms" for time in times])
    # The stand-in takes longer than that by itself.
    assert min(times) <= 200 or isinstance(source.process, Mock)


HIDE = "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true }); document.dispatchEvent(new Event('visibilitychange')); }"


def test_a_hidden_page_gives_its_stream_back(source, page):
    """A browser has few connections to one server, and each open stream holds one."""
    three(source)
    expect(rows(page)).to_have_count(3)
    with page.expect_event("requestfailed", lambda asked: asked.url.endswith("/api/events")):
        page.evaluate(HIDE, True)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    source.send(segment(trace_id(9), "newest", time.time(), 0.1))
    source.wait_total(4)
    # Had it a stream, or asked for one, that would have come before this.
    page.evaluate("fetch('/page/icon.svg').then(() => 0)")
    assert [url.rsplit("/", 1)[1] for url in asked] == ["icon.svg"]
    expect(rows(page)).to_have_count(3)
    page.evaluate(HIDE, False)
    expect(rows(page)).to_have_count(4)


def test_too_many_streams(source, page):
    """One that is refused is asked for again, and what came meanwhile is shown then."""
    page.route("**/api/events", lambda route: route.fulfill(status=503, json={"error": "there are 16 streams already"}))
    page.reload()
    expect(page.locator("#live")).to_have_text("Connecting")
    three(source)
    source.wait_total(3)
    page.unroute("**/api/events")
    expect(page.locator("#live")).to_have_text("Live")
    expect(rows(page)).to_have_count(3)


def test_a_daemon_that_does_not_answer(source, page):
    three(source)
    expect(rows(page)).to_have_count(3)
    page.route("**/api/**", lambda route: route.abort())
    page.locator("[name=text]").fill("alpha")
    expect(page.get_by_role("alert")).to_have_text("The daemon does not answer. The page goes on when it is back.")
    # What was there stays to be read.
    expect(rows(page)).to_have_count(3)
    page.unroute("**/api/**")
    page.evaluate(HIDE, True)
    page.evaluate(HIDE, False)
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_role("alert")).to_have_count(0)
