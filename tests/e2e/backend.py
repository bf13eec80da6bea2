"""An X-Ray that keeps what it is sent, and checks every signature with botocore's own signer."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from processes import DEADLINE, KEY_ID, REGION, SECRET

RULES = {
    "NextToken": None,
    "SamplingRuleRecords": [
        {
            "CreatedAt": 0.0,
            "ModifiedAt": 1.602621583e9,
            "SamplingRule": {
                "Attributes": {},
                "FixedRate": rate,
                "HTTPMethod": "*",
                "Host": "*",
                "Priority": priority,
                "ReservoirSize": 0,
                "ResourceARN": "*",
                "RuleARN": f"arn:aws:xray:us-east-1:123456789012:sampling-rule/{name}",
                "RuleName": name,
                "ServiceName": service,
                "ServiceType": "*",
                "URLPath": "*",
                "Version": 1,
            },
        }
        for name, service, rate, priority in [
            ("always-the-shop", "shop", 1.0, 1),
            ("Default", "*", 0.0, 10000),
        ]
    ],
}
# Adaptive sampling: a rule that takes nothing, unless X-Ray has boosted it.
BOOSTED_RULES = {
    "SamplingRuleRecords": [
        {
            **RULES["SamplingRuleRecords"][0],
            "SamplingRule": {
                **RULES["SamplingRuleRecords"][0]["SamplingRule"],
                "FixedRate": 0.0,
                "SamplingRateBoost": {"MaxRate": 1.0, "CooldownWindowMinutes": 10},
            },
        }
    ],
}
BOOSTED_TARGETS = {
    "SamplingTargetDocuments": [
        {
            "RuleName": "always-the-shop",
            "FixedRate": 0.0,
            "Interval": 10,
            "ReservoirQuota": 0,
            "SamplingBoost": {"BoostRate": 1.0, "BoostRateTTL": 4102444800.0},
        }
    ],
    "LastRuleModification": 1602621583,
    "UnprocessedStatistics": [],
    "UnprocessedBoostStatistics": [
        {"RuleName": "gone", "ErrorCode": "400", "Message": "Unknown rule"}
    ],
}
ANSWERS = {
    "/TraceSegments": {"UnprocessedTraceSegments": []},
    "/TelemetryRecords": {},
    "/GetSamplingRules": RULES,
    "/SamplingTargets": {
        "SamplingTargetDocuments": [],
        "LastRuleModification": 1602621583,
        "UnprocessedStatistics": [],
    },
}


class Backend:
    """Serves on a free port until `close`."""

    def __init__(self):
        self.answers = dict(ANSWERS)
        self.requests = []
        self.faults = []
        # While it is set, connections are closed without an answer.
        self.is_away = threading.Event()
        self._changed = threading.Condition()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if backend.is_away.is_set():
                    self.close_connection = True
                    return
                answer = json.dumps(backend.answers.get(self.path, {})).encode()
                # Before the answer: whoever has it can rely on the request being seen.
                backend._take(self, body)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()

    def _take(self, request, body):
        fault = fault_of(self.url, request, body)
        with self._changed:
            if fault:
                self.faults.append(f"{request.path}: {fault}")
            self.requests.append((request.path, request.headers, body))
            self._changed.notify_all()

    def wait(self, find):
        """What `find` finds in the requests, as soon as it does."""
        found = []
        with self._changed:
            if not self._changed.wait_for(
                lambda: found.append(find(self.requests)) or found[-1], DEADLINE
            ):
                raise AssertionError(f"not in {[path for path, _, _ in self.requests]}")
        return found[-1]

    def wait_call(self, path):
        """Headers and body of the first request to `path`."""
        return self.wait(lambda all: next(((h, b) for p, h, b in all if p == path), None))

    def wait_calls(self, path, is_enough):
        """The bodies of the requests to `path`, once they are enough, each with its headers."""

        def calls(requests):
            found = [(h, b) for p, h, b in requests if p == path]
            return found if is_enough(found) else None

        return self.wait(calls)

    def wait_documents(self, count):
        """The first documents, once there are `count` of them."""

        def documents(requests):
            bodies = [json.loads(b) for p, _, b in requests if p == "/TraceSegments"]
            all_of_them = [d for b in bodies for d in b["TraceSegmentDocuments"]]
            return all_of_them if len(all_of_them) >= count else None

        return self.wait(documents)


def fault_of(url, request, body):
    """Why botocore would not have signed the request like that; None if it would."""
    authorization = request.headers.get_all("Authorization") or []
    if len(authorization) != 1:
        return f"{len(authorization)} Authorization headers"
    algorithm, _, rest = authorization[0].partition(" ")
    fields = dict(field.strip().split("=", 1) for field in rest.split(","))
    signed = fields["SignedHeaders"].split(";")
    headers = {name: request.headers[name] for name in signed}
    again = AWSRequest("POST", url + request.path, headers=headers, data=body)
    again.context["timestamp"] = request.headers["X-Amz-Date"]
    signer = SigV4Auth(Credentials(KEY_ID, SECRET), "xray", REGION)
    text = signer.string_to_sign(again, signer.canonical_request(again))
    if algorithm != "AWS4-HMAC-SHA256" or fields["Credential"] != signer.scope(again):
        return f"{algorithm} {fields['Credential']}"
    if fields["Signature"] != signer.signature(text, again):
        return f"signature over {signed}"
    return None
