"""Machines without an orchestrator: Compose and systemd. The packages are tested by tests/packages."""

import sys

import yaml

from report import check, files, name, report, run, scratch


def compose():
    for path in files("compose/compose.yaml"):
        check(f"{name(path)} (docker-compose config)", "docker-compose", "-f", path, "config", "-q")
    for path in files("compose/*.py"):
        check(f"{name(path)} (compiles)", sys.executable, "-c", f"compile(open({str(path)!r}).read(), 'app', 'exec')")


def systemd():
    for path in files("systemd/*.service"):
        with scratch() as folder:
            # systemd insists that the program and the manual page exist; every other line is the shipped one.
            unit = f"{folder}/{path.name}"
            with open(unit, "w") as file:
                file.write(path.read_text().replace("/usr/bin/xray ", "/bin/true "))
            # It exits 0 for a misspelt directive, but says so.
            good, _, said = run("systemd-analyze", "verify", "--man=no", unit)
            problems = said if not good or said != "exit 0" else ""
            report(f"{name(path)} (systemd-analyze verify)", problems)
            check(
                f"{name(path)} (systemd-analyze security, exposure below 2.0)",
                "systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit,
            )
    for path in files("systemd/*.yaml"):
        # Whether the daemon takes every key is for its own tests; here: that it is YAML at all.
        report(f"{name(path)} (YAML)", "" if yaml.safe_load(path.read_text())["Version"] == 2 else "no Version: 2")
