"""A trace of two services, recorded by the X-Ray SDKs for Python and Node."""

import os
import subprocess

import pytest
from aws_xray_sdk.core import AWSXRayRecorder
from conftest import ROOT
from playwright.sync_api import expect


def test_python_calls_node(source, page, picture):
    address = f"tcp:127.0.0.1:{source.process.tcp} udp:127.0.0.1:{source.process.udp}"
    recorder = AWSXRayRecorder()
    recorder.configure(daemon_address=address, service="shop", context_missing="RUNTIME_ERROR", sampling=False)
    segment = recorder.begin_segment("shop")
    segment.put_http_meta("method", "POST")
    segment.put_http_meta("url", "http://shop.example/päth?q=<>&")
    segment.put_http_meta("status", 500)
    segment.put_annotation("customer", "Zoë ñ 🦀")
    with recorder.in_subsegment("stock.internal", namespace="remote") as call:
        environment = {"PATH": os.environ["PATH"], "NODE_PATH": str(ROOT / "target/e2e-node/node_modules"), "AWS_XRAY_DAEMON_ADDRESS": address}
        subprocess.run(["node", ROOT / "tests/e2e/node/callee.js", segment.trace_id, call.id], env=environment, check=True, timeout=60)
    # The callee's part is here before its caller's.
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator(".flags")).to_have_text("partial")
    with pytest.raises(ValueError), recorder.in_subsegment("payment"):
        raise ValueError("número inválido")
    recorder.end_segment()

    expect(page.locator("td.trace")).to_contain_text("shop POST /päth shop.example")
    expect(page.locator(".flags")).to_have_text("")
    expect(page.locator("td.status")).to_have_text("500 fault")
    page.locator("td.trace a").click()
    expect(page.locator(".row b")).to_have_text(["shop", "stock.internal", "stock", "reserve", "payment"])
    page.locator(".row", has_text="payment").click()
    details = page.locator("aside.details")
    expect(details).to_contain_text("número inválido")
    expect(details).to_contain_text("test_python_calls_node")
    page.locator(".row", has_text="reserve").click()
    expect(details).to_contain_text("shelf 7 is empty")
    expect(details).to_contain_text("callee.js")
    picture(page, "sdks")
    page.get_by_role("link", name="Service map").click()
    expect(page.locator(".node .words b")).to_have_text(["client", "shop", "stock"])
