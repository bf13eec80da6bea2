"""What people need who use a keyboard, a screen reader, a phone, or the dark."""

import time

import pytest
from conftest import ROOT
from playwright.sync_api import expect
from samples import checkout, segment, trace_id
from waits import eventually

AXE = ROOT / "target/e2e-node/node_modules/axe-core/axe.min.js"


def check(page):
    """No rule of WCAG 2.2 A and AA, or of good practice, that axe can check is broken."""
    # Bars that grow into their place have no settled colours.
    page.wait_for_function("document.getAnimations().every((animation) => animation.playState === 'finished')")
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert [(v["id"], v["impact"], [node["html"][:200] + " " + node["failureSummary"] for node in v["nodes"][:3]]) for v in found["violations"]] == []


LOOKS = {"light": {"color_scheme": "light"}, "dark": {"color_scheme": "dark"}, "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}}


@pytest.fixture(params=LOOKS)
def look(request):
    return request.param


def test_empty(open_page, look, picture):
    page = open_page(**LOOKS[look])
    expect(page.get_by_role("heading", name="No trace yet")).to_be_visible()
    picture(page, f"empty-{look}")
    check(page)


def test_all_views(source, open_page, look, picture):
    source.fill(checkout(seed=seed, ago=400 - seed * 10) for seed in range(40))
    source.send(segment(trace_id(1), "job", time.time() - 3, 0, in_progress=True), {**segment(trace_id(2), "callee", time.time() - 4, 0.2), "parent_id": "00000000000000aa"})
    source.wait_total(42)
    page = open_page(**LOOKS[look])
    expect(page.locator("tbody tr")).to_have_count(42)
    picture(page, f"list-{look}")
    check(page)
    page.locator("tr:has(.pill.fault) td.trace a").first.click()
    expect(page.locator(".row").first).to_be_visible()
    picture(page, f"trace-{look}")
    check(page)
    page.locator(".row", has_text="payments").last.click()
    expect(page.locator("aside.details .exception")).to_be_visible()
    page.get_by_text("Raw JSON").click()
    page.locator("aside.details").evaluate("(pane) => (pane.scrollTop = 0)")
    picture(page, f"details-{look}")
    check(page)
    page.keyboard.press("Escape")
    page.goto(f"{source.url}/?view=map")
    expect(page.locator(".node").first).to_be_visible()
    picture(page, f"map-{look}")
    check(page)
    if look == "phone":
        for path in ("/", "/?view=map"):
            page.goto(source.url + path)
            expect(page.locator("tbody tr").first).to_be_visible()
            eventually(lambda: page.evaluate("document.documentElement.scrollWidth"), lambda found: found <= 390)


def test_by_keyboard_alone(source, page):
    source.send(*checkout(seed=1))
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("body").press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.locator("td.trace a")).to_be_focused()
    page.keyboard.press("Enter")
    # The focus is where the new view begins, and the waterfall is one stop.
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    # The rows come a moment later, when the trace has been fetched.
    expect(page.locator(".row b").first).to_have_text("web-frontend")
    for _ in range(12):
        if page.evaluate("document.activeElement.getAttribute('role')") == "row":
            break
        page.keyboard.press("Tab")
    expect(page.locator(".row:focus b")).to_have_text("web-frontend")
    page.keyboard.press("Enter")
    expect(page.locator("aside.details")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("aside.details :focus")).to_have_count(1)


def test_what_is_said_aloud(source, page):
    source.send(segment(trace_id(1), "one", time.time(), 0.1), segment(trace_id(2), "two", time.time(), 0.1))
    expect(page.locator("tbody tr")).to_have_count(2)
    page.locator("[name=text]").fill("one")
    expect(page.get_by_role("status")).to_have_text("1 of 2 traces shown")
    # What comes by itself is not said.
    source.send(segment(trace_id(3), "one more", time.time(), 0.1))
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.get_by_role("status")).to_have_text("1 of 2 traces shown")


def test_theme_is_kept(source, page):
    colour = lambda: page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    light = colour()
    page.locator("#theme").click()
    page.locator("#theme").click()
    expect(page.locator("#theme")).to_have_accessible_name("Theme: dark")
    dark = eventually(colour, lambda found: found != light)
    page.reload()
    expect(page.locator("#theme")).to_have_accessible_name("Theme: dark")
    eventually(colour, lambda found: found == dark)
