"""The daemon where ECS, Fargate, EC2 and EKS would run it: nothing is told to it but what they tell."""

import json

from harness import (
    STS_HOST, WORK, XRAY_HOST, Cloud, Network, all_arrived, daemon, eventually, expect, place, python, stop, test,
)

ECS = [
    "-e", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/task",
    "-e", "ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2/v4/container",
]


def link_local():
    """The network on which ECS answers its tasks."""
    return Network("--subnet", "169.254.170.0/24")


def traces(app):
    return [json.loads(line) for line in app.output() if line.startswith("{")]


def no_region_was_set(container):
    environment = container.inspect("{{json .Config.Env}}")
    expect("REGION" not in environment and "ENDPOINT" not in environment, f"a region was set: {environment}")


@test
def ecs_task_with_the_python_sdk(image):
    """Bridge mode: an application with AWS's own SDK, credentials that expire after a minute, no region set."""
    metadata, vpc = link_local(), Network()
    cloud = Cloud(
        "--network", metadata.name, "--ip", "169.254.170.2", also=[(vpc, "--alias", XRAY_HOST)], lifetime=60,
    )
    xray = daemon(
        image, cloud=cloud, options=["--network", vpc.name, "--network-alias", "xray-daemon", *ECS], also=[(metadata,)],
    )
    no_region_was_set(xray)
    app = python(
        ["--network", vpc.name], "app.py", 75, options=["-e", "AWS_XRAY_DAEMON_ADDRESS=xray-daemon:2000"],
    )
    app.exit_code(120)
    made = traces(app)
    expect(len(made) > 300, f"the application made {len(made)} traces only: {app.logs()[-2000:]}")
    all_arrived(cloud, [trace["id"] for trace in made])
    expect(made[-1]["rules"] == ["checkout"], f"the SDK's sampling rules: {made[-1]['rules']}")
    seen = cloud.seen()
    expect(seen["problems"] == [], f"X-Ray found fault: {seen['problems']}")
    expect(len(seen["keys"]) >= 2, f"one set of credentials for more than its minute: {seen['keys']}")
    expect(seen["targets"] > 0, "no sampling statistics came")
    names = {json.loads(document)["name"] for document in seen["documents"]}
    expect(names == {"checkout"}, f"segments named {names}")
    expect("Using region: eu-west-1" in xray.logs(), xray.logs())


@test
def fargate_shares_one_network_namespace(image):
    """awsvpc: the sidecar of deploy/ecs/fargate-sidecar.json, on the loopback alone."""
    metadata = link_local()
    cloud = Cloud("--network", metadata.name, "--ip", "169.254.170.2", "--network-alias", XRAY_HOST)
    xray = daemon(
        image, "-b", "127.0.0.1:2000", "-t", "127.0.0.1:2000", cloud=cloud,
        options=["--network", metadata.name, *ECS, "--read-only", "--cap-drop=ALL", "--user", "10001"],
    )
    app = python(
        ["--network", f"container:{xray.name}"], "app.py", 5,
        options=["-e", "AWS_XRAY_DAEMON_ADDRESS=127.0.0.1:2000"],
    )
    app.exit_code(60)
    made = traces(app)
    all_arrived(cloud, [trace["id"] for trace in made])
    expect(made[-1]["rules"] == ["checkout"], f"the SDK's sampling rules: {made[-1]['rules']}")
    expect(cloud.seen()["problems"] == [], f"X-Ray found fault: {cloud.seen()['problems']}")
    no_region_was_set(xray)


@test
def eks_pod_identity_on_ipv6_only(image):
    """An IPv6 cluster: the agent at fd00:ec2::23, a token file that the kubelet replaces."""
    network = Network("--ipv6", "--subnet", "fd00:ec2::/64")
    cloud = Cloud("--network", network.name, "--ip6", "fd00:ec2::23", "--network-alias", XRAY_HOST, lifetime=20)
    tokens = cloud.folder / "token"
    tokens.mkdir()
    rotate(tokens, "first-token")
    cloud.container.enter("ip", "-4", "address", "flush", "dev", "eth0")
    xray = daemon(image, cloud=cloud, options=[
        "--network", network.name,
        "-e", "AWS_REGION=eu-west-1",
        "-e", "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://[fd00:ec2::23]/v1/credentials",
        "-e", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token",
        "-v", f"{tokens}:/var/run/secrets/pods.eks.amazonaws.com/serviceaccount:ro",
    ])
    xray.enter("ip", "-4", "address", "flush", "dev", "eth0")
    address = xray.inspect("{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}")
    app = python(
        ["--network", network.name], "load.py", 20, 30,
        options=["-e", f"AWS_XRAY_DAEMON_ADDRESS=[{address}]:2000"],
    )
    app.enter("ip", "-4", "address", "flush", "dev", "eth0")
    eventually(lambda: cloud.seen()["documents"], "first segments")
    rotate(tokens, "second-token")
    app.exit_code(60)
    all_arrived(cloud, app.output())
    seen = cloud.seen()
    expect(seen["problems"] == [], f"X-Ray or the agent found fault: {seen['problems']}")
    expect(seen["authorizations"] == ["first-token", "second-token"], f"tokens shown: {seen['authorizations']}")


