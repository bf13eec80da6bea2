"""Docker as the tests use it: private networks, the fake AWS, an application, the daemon under test.

Nothing is pulled. Containers of this machine's programs are empty images with its /usr mounted read-only.
"""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target/containers"
PACKAGES = WORK / "packages"
CLOUD = WORK / "cloud"
LABEL_NAME = "xray-e2e"
LABEL = f"{LABEL_NAME}={os.getpid()}"
HOST_IMAGE = "xray-e2e-host:latest"
XRAY_HOST = "xray.eu-west-1.amazonaws.com"
STS_HOST = "sts.eu-west-1.amazonaws.com"
SDK = "aws-xray-sdk==2.15.0"
names = iter(range(1, 10_000))
folders = []


def test(function):
    """Marks what run.py runs. Its docstring says what it shows."""
    function.is_test = True
    return function


class Failed(AssertionError):
    """What a test found wrong."""


def docker(*arguments, check=True, timeout=120):
    done = subprocess.run(["docker", *map(str, arguments)], capture_output=True, text=True, timeout=timeout)
    if check and done.returncode:
        raise Failed(f"docker {' '.join(map(str, arguments))}: {done.stderr.strip() or done.stdout.strip()}")
    return (done.stdout + done.stderr if not check else done.stdout).strip()


def eventually(question, what, seconds=20):
    """The answer to `question` as soon as it is true; a failure that says `what` when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise Failed(f"after {seconds} s still not: {what}")
        time.sleep(0.05)


def expect(truth, what):
    if not truth:
        raise Failed(what)


def set_up(image, cloud):
    """What all tests share: an empty image, the fake AWS, the SDK's packages."""
    remove_leftovers()
    WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "root.tar"
        with tarfile.open(archive, "w") as tar:
            for name in ("bin", "lib", "lib64", "sbin"):
                if Path("/", name).is_symlink():
                    link = tarfile.TarInfo(name)
                    link.type, link.linkname = tarfile.SYMTYPE, os.readlink(f"/{name}")
                    tar.addfile(link)
        docker("import", archive, HOST_IMAGE)
    shutil.copy(cloud, CLOUD)
    if not PACKAGES.exists():
        venv = WORK / "new-venv"
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "-q", "--disable-pip-version-check", SDK], check=True)
        next(venv.glob("lib/python3*/site-packages")).rename(PACKAGES)
    docker("image", "inspect", image)


def remove_runs(belongs):
    """Removes the containers, networks and volumes of each run whose process number satisfies `belongs`."""
    for kind, name, remove in (("ps -a", "ID", "rm -f"), ("network ls", "ID", "network rm"), ("volume ls", "Name", "volume rm")):
        form = f'{{{{.{name}}}}} {{{{.Label "{LABEL_NAME}"}}}}'
        lines = docker(*kind.split(), "--filter", f"label={LABEL_NAME}", "--format", form).splitlines()
        found = [one for one, run in map(str.split, lines) if belongs(int(run))]
        if found:
            docker(*remove.split(), *found, check=False)


def has_ended(run):
    """Whether that process is no test run. Its number may be another program's by now."""
    try:
        return b"run.py" not in Path(f"/proc/{run}/cmdline").read_bytes()
    except OSError:
        return True


def remove_leftovers():
    """A run that was killed leaves networks whose addresses the next one needs."""
    remove_runs(has_ended)


def tear_down():
    remove_runs(os.getpid().__eq__)
    while folders:
        shutil.rmtree(folders.pop())


def show_containers():
    """The end of every log, for whoever reads about a failure."""
    for name in docker("ps", "-a", "--filter", f"label={LABEL}", "--format", "{{.Names}} {{.Image}}").splitlines():
        print(f"--- {name}\n{docker('logs', '--tail', 30, name.split()[0], check=False)}", flush=True)


class Network:
    """A network that leads nowhere else; one that is not `internal` may carry other networks' packets."""

    def __init__(self, *options, internal=True):
        if internal:
            options = ("--internal", *options)
        self.name = f"xray-e2e-{os.getpid()}-{next(names)}"
        self.ipv6 = "--ipv6" in options
        docker("network", "create", "--label", LABEL, *options, self.name)

    def subnet(self):
        return docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", self.name)


