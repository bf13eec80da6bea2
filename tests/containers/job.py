"""`xray exec` in a container of one process: the job's own image with /xray copied into it, as for AWS Batch."""

import os
import sys

from harness import HERE, HOST_IMAGE, WORK, XRAY_HOST, Cloud, Container, Network, all_arrived, docker, eventually, expect, stop, test, totals
from image import contents
from operations import KEYS


def world(image):
    binary = WORK / "xray-of-the-image"
    binary.write_bytes(contents(image)["xray"][1])
    binary.chmod(0o755)
    network = Network("--subnet", "169.254.170.0/24")
    cloud = Cloud("--network", network.name, "--ip", "169.254.170.2", "--network-alias", XRAY_HOST)
    return binary, network, cloud


def job(binary, network, cloud, *command, options=()):
    """The first process of the container is xray, and it starts the program."""
    mounts = ["-v", "/usr:/usr:ro", "-v", f"{HERE}:/tests:ro", "-v", f"{binary}:/xray:ro"]
    mounts += ["-v", f"{cloud.folder / 'ca.pem'}:/etc/ssl/certs/ca-certificates.crt:ro"]
    if not sys.base_prefix.startswith("/usr"):
        mounts += ["-v", f"{sys.base_prefix}:{sys.base_prefix}:ro"]
    return Container(
        HOST_IMAGE, "/xray", "exec", *command,
        options=[*mounts, "--network", network.name, *KEYS, "-e", "PYTHONUNBUFFERED=1", *options],
    )


INTERPRETER = os.path.realpath(sys.executable)
LOAD = [INTERPRETER, "/tests/load.py"]


@test
def a_job_loses_nothing_and_ends_with_its_status(image):
    binary, network, cloud = world(image)
    short = job(binary, network, cloud, "--", *LOAD, "50", "0.2")
    expect(short.exit_code() == 0, short.logs())
    all_arrived(cloud, short.output(), 1)
    for script, status in (("exit 7", 7), ("kill -KILL $$", 137)):
        ended = job(binary, network, cloud, "--", "/bin/sh", "-c", script)
        expect(ended.exit_code() == status, f"{script}: {ended.exit_code()}: {ended.logs()}")
    absent = job(binary, network, cloud, "--", "/no/such/program")
    expect(absent.exit_code() == 127, absent.logs())


@test
def a_job_that_is_stopped_delivers_within_its_grace(image):
    binary, network, cloud = world(image)
    running = job(binary, network, cloud, "--", *LOAD, "20", "600")
    eventually(running.output, "the first segment")
    code, took = stop(running)
    expect(code == 0 and took < 10, f"{code} after {took:.1f} s: {running.logs()}")
    all_arrived(cloud, running.output(), 1)
    expect(totals(running.logs())["spilled"] == 0, running.logs())


@test
def a_job_that_ignores_the_signal_has_delivered_when_it_is_killed(image):
    binary, network, cloud = world(image)
    script = f"trap '' TERM; {' '.join(LOAD)} 50 0.2; echo sent >&2; while :; do /usr/bin/sleep 1; done"
    running = job(binary, network, cloud, "--", "/bin/sh", "-c", script)
    eventually(lambda: "sent" in running.logs().splitlines(), "all segments sent")
    docker("kill", "-s", "TERM", running.name)
    all_arrived(cloud, running.output(), 5)
    expect(running.running(), "it ignores the signal")


@test
def a_job_leaves_no_zombies(image):
    binary, network, cloud = world(image)
    script = "for n in 1 2 3 4 5; do (/bin/sh -c 'exit 0' &); done; /usr/bin/sleep 1; grep -l '^State:.Z' /proc/[0-9]*/status; echo looked"
    looked = job(binary, network, cloud, "--", "/bin/sh", "-c", script)
    expect(looked.exit_code() == 0 and looked.output() == ["looked"], looked.logs())
