"""deploy/Dockerfile, for whoever has Docker and nothing else.

The official Rust image cannot be pulled here. What stands in for it is made of this machine's own compilers;
that the official one brings the same is the part that this cannot show.
"""

import os
import subprocess

from harness import ROOT, docker, expect, test
from image import contents

STAND_IN, STAGE, BUILT = "xray-e2e-rust:latest", "xray-e2e-stage:latest", "xray-e2e-built:latest"


def stand_in():
    """An image with Cargo, the fetched packages and a C compiler, from this machine's files."""
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], check=True, capture_output=True, text=True).stdout.strip()
    cargo = os.environ.get("CARGO_HOME", os.path.expanduser("~/.cargo"))
    libraries = ["lib/gcc", "lib/x86_64-linux-gnu", "include", "bin"]
    paths = [f"usr/{path}" for path in libraries] + [f"{sysroot}/{path}".lstrip("/") for path in ("bin", "lib")]
    paths += [f"{cargo}/registry".lstrip("/")]
    paths += [name for name in ("bin", "lib", "lib64", "usr/lib64", "etc/alternatives") if os.path.lexists(f"/{name}")]
    settings = {"PATH": f"{sysroot}/bin:/usr/bin:/bin", "CARGO_HOME": cargo, "CARGO_NET_OFFLINE": "true"}
    changes = [word for name, value in settings.items() for word in ("--change", f"ENV {name}={value}")]
    pack = subprocess.Popen(["tar", "-C", "/", "-c", *paths], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    subprocess.run(["docker", "import", *changes, "-", STAND_IN], stdin=pack.stdout, check=True, capture_output=True)


@test
def docker_alone_builds_the_image(image):
    stand_in()
    dockerfile = ["-f", ROOT / "deploy/Dockerfile", "--build-arg", f"BUILDER={STAND_IN}", ROOT]
    try:
        # The first stage under a name, so that it can be removed.
        docker("build", "-q", "--target", "build", "-t", STAGE, *dockerfile, timeout=1800)
        docker("build", "-q", "-t", BUILT, *dockerfile, timeout=1800)
        shipped, built = contents(image), contents(BUILT)
        expect({path: (kind, mode) for path, (kind, _, mode) in built.items()}
               == {path: (kind, mode) for path, (kind, _, mode) in shipped.items()}, f"it holds {sorted(built)}")
        expect(docker("run", "--rm", BUILT, "-v") == docker("run", "--rm", image, "-v"), "another version")
        # Another linker, so not the same bytes; but of a size.
        sizes = [len(found["xray"][1]) for found in (shipped, built)]
        expect(sizes[1] < 1.02 * sizes[0], f"{sizes[1]} bytes instead of {sizes[0]}")
        for key in ("User", "Entrypoint", "ExposedPorts"):
            template = f"{{{{json .Config.{key}}}}}"
            shipped, built = (docker("image", "inspect", "-f", template, name) for name in (image, BUILT))
            expect(built == shipped, f"{key}: {built}")
    finally:
        docker("rmi", "-f", BUILT, STAGE, STAND_IN, check=False)