class Container:
    """`also` are further networks, joined before the start: [(network, option, ...), ...]."""

    def __init__(self, image, *command, options=(), also=()):
        self.name = f"xray-e2e-{os.getpid()}-{next(names)}"
        docker("create", "--name", self.name, "--label", LABEL, *options, image, *command)
        for network, *how in also:
            docker("network", "connect", *how, network.name, self.name)
        docker("start", self.name)

    def logs(self):
        return docker("logs", self.name, check=False)

    def output(self):
        """Standard output alone, whole lines."""
        done = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True)
        return done.stdout.splitlines()

    def inspect(self, template):
        return docker("inspect", "-f", template, self.name)

    def running(self):
        return self.inspect("{{.State.Running}}") == "true"

    def exit_code(self, seconds=30):
        return int(docker("wait", self.name, timeout=seconds))

    def address(self, network):
        key = "GlobalIPv6Address" if network.ipv6 else "IPAddress"
        return self.inspect(f'{{{{(index .NetworkSettings.Networks "{network.name}").{key}}}}}')

    def enter(self, *command):
        """Runs a program of this machine in the container's network."""
        done = subprocess.run(
            ["nsenter", "-t", self.inspect("{{.State.Pid}}"), "-n", *command], capture_output=True, text=True,
        )
        expect(done.returncode == 0, f"{' '.join(command)}: {done.stderr}")
        return done.stdout


def place(*options, also=()):
    """A container that does nothing but have a network."""
    return Container(HOST_IMAGE, "/usr/bin/sleep", "infinity", options=["-v", "/usr:/usr:ro", *options], also=also)


def python(network, script, *arguments, options=(), also=()):
    """A container in which this machine's Python runs one of the scripts beside this file."""
    interpreter = os.path.realpath(sys.executable)
    mounts = ["-v", "/usr:/usr:ro", "-v", f"{HERE}:/tests:ro", "-v", f"{PACKAGES}:/site:ro"]
    if not sys.base_prefix.startswith("/usr"):
        mounts += ["-v", f"{sys.base_prefix}:{sys.base_prefix}:ro"]
    return Container(
        HOST_IMAGE, interpreter, f"/tests/{script}", *arguments,
        options=[*mounts, *network, "-e", "PYTHONPATH=/site", "-e", "PYTHONUNBUFFERED=1", *options],
        also=also,
    )


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("control", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


class Cloud:
    """The fake AWS. `network` are docker's options for where it is."""

    def __init__(self, *network, also=(), **settings):
        # Short, because the path of a Unix socket must be.
        self.folder = Path(tempfile.mkdtemp(prefix="xray-e2e-"))
        folders.append(self.folder)
        mounts = ["-v", "/usr:/usr:ro", "-v", f"{CLOUD}:/cloud:ro", "-v", f"{self.folder}:/run/test"]
        self.container = Container(HOST_IMAGE, "/cloud", "/run/test", options=[*mounts, *network], also=also)
        eventually((self.folder / "control").exists, "the fake AWS runs")
        self.set(**settings)

    def ask(self, method, body=None):
        connection = UnixConnection(self.folder / "control")
        connection.request(method, "/", body)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def set(self, **settings):
        self.ask("POST", json.dumps(settings))

    def seen(self):
        return self.ask("GET")

    def ids(self):
        return [json.loads(document)["id"] for document in self.seen()["documents"]]

    def cut(self, interface):
        self.container.enter("ip", "link", "set", interface, "down")

    def heal(self, interface):
        self.container.enter("ip", "link", "set", interface, "up")


def daemon(image, *command, cloud=None, options=(), also=()):
    """The daemon under test, with the CA of its cloud where users mount theirs."""
    mounted = ["-v", f"{cloud.folder / 'ca.pem'}:/etc/ssl/certs/ca-certificates.crt:ro"] if cloud else []
    return Container(image, *command, options=[*mounted, *options], also=also)


def stop(container, signal="TERM", seconds=30):
    """Sends the signal; gives the exit code and how long it took."""
    started = time.monotonic()
    docker("kill", "-s", signal, container.name)
    return container.exit_code(seconds), time.monotonic() - started


def totals(log):
    """What the daemon's last line says: how many were received, and what became of them."""
    lines = [line for line in log.splitlines() if "Totals: " in line]
    expect(lines, f"the daemon's last words are missing:\n{log}")
    words = re.findall(r"([a-z ]+?) (\d+)", lines[-1].split("Totals: ")[1])
    return {word.strip(): int(number) for word, number in words}


def all_arrived(cloud, sent, seconds=30):
    """Waits until X-Ray has every one of these segments."""
    expect(sent, "nothing was sent")
    try:
        eventually(lambda: set(sent) <= set(cloud.ids()), "", seconds)
    except Failed:
        missing = len(set(sent) - set(cloud.ids()))
        raise Failed(f"{missing} of {len(sent)} segments are not at X-Ray after {seconds} s") from None
