"""AWS as a container sees it, in one process: credentials and metadata on port 80, X-Ray on port 443.

It runs inside a container of the test's network, under the addresses and names of the real services.
The tests steer it through a Unix socket, so that cutting its network does not cut them off.
Usage: fakes.py <folder with server.pem and the control socket>
"""

import hashlib
import hmac
import itertools
import json
import secrets
import socket
import socketserver
import ssl
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from pathlib import Path

FOLDER = Path(sys.argv[1])
REGION = "eu-west-1"
TASK_ARN = f"arn:aws:ecs:{REGION}:123456789012:task/shop/0123456789abcdef"
RULE = {
    "RuleName": "checkout", "RuleARN": f"arn:aws:xray:{REGION}:123456789012:sampling-rule/checkout",
    "Priority": 1, "FixedRate": 1.0, "ReservoirSize": 50, "ServiceName": "*", "ServiceType": "*",
    "Host": "*", "HTTPMethod": "*", "URLPath": "*", "ResourceARN": "*", "Version": 1, "Attributes": {},
}

lock = threading.Lock()
settings = {"lifetime": 3600, "hop_limit": 64, "status": 200, "delay": 0}
issued = {}  # access key id -> (secret, token, expiry)
seen = {
    "documents": [], "keys": [], "telemetry": 0, "rules": 0, "targets": 0,
    "problems": [], "authorizations": [], "imds_tokens": 0, "user_agents": [],
}
numbers = itertools.count(1)


def note(what, value):
    with lock:
        if value not in seen[what]:
            seen[what].append(value)


def now():
    return datetime.now(timezone.utc)


def credentials():
    """New ones at each call, as short-lived as the test wants."""
    key, secret, token = f"ASIATEST{next(numbers):08d}", secrets.token_hex(20), secrets.token_urlsafe(100)
    expiry = now() + timedelta(seconds=settings["lifetime"])
    with lock:
        issued[key] = (secret, token, expiry)
    return {
        "AccessKeyId": key, "SecretAccessKey": secret, "Token": token,
        "Expiration": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def signature_problem(request, body):
    """Why X-Ray would refuse this request, or None. Recomputes SigV4 from what arrived."""
    headers = request.headers
    try:
        scheme, fields = headers["Authorization"].split(" ", 1)
        parts = dict(field.strip().split("=", 1) for field in fields.split(","))
        key, date, region, service, terminator = parts["Credential"].split("/")
        signed = parts["SignedHeaders"].split(";")
        stamp = headers["X-Amz-Date"]
        when = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return f"MissingAuthenticationToken: {error!r}"
    if (scheme, region, service, terminator) != ("AWS4-HMAC-SHA256", REGION, "xray", "aws4_request"):
        return f"InvalidSignature: scope {scheme} {region} {service}"
    if key not in issued:
        return "UnrecognizedClient: nobody was given this key"
    secret, token, expiry = issued[key]
    if headers["X-Amz-Security-Token"] != token:
        return "UnrecognizedClient: another session token"
    if now() > expiry:
        return "ExpiredToken: of " + expiry.isoformat()
    if abs(now() - when) > timedelta(minutes=5):
        return "InvalidSignature: the clock"
    if not {"host", "x-amz-date", "x-amz-security-token"} <= set(signed):
        return f"InvalidSignature: only {signed} are signed"
    canonical = "\n".join([
        request.command, request.path, "",
        *[f"{name}:{' '.join(headers[name].split())}" for name in signed], "",
        ";".join(signed), hashlib.sha256(body).hexdigest(),
    ])
    to_sign = "\n".join([
        scheme, stamp, f"{date}/{region}/{service}/{terminator}", hashlib.sha256(canonical.encode()).hexdigest(),
    ])
    digest = ("AWS4" + secret).encode()
    for word in (date, region, service, terminator):
        digest = hmac.digest(digest, word.encode(), "sha256")
    expected = hmac.new(digest, to_sign.encode(), "sha256").hexdigest()
    return None if hmac.compare_digest(expected, parts["Signature"]) else "InvalidSignature: it does not match"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One write an answer: with the hop limit on, each packet counts.
    wbufsize = -1

    def log_message(self, *_):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status, content, kind="application/json", **headers):
        payload = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(payload)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(payload)
        self.wfile.flush()


