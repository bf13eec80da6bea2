"""Runs every check on the files under deploy/ and ends with 'N passed, N failed'.

A missing tool is a failure, and so is a file that no check has looked at.
Usage: deploy/validate (which installs the tools first).
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import botocore.session
import yaml
from botocore.validate import ParamValidator
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import terraform

DEPLOY = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.argv[1])
BIN = TOOLS / "venv/bin"

# What the daemon calls. Every place that grants permissions grants exactly these.
ACTIONS = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:GetSamplingStatisticSummaries",
}
# Neither configuration nor code that somebody deploys.
UNCHECKED = {"README.md", "validate", "need", "release", "Dockerfile"}
UNCHECKED_FOLDERS = {"checks", "image"}

seen = set()
failures = 0
passes = 0


def report(what, problem):
    global failures, passes
    if problem:
        failures += 1
        print(f"FAILED  {what}\n{problem.rstrip()}")
    else:
        passes += 1
        print(f"ok      {what}")


def check(what, *command, cwd=None):
    """Passes when the command exits 0; what it printed is the reason otherwise."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    except FileNotFoundError:
        report(what, f"{command[0]} is not installed")
        return
    report(what, "" if done.returncode == 0 else done.stdout + done.stderr or f"exit {done.returncode}")


def files(pattern):
    found = sorted(DEPLOY.glob(pattern))
    if not found:
        report(pattern, "no such file")
    seen.update(found)
    return found


def name(path):
    return str(path.relative_to(DEPLOY))


def filled_in(path):
    """The file's JSON with a user's values in place of the placeholders."""
    text = path.read_text().replace("<ACCOUNT_ID>", "123456789012").replace("<REGION>", "eu-west-1")
    return json.loads(re.sub(r"<([A-Z_]+)>", r"\1", text))


def ecs_shape_problems(operation, parameters):
    """What the AWS SDK would refuse before sending: unknown, missing and mistyped parameters."""
    model = ECS.operation_model(operation).input_shape
    return ParamValidator().validate(parameters, model).generate_report()


def task_definition_problems(definition, label):
    """The SDK's check, then CloudFormation's, which knows the allowed values and combinations."""
    problems = ecs_shape_problems("RegisterTaskDefinition", definition)
    for container in definition["containerDefinitions"]:
        problems += container_problems(container)
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {"Task": {"Type": "AWS::ECS::TaskDefinition", "Properties": capitalised(definition)}},
    }
    return problems + lint_problems(template, label)


def container_problems(container):
    """What no schema knows: the address forms that every SDK accepts, and the daemon's own needs."""
    problems = ""
    for variable in container.get("environment", []):
        if variable["name"] == "AWS_XRAY_DAEMON_ADDRESS" and not re.fullmatch(r"[\w.-]+:2000", variable["value"]):
            problems += f"{variable['value']} is not host:port, the one form that every SDK accepts\n"
    if container["name"] == "xray-daemon":
        if container.get("healthCheck", {}).get("command") != ["CMD", "/xray", "healthcheck"]:
            problems += "the daemon has no health check\n"
        if not container.get("readonlyRootFilesystem"):
            problems += "the daemon's root file system is writable\n"
    return problems


def capitalised(value, free_keys=False):
    """CloudFormation's spelling of the ECS API's names. The options of a log driver are free text."""
    if isinstance(value, dict):
        return {
            key if free_keys else key[0].upper() + key[1:]: capitalised(item, free_keys=key == "options")
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [capitalised(item) for item in value]
    return value


def lint_problems(template, label):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (re.sub(r"\W", "-", label) + ".json")
        path.write_text(json.dumps(template))
        done = subprocess.run([BIN / "cfn-lint", path], capture_output=True, text=True)
        return "" if done.returncode == 0 else done.stdout + done.stderr


def cloudformation():
    for path in files("cloudformation/*.yaml"):
        check(f"{name(path)} (cfn-lint)", BIN / "cfn-lint", path)


def iam():
    for path in files("iam/*.json"):
        document = filled_in(path)
        if path.stem.endswith("-trust"):
            resource = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": document}}
        else:
            resource = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document}}
        template = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"It": resource}}
        report(f"{name(path)} (cfn-lint)", lint_problems(template, path.stem))
    granting = files("iam/*-policy.json") + files("cloudformation/*.yaml")
    for path in granting + files("terraform/*/main.tf") + files("pulumi/daemon.ts"):
        granted = set(re.findall(r"xray:[A-Z]\w+", path.read_text()))
        report(f"{name(path)} (the daemon's five permissions)", "" if granted == ACTIONS else str(granted ^ ACTIONS))


def ecs():
    for path in files("ecs/*.json"):
        definition = filled_in(path)
        if "serviceName" in definition:
            report(f"{name(path)} (botocore, CreateService)", ecs_shape_problems("CreateService", definition))
            continue
        platforms = ["X86_64", "ARM64"] if "runtimePlatform" in definition else [None]
        for platform in platforms:
            if platform:
                definition["runtimePlatform"]["cpuArchitecture"] = platform
            label = f"{name(path)} {platform or ''}".rstrip()
            report(f"{label} (botocore, cfn-lint)", task_definition_problems(definition, label))