def rotate(folder, token):
    """Replaces the file at once, as the kubelet does."""
    (folder / "new").write_text(token)
    (folder / "new").rename(folder / "eks-pod-identity-token")


def signs_as_a_role(image, *command, options):
    """X-Ray is asked with keys that STS has given, and with no others."""
    network = link_local()
    names = [word for host in (XRAY_HOST, STS_HOST) for word in ("--network-alias", host)]
    cloud = Cloud("--network", network.name, "--ip", "169.254.170.2", *names)
    xray = daemon(image, *command, cloud=cloud, options=["--network", network.name, *options])
    load = python(
        ["--network", f"container:{xray.name}"], "load.py", 20, 1,
        options=["-e", "AWS_XRAY_DAEMON_ADDRESS=127.0.0.1:2000"],
    )
    load.exit_code()
    all_arrived(cloud, load.output())
    seen = cloud.seen()
    expect(seen["problems"] == [], f"X-Ray found fault: {seen['problems']}")
    expect(all(key.startswith("ASIAROLE") for key in seen["keys"]), f"signed with {seen['keys']}")


@test
def ecs_task_with_a_role_in_another_account(image):
    """STS is asked with the task's credentials."""
    signs_as_a_role(image, "-r", "arn:aws:iam::210987654321:role/xray", options=ECS)


@test
def eks_service_account_becomes_its_role(image):
    """IRSA: what the webhook of EKS puts into a pod, and no more."""
    folder = WORK / "service-account"
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text("service.account.jwt")
    mounted = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
    signs_as_a_role(image, options=[
        "-e", "AWS_REGION=eu-west-1", "-e", "AWS_DEFAULT_REGION=eu-west-1", "-e", "AWS_STS_REGIONAL_ENDPOINTS=regional",
        "-e", "AWS_ROLE_ARN=arn:aws:iam::123456789012:role/pod", "-e", f"AWS_WEB_IDENTITY_TOKEN_FILE={mounted}/token",
        "-v", f"{folder}:{mounted}:ro",
    ])


@test
def ec2_bridge_and_the_hop_limit(image):
    """A container on a bridge is one hop further from the instance metadata service than its instance."""
    instance, bridge = Network("--subnet", "169.254.169.0/24", internal=False), Network(internal=False)
    cloud = Cloud("--network", instance.name, "--ip", "169.254.169.254", hop_limit=1)
    host = place("--network", instance.name, "--sysctl", "net.ipv4.ip_forward=1", also=[(bridge,)])
    cloud.container.enter("ip", "route", "add", bridge.subnet(), "via", host.address(instance))
    container = place("--network", bridge.name, "--add-host", f"{XRAY_HOST}:169.254.169.254")
    container.enter("ip", "route", "add", "169.254.169.254", "via", host.address(bridge))
    network = ["--network", f"container:{container.name}"]
    address = ["-e", "AWS_XRAY_DAEMON_ADDRESS=127.0.0.1:2000"]

    xray = daemon(image, cloud=cloud, options=[*network, "-e", "AWS_REGION=eu-west-1"])
    first = python(network, "load.py", 20, 2, options=address)
    first.exit_code()
    eventually(lambda: "hop limit" in xray.logs(), "the log names the hop limit", 60)
    expect(cloud.seen()["imds_tokens"] > 0, "the token request did not arrive at all")
    expect(cloud.ids() == [], "segments were signed without credentials")
    cloud.set(hop_limit=2)
    all_arrived(cloud, first.output(), 90)
    stop(xray)

    # With the limit at 2, the region comes from there too.
    xray = daemon(image, cloud=cloud, options=network)
    second = python(network, "load.py", 20, 2, options=address)
    second.exit_code()
    all_arrived(cloud, second.output())
    expect("Using region: eu-west-1" in xray.logs(), xray.logs())
    expect(cloud.seen()["problems"] == [], f"X-Ray found fault: {cloud.seen()['problems']}")