class Metadata(Handler):
    def do_PUT(self):
        if self.path != "/latest/api/token":
            return self.answer(404, "", "text/plain")
        with lock:
            seen["imds_tokens"] += 1
        # Only the answer to this request is sent with the instance's hop limit.
        self.connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, settings["hop_limit"])
        self.answer(200, "imds-token", "text/plain", X_Aws_Ec2_Metadata_Token_Ttl_Seconds="21600")

    def do_GET(self):
        if self.path.startswith("/latest/") and self.headers["X-Aws-Ec2-Metadata-Token"] != "imds-token":
            return self.answer(401, "", "text/plain")
        role = "/latest/meta-data/iam/security-credentials/"
        if self.path == "/v2/credentials/task":
            return self.answer(200, {"RoleArn": "arn:aws:iam::123456789012:role/task", **credentials()})
        if self.path == "/v4/container/task":
            return self.answer(200, {"Cluster": "shop", "TaskARN": TASK_ARN, "AvailabilityZone": f"{REGION}a"})
        if self.path == "/v1/credentials":
            return self.pod_identity()
        if self.path == role:
            return self.answer(200, "instance-role", "text/plain")
        if self.path == role + "instance-role":
            return self.answer(200, {"Code": "Success", "Type": "AWS-HMAC", **credentials()}, "text/plain")
        if self.path == "/latest/dynamic/instance-identity/document":
            return self.answer(200, {"region": REGION, "instanceId": "i-0123456789abcdef0"}, "text/plain")
        if self.path == "/latest/meta-data/instance-id":
            return self.answer(200, "i-0123456789abcdef0", "text/plain")
        if self.path == "/latest/meta-data/hostname":
            return self.answer(200, "ip-10-0-0-1.internal", "text/plain")
        self.answer(404, "", "text/plain")

    def pod_identity(self):
        # The kubelet's file, which is replaced while the pod runs: only its present content will do.
        if self.headers["Authorization"] != (FOLDER / "token/eks-pod-identity-token").read_text():
            note("problems", "pod identity: not the token that the file holds now")
            return self.answer(403, "token expired", "text/plain")
        note("authorizations", self.headers["Authorization"])
        self.answer(200, {"AccountId": "123456789012", **credentials()})


class XRay(Handler):
    def do_POST(self):
        body = self.body()
        time.sleep(settings["delay"])
        if settings["status"] != 200:
            return self.answer(settings["status"], {"message": "the test wants this"})
        problem = signature_problem(self, body)
        if problem:
            note("problems", problem)
            code = problem.split(":")[0] + "Exception"
            return self.answer(403, {"message": problem}, x_amzn_ErrorType=code)
        note("keys", self.headers["Authorization"].split("Credential=")[1].split("/")[0])
        note("user_agents", self.headers["User-Agent"])
        if self.path == "/TraceSegments":
            documents = json.loads(body)["TraceSegmentDocuments"]
            if len(documents) > 50:
                note("problems", f"{len(documents)} documents in one request")
            with lock:
                seen["documents"] += documents
            return self.answer(200, {"UnprocessedTraceSegments": []})
        if self.path == "/GetSamplingRules":
            with lock:
                seen["rules"] += 1
            record = {"CreatedAt": 0.0, "ModifiedAt": 0.0, "SamplingRule": RULE}
            return self.answer(200, {"NextToken": None, "SamplingRuleRecords": [record]})
        if self.path == "/SamplingTargets":
            with lock:
                seen["targets"] += 1
            target = {
                "RuleName": RULE["RuleName"], "FixedRate": 1.0, "ReservoirQuota": 50,
                "ReservoirQuotaTTL": time.time() + 300, "Interval": 10,
            }
            return self.answer(200, {
                "SamplingTargetDocuments": [target], "LastRuleModification": 0.0, "UnprocessedStatistics": [],
            })
        if self.path == "/TelemetryRecords":
            with lock:
                seen["telemetry"] += 1
            return self.answer(200, {})
        self.answer(404, {"message": self.path})


class Control(Handler):
    def do_GET(self):
        with lock:
            self.answer(200, seen)

    def do_POST(self):
        settings.update(json.loads(self.body()))
        self.answer(200, {})

    def address_string(self):
        return "control"


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port, handler, tls=None):
        self.tls = tls
        super().__init__(("::", port), handler)

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def finish_request(self, request, client_address):
        # In the connection's own thread: a slow handshake is nobody else's business.
        if self.tls:
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        """Clients that hang up are no news."""


class ControlServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(FOLDER / "server.pem")
servers = [Server(80, Metadata), Server(443, XRay, tls), ControlServer(str(FOLDER / "control"), Control)]
for server in servers[:-1]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[-1].serve_forever()