def terraform_modules():
    for path in files("terraform/*/main.tf"):
        module = terraform.Module(path)
        report(f"{name(path)} (HashiCorp's parser)", module.syntax_problems())
        report(f"{name(path)} (the AWS provider's schema)", module.schema_problems(TOOLS / "checks"))
        for task, definition in module.task_definitions():
            label = f"{name(path)} {task}"
            report(f"{label} (botocore, cfn-lint)", task_definition_problems(definition, label))


def pulumi():
    files("pulumi/*.*")
    project = TOOLS / "pulumi"
    for path in [*DEPLOY.glob("pulumi/*.ts"), DEPLOY / "pulumi/tsconfig.json", DEPLOY / "checks/pulumi-mocks.js"]:
        (project / path.name).write_text(path.read_text())
    compiler = project / "node_modules/.bin/tsc"
    check("pulumi (tsc against @pulumi/aws)", compiler, "--noEmit", "false", "--outDir", "out", "-p", ".", cwd=project)
    for shape in ["fargate-sidecar", "ec2-daemon"]:
        done = subprocess.run(["node", "pulumi-mocks.js", shape], cwd=project, capture_output=True, text=True)
        if done.returncode:
            report(f"pulumi {shape} (run against Pulumi's mocks)", done.stdout + done.stderr)
            continue
        definitions = json.loads(done.stdout)
        report(f"pulumi {shape} (run against Pulumi's mocks)", "" if definitions else "no task definition was made")
        for definition in definitions:
            label = f"pulumi {shape} {definition['family']}"
            report(f"{label} (botocore, cfn-lint)", task_definition_problems(definition, label))


def kubernetes():
    for path in files("kubernetes/*.yaml"):
        # The oldest release with the fields used, and the newest that the checker knows.
        for release in ["1.29", "1.37"]:
            check(f"{name(path)} (Kubernetes {release})", BIN / "kubernetes-validate", "--strict", "-k", release, path)


def compose():
    for path in files("compose/compose.yaml"):
        check(f"{name(path)} (docker-compose config)", "docker-compose", "-f", path, "config", "-q")
    for path in files("compose/*.py"):
        check(f"{name(path)} (compiles)", sys.executable, "-c", f"compile(open({str(path)!r}).read(), 'app', 'exec')")


def systemd():
    for path in files("systemd/*.service"):
        with tempfile.TemporaryDirectory() as folder:
            # systemd insists that the program exists; every other line is the shipped one.
            unit = Path(folder) / path.name
            unit.write_text(path.read_text().replace("/usr/local/bin/xray ", "/bin/true "))
            # It exits 0 for a misspelt directive, but says so.
            verify = "problems=$(systemd-analyze verify --man=no \"$0\" 2>&1) && [ -z \"$problems\" ] || { echo \"$problems\"; exit 1; }"
            check(f"{name(path)} (systemd-analyze verify)", "sh", "-c", verify, unit)
            check(
                f"{name(path)} (systemd-analyze security, exposure below 2.0)",
                "systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit,
            )
    for path in files("systemd/*.yaml"):
        # Whether the daemon takes every key is for its own tests; here: that it is YAML at all.
        report(f"{name(path)} (YAML)", "" if yaml.safe_load(path.read_text())["Version"] == 2 else "no Version: 2")


def grafana():
    exported = (DEPLOY.parent / "src/metrics.rs").read_text()
    for path in files("grafana/*.json"):
        panels = json.loads(path.read_text())["panels"]
        asked = set(re.findall(r"\bxray_([a-z_]+)", json.dumps([panel["targets"] for panel in panels])))
        unknown = [metric for metric in asked if f'"{metric.removesuffix("_bucket")}"' not in exported]
        report(f"{name(path)} (the daemon exports every metric)", ", ".join(unknown) if asked else "no metric")


def sbom():
    [path] = files("sbom")
    done = subprocess.run([path], capture_output=True, text=True)
    if done.returncode:
        report("sbom (runs)", done.stderr)
        return
    error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(done.stdout)
    report("sbom (CycloneDX's schema)", str(error.data.message) if error else "")
    components = json.loads(done.stdout)["components"]
    loose = [c["purl"] for c in components if not (c.get("licenses") and c.get("hashes"))]
    report("sbom (each of its packages has a licence and a checksum)", "\n".join(loose))


def links():
    """Every relative link of the documents leads to a file, and to a heading where it names one."""
    for document in [*DEPLOY.parent.glob("*.md"), *DEPLOY.parent.glob("docs/*.md"), DEPLOY / "README.md"]:
        broken = []
        for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
            if re.match(r"\w+:", link):
                continue
            target, _, heading = link.partition("#")
            path = (document.parent / target) if target else document
            if not path.exists():
                broken.append(link)
            elif heading and heading not in headings(path):
                broken.append(link)
        report(f"{document.relative_to(DEPLOY.parent)} (links)", "\n".join(broken))


def headings(document):
    """As GitHub makes anchors of them."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def nothing_overlooked():
    left = [
        name(path)
        for path in sorted(DEPLOY.rglob("*"))
        if path.is_file()
        and path not in seen
        and name(path) not in UNCHECKED
        and path.relative_to(DEPLOY).parts[0] not in UNCHECKED_FOLDERS
    ]
    report("every file under deploy/ has a check", "\n".join(left))


ECS = botocore.session.get_session().get_service_model("ecs")
for group in [
    cloudformation, iam, ecs, terraform_modules, pulumi, kubernetes, compose, systemd, grafana, sbom, links,
    nothing_overlooked,
]:
    group()
print(f"{passes} passed, {failures} failed")
sys.exit(failures > 0)
