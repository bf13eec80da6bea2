"""A package with the official one's name, paths and service, for ours to replace: the real one is not here."""

import subprocess

from machine import WORK

NFPM = WORK.parent / "deploy-tools/packages/bin/nfpm"

# What the official one does at these moments, in a few words: rpm's stops the service when it goes.
SCRIPTS = {
    "preinstall": "getent passwd xray >/dev/null || useradd --system -s /bin/false xray\n"
                  "mkdir -p /var/log/xray && chown xray /var/log/xray\n",
    "postinstall": "systemctl daemon-reload; systemctl start xray\n",
    "preremove": "systemctl stop xray\n",
}
PROGRAM = "#!/bin/sh\necho official; exec sleep infinity\n"
UNIT = "[Service]\nUser=xray\nExecStart=/usr/bin/xray\nLogsDirectory=xray\n[Install]\nWantedBy=network-online.target\n"
SETTINGS = "Version: 2\nRegion: \"\"\n"


def build(kind):
    """The package of one kind, "deb" or "rpm", into the folder of the built ones."""
    folder = WORK / "official"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**SCRIPTS, "program": PROGRAM, "unit": UNIT, "settings": SETTINGS}.items():
        (folder / name).write_text("#!/bin/sh\n" + text if name in SCRIPTS else text)
    unit = {"deb": "/usr/lib/systemd/system/xray.service", "rpm": "/etc/systemd/system/xray.service"}[kind]
    unit_type = {"deb": '""', "rpm": "config|noreplace"}[kind]
    scripts = "".join(f"  {name}: {folder / name}\n" for name in SCRIPTS)
    package(kind, f"""
name: xray
arch: amd64
version: 3.3.15
maintainer: nobody <nobody@example.com>
description: stands for the official daemon
contents:
  - {{ src: {folder / 'program'}, dst: /usr/bin/xray, file_info: {{ mode: 0755 }} }}
  - {{ src: {folder / 'settings'}, dst: /etc/amazon/xray/cfg.yaml, type: config|noreplace }}
  - {{ src: {folder / 'unit'}, dst: {unit}, type: {unit_type} }}
scripts:
{scripts}
""")


def build_base():
    """What ours asks for, for rpm: on this Debian no rpm owns useradd."""
    package("rpm", """
name: base-system
arch: amd64
version: 1.0.0
maintainer: nobody <nobody@example.com>
description: stands for the distribution
provides: [/usr/sbin/useradd, /bin/sh]
""")


def package(kind, text):
    settings = WORK / "official.yaml"
    settings.write_text(text)
    command = [NFPM, "package", "-f", settings, "-p", kind, "-t", WORK / "built"]
    subprocess.run(command, check=True, capture_output=True)
