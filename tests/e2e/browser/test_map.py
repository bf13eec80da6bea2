"""The service map."""

import time

from playwright.sync_api import expect
from samples import checkout, segment, trace_id
from waits import box, eventually


def card(page, name):
    return page.locator(".node", has_text=name)


def cells(page, name):
    return page.locator("table.numbers tr.service", has_text=name).locator("td").all_inner_texts


def test_who_calls_whom_how_often_and_how_well(source, page, picture):
    now = time.time()
    for number in range(10):
        trace = trace_id(number)
        call = f"{number + 1:08x}0000ca11"
        root = segment(trace, "web", now - 60 + number, 0.2, fault=number == 0, subsegments=[
            {"id": call, "name": "api.internal", "namespace": "remote", "start_time": now - 60 + number, "end_time": now - 60 + number + 0.1, "fault": number == 0},
            {"id": f"{number + 1:08x}0000dddd", "name": "DynamoDB", "namespace": "aws", "start_time": now - 60 + number, "end_time": now - 60 + number + 0.01, "throttle": number < 3, "error": number < 3}])
        answer = {**segment(trace, "api", now - 60 + number, 0.1, fault=number == 0), "id": f"{number + 1:08x}0000beef", "parent_id": call}
        source.send(root, answer)
    source.wait_total(10)
    page.goto(f"{source.url}/?view=map")
    expect(page.locator(".node")).to_have_count(4)
    expect(page.locator(".edge")).to_have_count(3)
    expect(card(page, "web")).to_contain_text("10/min")
    expect(card(page, "web")).to_contain_text("10%")
    expect(card(page, "DynamoDB")).to_contain_text("30%")
    # Callers stand left of whom they call.
    places = lambda: [box(card(page, name))["x"] for name in ("client", "web", "DynamoDB")]
    eventually(places, lambda found: found == sorted(found) and len(set(found)) == 3)
    eventually(cells(page, "web"), lambda found: found[1:6] == ["10", "10/min", "1", "0", "0"])
    eventually(cells(page, "DynamoDB"), lambda found: found[1:6] == ["10", "10/min", "0", "0", "3"])
    eventually(cells(page, "api"), lambda found: found[6:8] == ["100\u202fms", "100\u202fms"])
    picture(page, "map-small")


def test_a_card_leads_to_its_traces(source, page):
    source.send(segment(trace_id(1), "one", time.time(), 0.1), segment(trace_id(2), "two", time.time(), 0.1))
    source.wait_total(2)
    page.get_by_role("link", name="Service map").click()
    expect(page.locator(".node")).to_have_count(3)
    page.locator("a.node", has_text="two").focus()
    page.keyboard.press("Enter")
    expect(page.locator("[name=service]")).to_have_value("two")
    expect(page.locator("#summary")).to_have_text("1 of 2 traces")


def test_the_map_is_live_and_filtered(source, page, picture):
    source.send(segment(trace_id(1), "one", time.time(), 0.1))
    source.wait_total(1)
    page.get_by_role("link", name="Service map").click()
    expect(page.locator(".node")).to_have_count(2)
    source.send(*checkout(seed=3))
    expect(page.locator(".node")).to_have_count(8)
    picture(page, "map")
    page.locator("[name=service]").select_option("orders")
    expect(page.locator(".node")).to_have_count(7)
    page.locator("[name=text]").fill("nothing like this")
    expect(page.get_by_text("No trace matches the filter")).to_be_visible()


def test_circles_and_calls_to_itself(source, page, picture):
    now = time.time()
    trace = trace_id(1)
    part = lambda id, name, parent, **more: {"trace_id": trace, "id": f"{id:016x}", "name": name, "start_time": now, "end_time": now + 0.1, **({"parent_id": f"{parent:016x}"} if parent else {}), **more}
    call = lambda id: [{"id": f"{id:016x}", "name": "x", "namespace": "remote", "start_time": now, "end_time": now + 0.1}]
    source.send(part(1, "a", None, subsegments=call(2)), part(3, "b", 2, subsegments=call(4)), part(5, "a", 4, subsegments=call(6)), part(7, "a", 6))
    source.wait_total(1)
    page.goto(f"{source.url}/?view=map")
    expect(page.locator(".node")).to_have_count(3)
    expect(page.locator(".edge")).to_have_count(4)
    picture(page, "map-circle")
