"""Counts what passed and what failed, and which files were looked at."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent.parent
ROOT = DEPLOY.parent
TOOLS = Path(sys.argv[1])
BIN = TOOLS / "venv/bin"
NPM = TOOLS / "checks/node_modules/.bin"
HELM = TOOLS / "checks/helm/helm"
KUBECTL = TOOLS / "checks/kubectl/kubectl"

seen = set()
counts = {"passed": 0, "failed": 0}


def report(what, problem):
    if problem:
        counts["failed"] += 1
        print(f"FAILED  {what}\n{problem.rstrip()}")
    else:
        counts["passed"] += 1
        print(f"ok      {what}")


def run(*command, cwd=None, env=None):
    """(whether it ended with 0, what it printed to stdout, what it said altogether)."""
    try:
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    except FileNotFoundError:
        return False, "", f"{command[0]} is not installed"
    return done.returncode == 0, done.stdout, done.stdout + done.stderr or f"exit {done.returncode}"


def check(what, *command, cwd=None):
    """Passes when the command exits 0; what it printed is the reason otherwise."""
    good, _, said = run(*command, cwd=cwd)
    report(what, "" if good else said)


def files(pattern):
    found = sorted(DEPLOY.glob(pattern))
    if not found:
        report(pattern, "no such file")
    seen.update(found)
    return found


def name(path):
    return str(path.relative_to(DEPLOY))


def filled_in(text):
    """The text with a user's values in place of the placeholders, as deploy/fill puts them."""
    for word, value in {"ACCOUNT_ID": "123456789012", "REGION": "eu-west-1", "PARTITION": "aws"}.items():
        text = text.replace(f"<{word}>", value)
    return re.sub(r"<([A-Z_]+)>", r"\1", text)


def scratch():
    return tempfile.TemporaryDirectory(prefix="xray-checks-")
