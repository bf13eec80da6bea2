"""A machine: a Debian with a real systemd as process 1, in a container of systemd-nspawn without a network."""

import shutil
import subprocess
import time
from pathlib import Path

WORK = Path(__file__).resolve().parents[2] / "target/packages"


class Failed(AssertionError):
    """What a test found wrong."""


def expect(truth, what):
    if not truth:
        raise Failed(what)


def eventually(question, what, seconds=30):
    """The answer to `question` as soon as it is true; a failure that says `what` when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        expect(time.monotonic() < deadline, f"after {seconds} s still not: {what}")
        time.sleep(0.1)


class Machine:
    def __init__(self, name):
        self.root = WORK / name / "root"
        self.container = None
        self.leader = None
        # One root for all of them, read-only below what each writes.
        layers = {layer: WORK / name / layer for layer in ["upper", "work"]}
        for folder in [self.root, *layers.values()]:
            folder.mkdir(parents=True)
        options = f"lowerdir={WORK / 'root'},upperdir={layers['upper']},workdir={layers['work']}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.root], check=True)
        shutil.copytree(WORK / "built", self.root / "packages")

    def boot(self):
        self.container = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--directory", self.root, "--register=no", "--keep-unit",
             "--private-network", "--resolv-conf=off", "--console=pipe", "--boot"],
            stdin=subprocess.DEVNULL, stdout=(WORK / "console.log").open("wb"), stderr=subprocess.STDOUT,
        )
        eventually(self._find_leader, "systemd runs in the container")
        # It waits for the end of the boot, and its status says whether any unit failed: not all can run here.
        self.run("systemctl is-system-running --wait", check=False)

    def _find_leader(self):
        expect(self.container.poll() is None, f"the container ended: {(WORK / 'console.log').read_text()}")
        children = Path(f"/proc/{self.container.pid}/task/{self.container.pid}/children").read_text().split()
        for child in children:
            try:
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    self.leader = child
            except OSError:
                continue
        if not self.leader:
            return False
        return self.run("test -S /run/systemd/private", check=False, status=True) == 0

    def run(self, command, check=True, status=False):
        """What `command` prints in the machine: in its namespaces while it runs, by chroot while it does not."""
        inside = ["nsenter", "--target", self.leader, "--mount", "--uts", "--ipc", "--net", "--pid"]
        if not self.container:
            inside = ["chroot", self.root]
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"]
        done = subprocess.run(
            [*inside, *environment, "bash", "-c", command], capture_output=True, text=True, timeout=120,
        )
        if status:
            return done.returncode
        said = done.stdout + done.stderr
        expect(not check or done.returncode == 0, f"{command}: status {done.returncode}\n{said}")
        return said.strip()

    def stop(self):
        if not self.container:
            return
        self.run("systemctl poweroff", check=False)
        try:
            self.container.wait(30)
        except subprocess.TimeoutExpired:
            self.container.kill()
            self.container.wait()
        self.container = self.leader = None

    def reboot(self):
        self.stop()
        self.boot()

    def property(self, name):
        return self.run(f"systemctl show --value --property {name} xray.service")

    def active(self):
        return self.property("ActiveState") == "active"

    def listens(self, port):
        """Whether UDP 127.0.0.1:port is bound, in the kernel's own notation."""
        return f"0100007F:{port:04X}" in self.run("cat /proc/net/udp")

    def metric(self, name, port=2000):
        said = self.run(
            f"exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3",
            check=False,
        )
        found = [line.split()[1] for line in said.splitlines() if line.startswith(f"{name} ")]
        return int(found[0]) if found else None

    def configure(self, text):
        (self.root / "etc/amazon/xray/cfg.yaml").write_text(text)

    def destroy(self):
        self.stop()
        subprocess.run(["umount", "--lazy", self.root], check=True)
        shutil.rmtree(self.root.parent)
