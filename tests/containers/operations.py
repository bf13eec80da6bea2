"""What operators do to it: limits, stops, restarts, networks that fail and move."""

import http.client
import json
import time

from harness import (
    WORK, XRAY_HOST, Cloud, Network, all_arrived, daemon, docker, eventually, expect, python, stop, test, totals,
)

KEYS = ["-e", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/task", "-e", "AWS_REGION=eu-west-1"]
HARDENED = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--pids-limit=32"]
SMALL = ["--memory=16m", "--memory-swap=16m", "--cpus=0.1"]


class Stage:
    """A network of its own with the fake AWS in it, and the daemon as `xray-daemon`."""

    def __init__(self, image, *options, command=()):
        self.network = Network("--subnet", "169.254.170.0/24")
        self.cloud = Cloud("--network", self.network.name, "--ip", "169.254.170.2", "--network-alias", XRAY_HOST)
        self.xray = daemon(image, *command, cloud=self.cloud, options=[
            "--network", self.network.name, "--network-alias", "xray-daemon", *KEYS, *options,
        ])

    def load(self, rate, seconds):
        address = ["-e", "AWS_XRAY_DAEMON_ADDRESS=xray-daemon:2000"]
        return python(["--network", self.network.name], "load.py", rate, seconds, options=address)

    def delivered(self):
        return eventually(self.cloud.ids, "the first segments at X-Ray")


def lives_in_little(image, user):
    stage = Stage(image, *HARDENED, *SMALL, "--user", user)
    load = stage.load(100, 10)
    load.exit_code(60)
    all_arrived(stage.cloud, load.output(), 60)
    expect(stage.xray.inspect("{{.State.OOMKilled}}") == "false", "killed for memory")
    code, _ = stop(stage.xray)
    expect(code == 0, f"exit {code}: {stage.xray.logs()}")
    counts = totals(stage.xray.logs())
    expect(counts["held"] == 0 and counts["received"] == counts["sent"] > 0, f"{counts}")


@test
def lives_in_16_mb_and_a_tenth_of_a_core(image):
    lives_in_little(image, "10001")


@test
def lives_there_as_a_user_nobody_knows(image):
    """App Mesh and OpenShift choose the user."""
    lives_in_little(image, "1337")


def stopped_under_load(image, signal):
    stage = Stage(image)
    load = stage.load(500, 60)
    stage.delivered()
    code, took = stop(stage.xray, signal)
    docker("kill", "-s", "TERM", load.name)
    counts = totals(stage.xray.logs())
    arrived = stage.cloud.ids()
    expect(code == 0, f"exit {code}: {stage.xray.logs()}")
    expect(took < 2, f"{took:.1f} s with a healthy backend")
    expect(counts["received"] > 0 and counts["sent"] == counts["received"] == len(arrived), f"{counts}, {len(arrived)} arrived")
    expect(len(arrived) == len(set(arrived)), "segments arrived twice")


@test
def docker_stop_under_load_loses_nothing(image):
    stopped_under_load(image, "TERM")


@test
def interrupt_under_load_loses_nothing(image):
    stopped_under_load(image, "INT")


@test
def health_follows_the_tcp_port(image):
    """As ECS runs it, and as Docker does; no shell in sight."""
    checked = "xray-e2e-healthcheck:latest"
    dockerfile = f'FROM {image}\nHEALTHCHECK --interval=1s --timeout=2s --retries=2 CMD ["/xray", "healthcheck"]\n'
    folder = WORK / "healthcheck"
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    docker("build", "-q", "-t", checked, folder)
    stage = Stage(checked, *HARDENED)
    status = lambda: stage.xray.inspect("{{.State.Health.Status}}")
    eventually(lambda: status() == "healthy", "healthy")
    docker("exec", stage.xray.name, "/xray", "healthcheck")
    refuse = ["-p", "tcp", "--dport", "2000", "-j", "REJECT", "--reject-with", "tcp-reset"]
    stage.xray.enter("iptables", "-A", "INPUT", *refuse)
    eventually(lambda: status() == "unhealthy", "unhealthy once TCP 2000 answers nobody")
    [last] = json.loads(stage.xray.inspect("{{json .State.Health.Log}}"))[-1:]
    expect(last["ExitCode"] == 1 and last["Output"].strip().count("\n") == 0, f"one line and 1, but: {last}")
    stage.xray.enter("iptables", "-D", "INPUT", *refuse)
    eventually(lambda: status() == "healthy", "healthy again")


@test
def health_and_metrics_by_http(image):
    """As Kubernetes, a load balancer and Prometheus ask."""
    stage = Stage(image)
    address = stage.xray.address(stage.network)
    eventually(lambda: http_get(address, "/healthz")[0] == 200, "a healthy answer")
    status, text = http_get(address, "/metrics")
    expect(status == 200 and "xray_build_info{" in text, f"{status}: {text}")


def http_get(address, path):
    """From this machine, which is on every Docker network."""
    connection = http.client.HTTPConnection(address, 2000, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError as error:
        return 0, str(error)


@test
def a_partition_of_30_seconds_loses_nothing(image):
    stage = Stage(image)
    load = stage.load(200, 45)
    stage.delivered()
    stage.cloud.cut("eth0")
    time.sleep(30)
    before = len(stage.cloud.ids())
    stage.cloud.heal("eth0")
    load.exit_code(60)
    all_arrived(stage.cloud, load.output(), 60)
    expect(len(load.output()) - before > 4000, "nothing was held: the partition was none")
    code, _ = stop(stage.xray)
    counts = totals(stage.xray.logs())
    expect(code == 0 and counts["spilled"] == counts["rejected"] == counts["held"] == 0, f"exit {code}, {counts}")


@test
def everything_may_be_restarted(image):
    """The application, the daemon, and X-Ray under another address: nobody lends a hand."""
    stage = Stage(image)
    first = stage.load(50, 2)
    first.exit_code()
    again = stage.load(50, 2)
    again.exit_code()
    all_arrived(stage.cloud, first.output() + again.output())

    docker("restart", stage.xray.name)
    after_restart = stage.load(50, 2)
    after_restart.exit_code()
    all_arrived(stage.cloud, after_restart.output())

    # X-Ray moves; the metadata service, which never does, keeps its address.
    docker("network", "disconnect", stage.network.name, stage.cloud.container.name)
    docker(
        "network", "connect", "--ip", "169.254.170.77", "--alias", XRAY_HOST, stage.network.name,
        stage.cloud.container.name,
    )
    [interface] = [
        line.split()[1] for line in stage.cloud.container.enter("ip", "-o", "-4", "address").splitlines()
        if " 169.254.170.77/" in line
    ]
    stage.cloud.container.enter("ip", "address", "add", "169.254.170.2/24", "dev", interface)
    moved = stage.load(50, 2)
    moved.exit_code()
    all_arrived(stage.cloud, moved.output(), 90)
    expect(stage.cloud.seen()["problems"] == [], f"X-Ray found fault: {stage.cloud.seen()['problems']}")
