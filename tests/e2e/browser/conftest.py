"""Fixtures: a daemon that shows traces, and Chromium in front of its page."""

import json
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from mock import Mock
from playwright.sync_api import expect, sync_playwright
from samples import Sender

ROOT = Path(__file__).resolve().parents[3]
PICTURES = ROOT / "target/browser"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]

# What is expected is waited for, never slept for; this is for slow and busy machines.
expect.set_options(timeout=20_000)


def pytest_addoption(parser):
    parser.addoption("--mock", action="store_true", help="test the page in front of a stand-in for the daemon")
    parser.addoption("--chromium", default="chromium", help="the browser")


class Source:
    """What shows the page: takes segments by UDP, answers on `url`."""

    def __init__(self, process):
        self.process = process
        self.url = f"http://127.0.0.1:{process.tcp}"
        self.send = Sender(process.udp)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def post_spans(self, request):
        """Sends spans as OTLP/JSON."""
        body = json.dumps(request).encode()
        headers = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(self.url + "/v1/traces", body, headers), timeout=60).close()

    def fill(self, traces):
        """Sends lists of documents no faster than they are taken."""
        sent = self.get("/api/traces?limit=0")["total"]
        for at, documents in enumerate(traces):
            self.send(*documents)
            sent += 1
            if at % 20 == 19:
                self.wait_total(sent)
        self.wait_total(sent)

    def wait_total(self, count):
        for _ in range(5000):
            if self.get("/api/traces?limit=0")["total"] >= count:
                return
        raise AssertionError(f"no {count} traces came")


@pytest.fixture
def source(request):
    if request.config.getoption("--mock"):
        mock = Mock()
        yield Source(mock)
        mock.stop()
    else:
        start = request.getfixturevalue("start_daemon")
        yield Source(start("http://127.0.0.1:9", "--exporter", "console"))


@pytest.fixture
def real(request):
    """For tests of what the stand-in cannot do."""
    if request.config.getoption("--mock"):
        pytest.skip("needs the daemon")


@pytest.fixture(scope="session")
def chromium(request):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(request.config.getoption("--chromium")), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, source):
    """Opens pages. None may report an error, or ask anybody but the daemon."""
    contexts, faults = [], []

    def listen(page):
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
        page.on("console", lambda message: message.type in ("error", "warning") and not refused(message) and faults.append(message.text))
        page.on("request", lambda asked: asked.url.startswith(source.url + "/") or faults.append(f"asked {asked.url}"))

    def start(path="/", **options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        listen(page)
        page.goto(source.url + path)
        return page

    start.faults = faults
    yield start
    for context in contexts:
        context.close()
    assert faults == []


def refused(message):
    """Chromium reports each answer of 400 and above, and tests ask for some."""
    return re.match(r"Failed to load resource: .* (400|404|503|net::ERR_FAILED)|^Failed to load resource: net::ERR_FAILED", message.text)


@pytest.fixture
def page(open_page):
    return open_page()


@pytest.fixture
def picture(request):
    """Keeps a picture of a page in target/browser."""

    def take(page, name):
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png")

    return take
