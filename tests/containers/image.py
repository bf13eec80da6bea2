"""The image itself: what is in it, what it is made of, that it can be made again."""

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from harness import ROOT, WORK, docker, expect, test

CONTENTS = {
    "etc": "folder", "etc/passwd": "file", "usr": "folder", "usr/bin": "folder", "usr/bin/xray": "-> ../../xray",
    "var": "folder", "var/lib": "folder", "var/lib/xray": "folder", "xray": "file",
}
# What Docker itself puts into every container it exports.
DOCKERS = {".dockerenv", "dev", "proc", "sys", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab"}
MAX_SIZE = 2_750_000
QEMU = "/usr/bin/qemu-aarch64-static"


def arm(image):
    """The image of the other architecture stands beside this one, under the name that `make` gives it."""
    return image + "-arm64"


def contents(image):
    container = docker("create", image)
    try:
        exported = subprocess.run(["docker", "export", container], capture_output=True, check=True).stdout
    finally:
        docker("rm", container)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
        for entry in archive:
            name = entry.name.rstrip("/").removeprefix("./")
            if name and name.split("/")[0] not in DOCKERS and name not in DOCKERS:
                kind = f"-> {entry.linkname}" if entry.issym() else "folder" if entry.isdir() else "file"
                found[name] = (kind, archive.extractfile(entry).read() if entry.isfile() else None, entry.mode)
    return found


@test
def holds_what_it_should_and_not_one_file_more(image):
    for name in (image, arm(image)):
        found = contents(name)
        expect({path: kind for path, (kind, _, _) in found.items()} == CONTENTS, f"{name} holds {sorted(found)}")
        expect(found["etc/passwd"][1] == b"root:x:0:0:root:/root:/\nxray:x:10001:10001::/home/xray:/\n", "etc/passwd")
        expect(found["xray"][2] & 0o7777 == 0o755, f"mode of /xray: {found['xray'][2]:o}")
        expect(found["var/lib/xray"][2] & 0o7777 == 0o1777, f"mode of /var/lib/xray: {found['var/lib/xray'][2]:o}")


@test
def is_configured_like_the_official_one(image):
    for name, architecture in ((image, "amd64"), (arm(image), "arm64")):
        [inspected] = json.loads(docker("image", "inspect", name))
        config = inspected["Config"]
        expect(inspected["Architecture"] == architecture, f"{name} is for {inspected['Architecture']}")
        expect(config["User"] == "10001", f"user {config['User']}")
        expect(config["Entrypoint"] == ["/xray", "-t", "0.0.0.0:2000", "-b", "0.0.0.0:2000"], config["Entrypoint"])
        expect(set(config["ExposedPorts"]) == {"2000/udp", "2000/tcp"}, config["ExposedPorts"])
        expect(not config.get("Volumes") and not config.get("Cmd"), "volumes or a command")
        labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
        expect(labels["licenses"] == "Apache-2.0" and labels["source"].startswith("https://"), labels)
        expect(labels["version"] in docker("run", "--rm", image, "-v"), f"version {labels['version']}")


@test
def is_small(image):
    for name in (image, arm(image)):
        size = int(docker("image", "inspect", "-f", "{{.Size}}", name))
        expect(size <= MAX_SIZE, f"{name}: {size} bytes")
        print(f"        {name}: {size} bytes")


@test
def is_static_on_both_architectures(image):
    for name, machine in ((image, 62), (arm(image), 183)):
        elf = contents(name)["xray"][1]
        expect(elf[:4] == b"\x7fELF" and int.from_bytes(elf[18:20], "little") == machine, f"{name}: {elf[:20]}")
        start, size, count = (int.from_bytes(elf[a:b], "little") for a, b in ((32, 40), (54, 56), (56, 58)))
        kinds = {int.from_bytes(elf[start + i * size:][:4], "little") for i in range(count)}
        expect(3 not in kinds, f"{name} asks for a dynamic linker")


@test
def runs_on_both_architectures(image):
    expect(docker("run", "--rm", image, "-v").startswith("AWS X-Ray daemon version: "), "no version on amd64")
    under_qemu = ["-v", f"{QEMU}:/qemu:ro", "--entrypoint", "/qemu", "--platform", "linux/arm64"]
    expect(os.path.exists(QEMU), f"{QEMU} is missing: install qemu-user-static")
    said = docker("run", "--rm", *under_qemu, arm(image), "/xray", "-v")
    expect(said.startswith("AWS X-Ray daemon version: "), f"no version on arm64: {said}")


@test
def starts_by_either_path_and_as_either_user(image):
    for options in (["--entrypoint", "/usr/bin/xray"], ["--user", "xray"], ["--user", "root"], ["--user", "1337"]):
        expect(docker("run", "--rm", *options, image, "-v").startswith("AWS X-Ray"), f"{options}")


@test
def is_packed_the_same_every_time(image):
    """deploy/image/pack, which needs no Docker, makes what Docker makes."""
    found = contents(image)
    binary = WORK / "xray"
    binary.write_bytes(found["xray"][1])
    tarballs = [WORK / "first.tar", WORK / "second.tar"]
    for tarball in tarballs:
        subprocess.run(
            [ROOT / "deploy/image/pack", "amd64", binary, "xray-e2e-packed:latest", tarball],
            cwd=WORK, check=True, capture_output=True,
        )
    expect(tarballs[0].read_bytes() == tarballs[1].read_bytes(), "two tarballs differ")
    docker("load", "-q", "-i", tarballs[0])
    expect(contents("xray-e2e-packed:latest") == found, "the packed image holds something else")
    for key in ("User", "Entrypoint", "ExposedPorts", "Labels"):
        template = f"{{{{json .Config.{key}}}}}"
        packed = docker("image", "inspect", "-f", template, "xray-e2e-packed:latest")
        expect(packed == docker("image", "inspect", "-f", template, image), f"{key} is {packed}")
    docker("rmi", "xray-e2e-packed:latest")
    shutil.rmtree(WORK / "dist")


@test
def is_built_the_same_in_another_folder(image):
    """From the same sources, compiler and linker: the same binary to the byte."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    # Not below this repository, whose .cargo/config.toml would count a second time.
    with tempfile.TemporaryDirectory() as folder:
        for name in listed.decode().split("\0")[:-1]:
            copy = Path(folder, name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy)
        subprocess.run(["make", "static", "ARCH=amd64"], cwd=folder, check=True, capture_output=True)
        built = Path(folder, "target/x86_64-unknown-linux-musl/release/xray").read_bytes()
    expect(built == contents(image)["xray"][1], "another folder, another binary")
