"""Runs the tests of the packages; the last line is 'N passed, N failed'.

Usage: run.py [words of test names]
"""

import sys
import time
import traceback

import official
from machine import Failed, Machine, eventually, expect

# How each of the two does its work, and its names for our package.
DEB = {
    "kind": "deb",
    "file": "xray-daemon_{version}-1_{arch}.deb",
    "arches": {"amd64": "amd64", "arm64": "arm64"},
    # apt takes a file, and removes what conflicts with it. Nobody is here to answer about cfg.yaml: keep it.
    "install": "apt-get install -qq -y -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold ./packages/{file}",
    "other": "dpkg --force-architecture --force-depends --install ./packages/{file}",
    "official": "xray_3.3.15_amd64.deb",
    "remove": "dpkg --purge xray-daemon",
    "installed": "dpkg-query --show --showformat '${{db:Status-Abbrev}}' {name} | grep -q ^ii",
}
RPM = {
    "kind": "rpm",
    "file": "xray-daemon-{version}-1.{arch}.rpm",
    "arches": {"amd64": "x86_64", "arm64": "aarch64"},
    "install": "rpm --force-debian --upgrade ./packages/{file}",
    "other": "rpm --force-debian --ignorearch --upgrade ./packages/{file}",
    "official": "xray-3.3.15-1.x86_64.rpm",
    "remove": "rpm --force-debian --erase xray-daemon",
    "installed": "rpm --query {name}",
}
SETTINGS = """Version: 2
Region: eu-west-1
Socket:
  UDPAddress: 127.0.0.1:2001
  TCPAddress: 127.0.0.1:2001
Logging:
  LogPath: /var/log/xray/xray.log
"""


def install(machine, system, version, arch="amd64"):
    file = system["file"].format(version=version, arch=system["arches"][arch])
    machine.run(system["install" if arch == "amd64" else "other"].format(file=file))


def installed(machine, system, name):
    return machine.run(system["installed"].format(name=name), check=False, status=True) == 0


def new_machine(machine, system):
    """Installed on a running machine, the service runs; cfg.yaml's addresses and log file hold; it boots
    without a network and holds what it gets; an upgrade keeps the settings; removed, nothing runs."""
    machine.boot()
    install(machine, system, "0.1.0")
    expect(machine.run("systemctl is-enabled xray") == "enabled", "it does not start at boot")
    expect(machine.run("xray -v").startswith("AWS X-Ray daemon version: "), "it is another program")
    expect(machine.run("test -s /usr/share/man/man1/xray.1.gz && test -s /usr/share/doc/xray-daemon/copyright",
                       check=False, status=True) == 0, "no manual page or no licence")

    # No network and no region: whatever the daemon does about it, systemd must not give up.
    machine.run("mkdir -p /run/systemd/system/xray.service.d && "
                "printf '[Service]\\nRestartSec=50ms\\n' >/run/systemd/system/xray.service.d/quick.conf && "
                "systemctl daemon-reload && systemctl restart xray")
    eventually(lambda: int(machine.property("NRestarts")) > 8 or machine.active(), "tries again", 60)
    expect(machine.property("ActiveState") != "failed", "systemd has given up: " + machine.property("Result"))
    machine.run("rm -r /run/systemd/system/xray.service.d && systemctl daemon-reload")

    machine.configure(SETTINGS)
    machine.run("systemctl restart xray")
    eventually(lambda: machine.active() and machine.listens(2001), "listens where cfg.yaml says")
    expect(not machine.listens(2000), "it listens on the default port, although cfg.yaml names another")
    machine.run("xray healthcheck")
    log = "/var/log/xray/xray.log"
    eventually(lambda: "Initializing AWS X-Ray daemon" in machine.run(f"cat {log}", check=False), "writes its log file")
    expect(machine.run(f"stat -c %U {log} /var/lib/xray") == "xray\nxray", "the log or /var/lib/xray is not its own")
    expect(machine.run("stat -c %a /var/lib/xray") == "700", "others can read /var/lib/xray")

    machine.reboot()
    eventually(lambda: machine.active() and machine.listens(2001), "runs after a boot without a network")
    machine.run("""env printf '{"format":"json","version":1}\\n{}' >/dev/udp/127.0.0.1/2001""")
    eventually(lambda: machine.metric("xray_segments_received_total", 2001) == 1, "has the segment")
    expect(machine.metric("xray_segments_held", 2001) == 1, "it does not hold the segment")

    if "--spool" in machine.run("xray -h"):
        spooled(machine)

    before = machine.property("MainPID")
    install(machine, system, "0.1.1")
    eventually(lambda: machine.active() and machine.property("MainPID") != before, "was restarted by the upgrade")
    expect(machine.run("cat /etc/amazon/xray/cfg.yaml") + "\n" == SETTINGS, "the upgrade has changed cfg.yaml")

    machine.run(system["remove"])
    expect(not machine.active(), "it runs, although it was removed")
    expect(machine.run("ls /usr/bin/xray", check=False, status=True) != 0, "the program is still there")
    expect(machine.run("ls /etc/systemd/system/*/xray.service", check=False, status=True) != 0, "the link is still there")


