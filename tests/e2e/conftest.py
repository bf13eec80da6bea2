"""Fixtures: one daemon for each test, and the X-Ray that it sends to."""

import os
import sys
from pathlib import Path

import pytest

# Before any SDK is imported: nothing may reach for the machine's own settings.
for name in [name for name in os.environ if name.startswith(("AWS_", "OTEL_"))]:
    del os.environ[name]

sys.dont_write_bytecode = True

from backend import Backend  # noqa: E402
from processes import Daemon, Moto  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def pytest_addoption(parser):
    parser.addoption("--xray", default=str(ROOT / "target/release/xray"), help="binary under test")
    parser.addoption("--image", help="container image under test, by Docker")


@pytest.fixture(scope="session")
def artifact(request):
    image = request.config.getoption("--image")
    if image:
        return {"image": image}
    return {"xray": str(Path(request.config.getoption("--xray")).resolve())}


@pytest.fixture
def start_daemon(artifact):
    """Starts daemons; each must end with status 0 when the test is over."""
    daemons = []

    def start(endpoint, *arguments):
        daemons.append(Daemon(artifact, endpoint, *arguments))
        return daemons[-1]

    yield start
    for daemon in daemons:
        code = daemon.stop()
        print(daemon)
        assert code == 0


@pytest.fixture
def backend():
    backend = Backend()
    yield backend
    backend.close()
    assert backend.faults == []


@pytest.fixture
def daemon(backend, start_daemon):
    """A daemon that sends to `backend`."""
    return start_daemon(backend.url)


@pytest.fixture
def moto():
    moto = Moto(sys.executable)
    yield moto
    moto.stop()
