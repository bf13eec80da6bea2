"""Runs every check on the files under deploy/ and ends with 'N passed, N failed'.

A missing tool is a failure, and so is a file that no check has looked at.
Usage: deploy/validate [words of check names] (which installs the tools first).
"""

import sys

import aws
import cluster
import hosts
import infrastructure
import monitoring
import repository
from report import counts

CHECKS = [
    aws.cloudformation, aws.iam, aws.ecs, aws.batch, aws.fill,
    infrastructure.terraform_modules, infrastructure.pulumi,
    cluster.kubernetes, cluster.kustomize, cluster.helm,
    hosts.compose, hosts.systemd,
    monitoring.grafana, monitoring.prometheus,
    repository.sbom, repository.versions, repository.links, repository.snippets, repository.workflows,
    repository.nothing_overlooked,
]

words = sys.argv[2:]
for check in CHECKS:
    if not words or any(word in check.__name__ for word in words):
        check()
print(f"{counts['passed']} passed, {counts['failed']} failed")
sys.exit(counts["failed"] > 0 or not counts["passed"])