def spooled(machine):
    """With --spool, what is held at the end is kept in the folder that systemd prepares."""
    machine.run("echo XRAY_FLAGS=--spool /var/lib/xray >/etc/default/xray")
    machine.run("systemctl restart xray")
    eventually(lambda: machine.active() and machine.listens(2001), "runs with --spool")
    machine.run("""env printf '{"format":"json","version":1}\\n{}' >/dev/udp/127.0.0.1/2001""")
    eventually(lambda: machine.metric("xray_segments_received_total", 2001) == 1, "has the segment")
    machine.run("systemctl stop xray")
    expect(machine.run("find /var/lib/xray -type f -size +0"), "nothing was kept for the next start")
    machine.run("rm /etc/default/xray && systemctl start xray")


def over_the_official_one(machine, system):
    """Installed over the official package, ours takes its place: one is left, it runs, and the settings that the
    administrator changed are kept."""
    machine.boot()
    machine.run(system["install"].format(file=system["official"]))
    eventually(lambda: machine.active(), "the stand-in runs")
    expect("official" in machine.run("journalctl --unit xray --output cat"), "the stand-in does not run")
    user = machine.run("id xray")
    machine.configure(SETTINGS)

    install(machine, system, "0.1.0")
    expect(installed(machine, system, "xray-daemon"), "ours is not installed")
    expect(not installed(machine, system, "xray"), "the official one is still there")
    eventually(lambda: machine.active() and machine.listens(2001), "runs with the settings that were there")
    expect(machine.property("FragmentPath").endswith("/lib/systemd/system/xray.service"), "the unit is not ours")
    expect("man:xray(1)" in machine.property("Documentation"), "the unit is not ours")
    expect(machine.run("id xray") == user, "the user is another one")
    expect(machine.run("systemctl is-enabled xray") == "enabled", "it does not start at boot")


def other_architecture(machine, system):
    """The ARM64 package goes in, up and out again where no systemd runs, as in an image under construction."""
    expect(installed(machine, system, "xray-daemon") is False, "it is installed before the test")
    for version in ["0.1.0", "0.1.1"]:
        install(machine, system, version, "arm64")
        expect(installed(machine, system, "xray-daemon"), f"{version} is not installed")
    expect(machine.run("head -c 20 /usr/bin/xray | od -An -tx1 -j18 -N2") == "b7 00", "it is no program for ARM64")
    expect(machine.run("ls /etc/systemd/system/multi-user.target.wants/xray.service"), "it will not start at boot")
    machine.run(system["remove"])
    expect(not installed(machine, system, "xray-daemon"), "it is still installed")


def main(*words):
    passed = failed = 0
    official.build_base()
    for test in [new_machine, over_the_official_one, other_architecture]:
        for system in [DEB, RPM]:
            name = f"{test.__name__} ({system['kind']})"
            if words and not any(word in name for word in words):
                continue
            official.build(system["kind"])
            started = time.monotonic()
            machine = Machine(f"{test.__name__}-{system['kind']}")
            try:
                if system is RPM:
                    machine.run("rpm --force-debian --upgrade packages/base-system-1.0.0-1.x86_64.rpm")
                test(machine, system)
            except Exception as error:
                failed += 1
                print(f"FAILED  {name}: {error}", flush=True)
                if not isinstance(error, Failed):
                    traceback.print_exc()
                print(machine.run("systemctl status --no-pager xray; journalctl --no-pager --unit xray -n 20", check=False))
            else:
                passed += 1
                print(f"ok      {name} ({time.monotonic() - started:.0f} s)", flush=True)
            finally:
                machine.destroy()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
