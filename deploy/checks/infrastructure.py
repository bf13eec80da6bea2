"""Infrastructure as code: Terraform and Pulumi."""

import json
import subprocess

import terraform
from aws import task_definition_problems
from report import DEPLOY, TOOLS, check, files, name, report


def terraform_modules():
    for path in files("terraform/**/main.tf"):
        module = terraform.Module(path)
        report(f"{name(path)} (HashiCorp's parser)", module.syntax_problems())
        report(f"{name(path)} (the AWS provider's schema)", module.schema_problems(TOOLS / "checks"))
        report(f"{name(path)} (what it gives its modules)", module.call_problems())
        for task, definition in module.task_definitions():
            report(f"{name(path)} {task} (botocore, cfn-lint)", task_definition_problems(definition))


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
            report(f"{label} (botocore, cfn-lint)", task_definition_problems(definition))


def typescript_problems(snippet):
    """What the compiler says of a program that stands alone, as in the guide."""
    project = TOOLS / "pulumi"
    folder = project / "snippet"
    folder.mkdir(exist_ok=True)
    (folder / "index.ts").write_text(snippet)
    settings = {"extends": "../tsconfig.json", "include": ["index.ts"], "compilerOptions": {"noEmit": True}}
    (folder / "tsconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [project / "node_modules/.bin/tsc", "-p", "."], cwd=folder, capture_output=True, text=True,
    )
    return done.stdout + done.stderr if done.returncode else ""
