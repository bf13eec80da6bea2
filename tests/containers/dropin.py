"""Command lines and mounts from published examples for the official image start this one unchanged."""

from harness import WORK, Cloud, Network, XRAY_HOST, all_arrived, daemon, docker, eventually, expect, python, stop, test
from operations import KEYS

# The configuration that AWS's example for EKS mounts, by its keys.
EKS_CONFIGURATION = """TotalBufferSizeMB: 24
Socket:
  UDPAddress: "0.0.0.0:2000"
  TCPAddress: "0.0.0.0:2000"
Version: 2
"""
CREDENTIALS = """[default]
aws_access_key_id = AKIDEXAMPLE
aws_secret_access_key = secret
"""


def examples():
    configuration, home = WORK / "cfg", WORK / "aws"
    configuration.mkdir(exist_ok=True)
    home.mkdir(exist_ok=True)
    (configuration / "config.yaml").write_text(EKS_CONFIGURATION)
    (configuration / "cfg.yaml").write_text(EKS_CONFIGURATION)
    (home / "credentials").write_text(CREDENTIALS)
    return {
        "ECS task definition, nothing said": ([], []),
        "ECS with flags of its own": ([], ["-t", "0.0.0.0:2000", "-b", "0.0.0.0:2000", "-o"]),
        "ECS, entry point by path": (["--entrypoint", "/usr/bin/xray"], ["-t", "0.0.0.0:2000", "-b", "0.0.0.0:2000"]),
        "EKS DaemonSet, mounted configuration": (
            ["--entrypoint", "/usr/bin/xray", "-v", f"{configuration}:/aws/xray:ro"], ["-c", "/aws/xray/config.yaml"],
        ),
        "configuration at the default path": (
            ["-v", f"{configuration / 'cfg.yaml'}:/etc/amazon/xray/cfg.yaml:ro"], [],
        ),
        "Copilot sidecar, nothing said": ([], []),
        "App Mesh, user 1337": (["--user", "1337"], []),
        "Docker on a laptop, ~/.aws as root": (["--user", "root", "-v", f"{home}:/root/.aws:ro"], ["-o"]),
        "Docker on a laptop, ~/.aws as xray": (["-v", f"{home}:/home/xray/.aws:ro"], ["--local-mode"]),
        "log level and region by flags": ([], ["-n", "eu-west-1", "-l", "error"]),
        "Go's other spellings": ([], ["--region=eu-west-1", "-local-mode=false", "--log-level", "dev", "-m", "10"]),
    }


@test
def published_examples_start_unchanged(image):
    network = Network("--subnet", "169.254.170.0/24")
    cloud = Cloud("--network", network.name, "--ip", "169.254.170.2", "--network-alias", XRAY_HOST)
    for what, (options, command) in examples().items():
        mounted_keys = "~/.aws" in what
        keys = ["-e", "AWS_REGION=eu-west-1"] if mounted_keys else KEYS
        xray = daemon(image, *command, cloud=cloud, options=["--network", network.name, *keys, *options])
        address = ["-e", "AWS_XRAY_DAEMON_ADDRESS=127.0.0.1:2000"]
        load = python(["--network", f"container:{xray.name}"], "load.py", 20, 0.5, options=address)
        load.exit_code()
        try:
            if mounted_keys:
                # Their keys are nobody's: that X-Ray was asked with them is what there is to see.
                eventually(lambda: "403" in xray.logs() or "refuse" in xray.logs(), "an answer to the mounted keys")
            else:
                all_arrived(cloud, load.output(), 20)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}\n{xray.logs()}") from None
        code, _ = stop(xray)
        expect(code == 0, f"{what}: exit {code}: {xray.logs()}")


@test
def wrong_command_lines_end_as_they_did(image):
    for command, expected in ((["--no-such-flag"], 2), (["-c", "/no/such/file"], 1), (["-m", "2"], 1), (["-h"], 0)):
        xray = daemon(image, *command, options=["--network", "none", "-e", "AWS_REGION=eu-west-1"])
        code = xray.exit_code()
        expect(code == expected, f"{command}: exit {code} instead of {expected}: {xray.logs()}")


@test
def two_on_one_port_is_an_error(image):
    network = Network()
    first = daemon(image, options=["--network", network.name, "-e", "AWS_REGION=eu-west-1"])
    eventually(lambda: "2000" in first.logs(), "the first one listens")
    second = daemon(image, options=["--network", f"container:{first.name}", "-e", "AWS_REGION=eu-west-1"])
    code = second.exit_code()
    expect(code == 1, f"exit {code}: {second.logs()}")
    expect("2000" in docker("logs", second.name, check=False), "the error does not name the address")
