"""The AWS X-Ray SDK for Node through the daemon: centralized sampling, and a segment."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MODULES = HERE.parents[1] / "target/e2e-node/node_modules"


@pytest.mark.skipif(not shutil.which("npm"), reason="needs node and npm")
def test_sampling_and_a_segment(backend, daemon):
    node = subprocess.Popen(
        ["node", HERE / "node/app.js"],
        env={
            "PATH": os.environ["PATH"],
            "NODE_PATH": str(MODULES),
            "AWS_XRAY_DAEMON_ADDRESS": daemon.address,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        [document] = backend.wait_documents(1)
        assert document == node.stdout.readline().rstrip("\n")
        assert json.loads(document)["name"] == "shop 雪"

        # The SDK reports ten seconds after a rule has matched.
        _, body = backend.wait_call("/SamplingTargets")
        [statistics] = json.loads(body)["SamplingStatisticsDocuments"]
        assert statistics["RuleName"] == "always-the-shop"
    finally:
        node.kill()
        node.communicate()
