"""What goes to AWS as it is: CloudFormation, IAM policies, ECS task definitions."""

import json
import re

import botocore.session
from botocore.validate import ParamValidator
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from report import DEPLOY, ROOT, files, filled_in, name, report, run, scratch

ECS = botocore.session.get_session().get_service_model("ecs")
BATCH = botocore.session.get_session().get_service_model("batch")

# What the daemon calls. Every place that grants permissions grants exactly these.
ACTIONS = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:GetSamplingStatisticSummaries",
}
# The call that takes each file of deploy/ecs; a task definition where there is none.
CALLS = {
    "ec2-daemon-service": "CreateService",
    "managed-daemon": "RegisterDaemonTaskDefinition",
    "managed-daemon-create": "CreateDaemon",
}


def shape_problems(operation, parameters, service=ECS):
    """What the AWS SDK would refuse before sending: unknown, missing and mistyped parameters."""
    return ParamValidator().validate(parameters, service.operation_model(operation).input_shape).generate_report()


def task_definition_problems(definition):
    """The SDK's check, then CloudFormation's, which knows the allowed values and combinations."""
    problems = shape_problems("RegisterTaskDefinition", definition)
    for container in definition["containerDefinitions"]:
        problems += container_problems(container)
    resources = {"Task": {"Type": "AWS::ECS::TaskDefinition", "Properties": capitalised(definition)}}
    return problems + template_problems(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}))


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


def template_problems(text):
    return "\n".join(map(str, lint(text, config=ManualArgs(regions=["eu-west-1"]))))


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


def role_problems(document):
    """A trust policy, as IAM would take it."""
    resource = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": document}}
    return template_problems(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"It": resource}}))


def policy_problems(document):
    resource = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document}}
    return template_problems(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"It": resource}}))


def cloudformation():
    for path in files("cloudformation/*.yaml"):
        report(f"{name(path)} (cfn-lint)", template_problems(path.read_text()))


def iam():
    for path in files("iam/*.json"):
        document = json.loads(filled_in(path.read_text()))
        problems = role_problems if path.stem.endswith("-trust") else policy_problems
        report(f"{name(path)} (cfn-lint)", problems(document))
    granting = files("iam/*-policy.json") + files("cloudformation/*.yaml")
    for path in granting + files("terraform/modules/*/main.tf") + files("pulumi/container.ts"):
        granted = set(re.findall(r"xray:[A-Z]\w+", path.read_text()))
        report(f"{name(path)} (the daemon's five permissions)", "" if granted == ACTIONS else str(granted ^ ACTIONS))


def ecs():
    for path in files("ecs/*.json"):
        definition = json.loads(filled_in(path.read_text()))
        call = CALLS.get(path.stem)
        if call:
            containers = definition.get("containerDefinitions", [])
            problems = shape_problems(call, definition) + "".join(map(container_problems, containers))
            report(f"{name(path)} (botocore, {call})", problems)
            continue
        platforms = ["X86_64", "ARM64"] if "runtimePlatform" in definition else [None]
        for platform in platforms:
            if platform:
                definition["runtimePlatform"]["cpuArchitecture"] = platform
            label = f"{name(path)} {platform or ''}".rstrip()
            report(f"{label} (botocore, cfn-lint)", task_definition_problems(definition))


def batch():
    for path in files("batch/*.json"):
        definition = json.loads(filled_in(path.read_text()))
        resources = {"Job": {"Type": "AWS::Batch::JobDefinition", "Properties": capitalised(definition)}}
        template = json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources})
        problems = shape_problems("RegisterJobDefinition", definition, BATCH) + template_problems(template)
        report(f"{name(path)} (botocore, cfn-lint)", problems)
    [dockerfile] = files("batch/Dockerfile")
    entry_point = 'ENTRYPOINT ["/xray", "exec", "--"]'
    report(f"{name(dockerfile)} (entry point)", "" if entry_point in dockerfile.read_text() else f"no {entry_point}")


def fill():
    """deploy/fill puts an account's values into every file that has placeholders, in every partition."""
    [script] = files("fill")
    with scratch() as folder:
        with open(f"{folder}/aws", "w") as fake:
            fake.write("#!/bin/sh\necho arn:aws-us-gov:sts::123456789012:assumed-role/a-role/a-session\n")
        run("chmod", "+x", f"{folder}/aws")
        env = {"PATH": f"{folder}:/usr/bin:/bin", "AWS_REGION": "us-gov-west-1", "CLUSTER": "a-cluster",
               "CAPACITY_PROVIDER": "a-provider", "APP_IMAGE": "example-app:latest", "OIDC_ISSUER": "oidc.eks.us-gov-west-1.amazonaws.com/id/0A1B2C"}
        for path in files("iam/*.json") + files("ecs/*.json") + files("batch/*.json"):
            good, filled, said = run(script, path, cwd=ROOT, env=env)
            left = re.findall(r"<[A-Z_]+>|arn:aws:", filled)
            report(f"{name(path)} (deploy/fill)", said if not good else ", ".join(left))
        good, _, said = run(script, DEPLOY / "ecs/ec2-daemon-service.json", cwd=ROOT, env={**env, "CLUSTER": "a b|e"})
        report("fill (refuses a value that is none)", "it took a cluster of the name \"a b|e\"" if good else "")
