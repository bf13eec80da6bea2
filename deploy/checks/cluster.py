"""Kubernetes: plain manifests, Kustomize, Helm."""

import kubernetes_validate
import yaml

from report import DEPLOY, HELM, KUBECTL, ROOT, check, files, name, report, run, scratch

# The oldest with the fields used, one between, and the newest that the checker knows.
RELEASES = ["1.29", "1.33", "1.37"]
# Resources of the Prometheus operator: no schema of Kubernetes' own.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}
ALL_ON = {
    "region": "eu-west-1", "args": ["-l", "warn"], "config": {"Concurrency": 4},
    "env": [{"name": "AWS_USE_FIPS_ENDPOINT", "value": "true"}], "priorityClassName": "system-node-critical",
    "image": {"digest": "sha256:" + "0" * 64}, "imagePullSecrets": [{"name": "a-secret"}],
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/xray-daemon"}},
    "serviceMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True}, "spool": {"enabled": True, "limitMB": 100}, "otlp": {"enabled": True},
}
NOTHING = {
    "networkPolicy": {"enabled": False}, "serviceAccount": {"create": False, "name": "another"},
    "podAnnotations": {}, "tolerations": [],
}


def manifest_problems(text):
    """Against the schemas of three releases, and then whether the parts fit each other."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    problems = "" if documents else "no resource in it\n"
    for document in documents:
        if "<" in yaml.safe_dump(document) and document["kind"] not in FOREIGN:
            problems += f"{document['kind']} has a placeholder that `kubectl apply` would take as it is\n"
        for release in RELEASES:
            if document["kind"] in FOREIGN:
                continue
            try:
                kubernetes_validate.validate(document, release, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                problems += f"{release}, {document['kind']}: {error}\n"
    return problems + wiring_problems(documents) + spool_problems(documents)


def spool_problems(documents):
    """A pod that takes more than the limit of its emptyDir is evicted, with all that it holds."""
    problems = ""
    for pod in [d["spec"]["template"]["spec"] for d in documents if d["kind"] == "DaemonSet"]:
        [container] = pod["containers"]
        arguments = container.get("args", [])
        if "--spool" not in arguments:
            continue
        limit = int(arguments[arguments.index("--spool-limit") + 1])
        sizes = [volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if volume["name"] == "spool"]
        if sizes != [f"{limit + 64}Mi"]:
            problems += f"the spool takes {limit} MB, and its volume {sizes}\n"
    return problems


def wiring_problems(documents):
    """Selectors select, and named ports exist: no schema knows."""
    problems = ""
    of = {kind: [d for d in documents if d["kind"] == kind] for kind in ["DaemonSet", "Service", "ServiceAccount"]}
    pods = [d["spec"]["template"] for d in of["DaemonSet"]]
    if not pods:
        return problems
    labels = pods[0]["metadata"]["labels"]
    ports = {port["name"] for container in pods[0]["spec"]["containers"] for port in container["ports"]}
    for document in documents:
        kind, spec = document["kind"], document.get("spec", {})
        if kind == "Service":
            selector, used = spec["selector"], {port["targetPort"] for port in spec["ports"]}
        elif kind == "DaemonSet":
            selector, used = spec["selector"]["matchLabels"], set()
        elif kind == "NetworkPolicy":
            selector = spec["podSelector"]["matchLabels"]
            used = {port["port"] for rule in spec["ingress"] for port in rule["ports"]}
        elif kind == "ServiceMonitor":
            [service] = of["Service"]
            names = {port["name"] for port in service["spec"]["ports"]}
            wanted = spec["selector"]["matchLabels"].items()
            if not wanted <= service["metadata"]["labels"].items():
                problems += "the ServiceMonitor does not select the Service\n"
            problems += "".join(f"no port {e['port']}\n" for e in spec["endpoints"] if e["port"] not in names)
            continue
        else:
            continue
        if not selector.items() <= labels.items():
            problems += f"the {kind} does not select the pods\n"
        problems += "".join(f"the {kind} names the port {port}, which no container has\n" for port in used - ports)
    return problems


def kubernetes():
    for path in files("kubernetes/*.yaml"):
        report(f"{name(path)} (schemas of {', '.join(RELEASES)})", manifest_problems(path.read_text()))


def kustomize():
    files("kubernetes/*/**/*.yaml")
    for folder in ["base", "overlays/example"]:
        built(f"kubernetes/{folder}", DEPLOY / "kubernetes" / folder)
    # Each component alone, and all of them at once.
    components = sorted(DEPLOY.glob("kubernetes/components/*"))
    with scratch() as work:
        run("cp", "-r", DEPLOY / "kubernetes", work)
        for chosen in [*([component] for component in components), components]:
            overlay = f"{work}/kubernetes/overlays/chosen"
            run("mkdir", "-p", overlay)
            with open(f"{overlay}/kustomization.yaml", "w") as file:
                yaml.safe_dump({
                    "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
                    "resources": ["../../base"],
                    "components": [f"../../components/{component.name}" for component in chosen],
                }, file)
            built("kubernetes base with " + ", ".join(component.name for component in chosen), overlay)
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())
    copy = DEPLOY / "kubernetes/components/prometheus-operator/prometheus-rule.yaml"
    same = yaml.safe_load(copy.read_text())["spec"] == rules
    report(f"{name(copy)} (the rules of prometheus/alerts.yaml)", "" if same else "they differ")


def built(what, folder):
    good, manifest, said = run(KUBECTL, "kustomize", folder)
    report(f"{what} (kustomize, schemas of {', '.join(RELEASES)})", manifest_problems(manifest) if good else said)


def helm():
    chart = DEPLOY / "helm/xray-daemon"
    files("helm/**/*")
    check("helm/xray-daemon (helm lint)", HELM, "lint", "--strict", "--quiet", chart)
    for what, values in {"as it is": {}, "with everything": ALL_ON, "with little": NOTHING}.items():
        good, manifest, said = rendered(chart, values)
        problems = manifest_problems(manifest) if good else said
        report(f"helm/xray-daemon {what} (helm template, schemas of {', '.join(RELEASES)})", problems)
    good, _, _ = rendered(chart, {"spol": {"enabled": True}})
    report("helm/xray-daemon (refuses a value that it does not know)", "it took spol" if good else "")
    report("helm/xray-daemon (is the Kustomize base)", difference(chart))


def rendered(chart, values):
    with scratch() as work:
        with open(f"{work}/values.yaml", "w") as file:
            yaml.safe_dump(values, file)
        command = [HELM, "template", "xray-daemon", chart, "--namespace", "xray", "--values", f"{work}/values.yaml"]
        return run(*command, cwd=ROOT)


def difference(chart):
    """The pods, the service and the policy of the chart are those of the base, apart from labels and the region,
    which the one has as a value and the other from a ConfigMap."""
    texts = [rendered(chart, {})[1], run(KUBECTL, "kustomize", DEPLOY / "kubernetes/base")[1]]
    chosen = []
    for text in texts:
        parts = {d["kind"]: d for d in yaml.safe_load_all(text) if d}
        pod = parts["DaemonSet"]["spec"]["template"]
        [container] = pod["spec"]["containers"]
        container.pop("env", None)
        container.pop("imagePullPolicy", None)
        chosen.append({
            "pod": pod["spec"], "annotations": pod["metadata"]["annotations"],
            "updates": parts["DaemonSet"]["spec"]["updateStrategy"], "ingress": parts["NetworkPolicy"]["spec"]["ingress"],
            "service": {key: value for key, value in parts["Service"]["spec"].items() if key != "selector"},
        })
    ours, base = chosen
    return "\n".join(f"{key}: {ours[key]} is not {base[key]}" for key in ours if ours[key] != base[key])
