"""A stand-in for the daemon: the page, the API of docs/trace-api.md, and segments by UDP.

It lets the page be changed without building anything: files are read from src/view/page at each
request. `python3 tests/e2e/browser/mock.py [port]` keeps sending itself sample traces.
"""

import json
import queue
import re
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from samples import HEADER, Sender, checkout

PAGE = Path(__file__).resolve().parents[3] / "src/view/page"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
         ".js": "text/javascript; charset=utf-8"}
# The same words as in src/view/page/mod.rs, which a test compares.
CSP = re.search(r'CONTENT_SECURITY_POLICY: &str = "([^"]*)"', (PAGE / "mod.rs").read_text().replace("\\\n", ""))
# Documents may be nested deep.
sys.setrecursionlimit(20_000)
OUTCOMES = ["ok", "error", "throttle", "fault"]


def worst(outcomes):
    return max(outcomes, key=OUTCOMES.index, default="ok")


def outcome(part):
    return next((name for name in reversed(OUTCOMES) if part.get(name) is True), "ok")


def short_url(url):
    url = re.split(r"[?#]", url)[0]
    return re.sub(r"//[^/@]*@", "//", url)


class Trace:
    def __init__(self, key):
        self.id, self.documents, self.parts, self.version = key, [], {}, 0

    def add(self, format, text, document):
        self.documents.append({"format": format, "received": time.time(), "text": text})
        stack = [(document, None)]
        while stack:
            part, holder = stack.pop()
            key = plain(part.get("id")) or f"{holder}/{len(self.parts)}"
            known = self.parts.get(key)
            if not (known and part.get("in_progress") and not known["in_progress"]):
                http, annotations = mapping(part.get("http")), mapping(part.get("annotations"))
                self.parts[key] = {
                    "id": key, "parent": holder or plain(part.get("parent_id")) or None, "name": plain(part.get("name")),
                    "segment": holder is None and part.get("type") != "subsegment", "start": number(part.get("start_time")),
                    "end": number(part.get("end_time")), "in_progress": part.get("in_progress") is True or part.get("end_time") is None,
                    "outcome": outcome(part), "request": mapping(http.get("request")), "status": mapping(http.get("response")).get("status"),
                    "namespace": "sql" if part.get("sql") else part.get("namespace"), "annotations": {k: plain(v) for k, v in annotations.items()},
                    "text": json.dumps([part.get(k) for k in ("name", "http", "sql", "aws", "annotations", "cause", "user")], ensure_ascii=False).lower(),
                }
            children = part.get("subsegments")
            stack.extend((child, key) for child in (children if isinstance(children, list) else []) if isinstance(child, dict))

    def summary(self):
        parts = list(self.parts.values())
        first = min(parts, key=lambda p: (p["parent"] is not None, p["start"] or 9e99))
        starts = [p["start"] for p in parts if p["start"] is not None]
        ends = [p["end"] for p in parts if p["end"] is not None]
        segments = sorted((p for p in parts if p["segment"]), key=lambda p: p["start"] or 9e99)
        request, status = first["request"], first["status"]
        return {
            "id": self.id, "version": self.version, "name": first["name"][:200], "method": plain(request.get("method")) or None,
            "url": short_url(plain(request.get("url")))[:500] or None, "status": status if isinstance(status, int) else None, "start": min(starts, default=None),
            "duration": max(ends) - min(starts) if ends and starts else None, "outcome": worst(p["outcome"] for p in parts),
            "in_progress": any(p["in_progress"] for p in parts),
            "partial": any(p["parent"] and p["parent"] not in self.parts for p in parts),
            "services": list(dict.fromkeys(p["name"] for p in segments))[:10], "segments": len(parts),
        }


def number(value):
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e11 else None


def mapping(value):
    return value if isinstance(value, dict) else {}


def plain(value):
    """A string, a number or a boolean as text."""
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, (bool, int, float)) else ""


class Store:
    def __init__(self):
        self.traces, self.version, self.lock, self.streams, self.cache = {}, 0, threading.RLock(), [], {}

    def add(self, datagram, format="xray", original=None):
        _, _, text = datagram.partition("\n")
        try:
            document = json.loads(text)
            key = (plain(document.get("trace_id")) or f"no trace_id, id {document.get('id')}").lower()
        except (ValueError, AttributeError):
            document, key = {"name": "unreadable"}, f"unreadable {self.version}"
        if re.fullmatch(r"[0-9a-f]{32}", key):
            key = f"1-{key[:8]}-{key[8:]}"
        with self.lock:
            trace = self.traces.setdefault(key, Trace(key))
            trace.add(format, original or text, document)
            self.version += 1
            trace.version = self.version
            self.cache[key] = trace.summary()
            for stream in self.streams:
                stream.put(key)

    def add_spans(self, request):
        for spans in request["resourceSpans"]:
            attributes = {a["key"]: next(iter(a["value"].values())) for a in spans["resource"]["attributes"]}
            for scope in spans["scopeSpans"]:
                for span in scope["spans"]:
                    kept = {"resourceSpans": [{**spans, "scopeSpans": [{**scope, "spans": [span]}]}]}
                    own = span.get("kind") in (2, 5) or not span.get("parentSpanId")
                    self.add(HEADER + json.dumps({
                        "trace_id": span["traceId"], "id": span["spanId"], "parent_id": span.get("parentSpanId") or None,
                        "name": attributes["service.name"] if own else span["name"], "type": None if own else "subsegment",
                        "start_time": int(span["startTimeUnixNano"]) / 1e9, "end_time": int(span["endTimeUnixNano"]) / 1e9,
                        "fault": span.get("status", {}).get("code") == 2}), "otlp", json.dumps(kept))

    def select(self, query):
        found = sorted(self.cache.values(), key=lambda s: -(s["start"] or time.time()))
        return [s for s in found if self.matches(s, query)]

    def matches(self, summary, query):
        parts = self.traces[summary["id"]].parts.values()
        one = lambda name: query.get(name, [""])[0]
        if one("text"):
            hay = summary["id"] + " ".join(p["text"] for p in parts)
            if not all(word in hay for word in one("text").lower().split()):
                return False
        if one("service") and not any(p["segment"] and p["name"] == one("service") for p in parts):
            return False
        if one("status") and not any(self.has_status(summary, word.strip()) for word in one("status").split(",")):
            return False
        for name, sign in (("min_duration", 1), ("max_duration", -1)):
            if one(name) and (summary["duration"] is None or (summary["duration"] - seconds(one(name))) * sign < 0):
                return False
        for wanted in query.get("annotation", []):
            key, is_pair, value = wanted.partition("=")
            if not any(key in p["annotations"] and (not is_pair or p["annotations"][key] == value) for p in parts):
                return False
        bare = lambda key: re.sub(r"^1-|-", "", key)
        if one("id") and not bare(summary["id"]).startswith(bare(one("id").lower())):
            return False
        start = summary["start"] or 0
        return (not one("since") or start >= float(one("since"))) and (not one("until") or start < float(one("until")))

    @staticmethod
    def has_status(summary, word):
        if word in OUTCOMES:
            return summary["outcome"] == word
        if word in ("in_progress", "partial"):
            return summary[word]
        if not re.fullmatch(r"[1-5]xx|\d{3}", word):
            raise ValueError(f'status: "{word}" is none of ok, error, throttle, fault, in_progress, partial, 404, 5xx')
        return re.fullmatch(word.replace("x", r"\d"), str(summary["status"])) is not None


def seconds(text):
    match = re.fullmatch(r"(\d+\.?\d*)\s*(ms|s|)", text)
    if not match:
        raise ValueError(f'"{text}" is no duration; 0.2, 0.2s or 200ms would be')
    return float(match[1]) * (0.001 if match[2] == "ms" else 1)


def service_map(store, query):
    found = store.select(query)
    starts = [s["start"] for s in found if s["start"] is not None]
    window = max(60.0, max(starts, default=0) - min(starts, default=0))
    counts = {}

    def count(key, part):
        counts.setdefault(key, []).append((part["outcome"], (part["end"] or 0) - (part["start"] or 0)))

    for summary in found:
        parts = store.traces[summary["id"]].parts
        answered = {p["parent"] for p in parts.values() if p["segment"]}

        def service(part):
            seen = set()
            while part and not part["segment"] and part["id"] not in seen:
                seen.add(part["id"])
                part = parts.get(part["parent"])
            return "service:" + part["name"] if part and part["segment"] else None

        for part in parts.values():
            if part["segment"]:
                caller = parts.get(part["parent"])
                source = (service(caller) if caller else None) or "client:client"
                count(("service:" + part["name"],), part)
                count((source, "service:" + part["name"]), part)
                if not caller:
                    count(("client:client",), part)
            elif part["namespace"] in ("aws", "remote", "sql") and part["id"] not in answered:
                target = f'{part["namespace"]}:{part["name"]}'
                count((target,), part)
                if service(part):
                    count((service(part), target), part)

    def numbers(key):
        rows = counts[key]
        times = sorted(t for _, t in rows)
        at = lambda q: times[min(len(times) - 1, int(q * len(times)))]
        tally = {f"{name}s": sum(o == name for o, _ in rows) for name in OUTCOMES[1:]}
        return {"requests": len(rows), "per_minute": len(rows) * 60 / window, **tally, "latency": None if key == ("client:client",) else {
            "mean": sum(times) / len(times), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": times[-1]}}

    nodes = [{"id": k[0], "kind": k[0].split(":")[0], "name": k[0].split(":", 1)[1], **numbers(k)} for k in counts if len(k) == 1]
    edges = [{"from": k[0], "to": k[1], **numbers(k)} for k in counts if len(k) == 2]
    return {"version": store.version, "traces": len(found), "seconds": window, "nodes": nodes, "edges": edges}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", len(body))
        self.send_header("Content-Security-Policy", CSP[1])
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def json(self, value, status=200):
        self.answer(status, "application/json", json.dumps(value).encode())

    def do_GET(self):
        url = urlsplit(self.path)
        store = self.server.store
        try:
            if url.path == "/api/events":
                return self.stream(store)
            with store.lock:
                self.route(store, url)
        except ValueError as error:
            self.json({"error": str(error)}, 400)

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.store.add_spans(request)
        self.json({})

    def route(self, store, url):
        if url.path == "/api/traces":
            self.traces(store, parse_qs(url.query))
        elif url.path == "/api/services":
            self.json(service_map(store, parse_qs(url.query)))
        elif url.path.startswith("/api/traces/"):
            trace = store.traces.get(unquote(url.path.removeprefix("/api/traces/")))
            if not trace:
                return self.json({"error": "no such trace is kept"}, 404)
            self.json({"version": store.version, "trace": store.cache[trace.id], "omitted": 0, "documents": trace.documents})
        else:
            name = "index.html" if url.path == "/" else url.path.removeprefix("/page/")
            file = PAGE / Path(name).name
            if file.suffix not in TYPES or not file.exists():
                return self.json({"error": "not found"}, 404)
            self.answer(200, TYPES[file.suffix], file.read_bytes())

    def traces(self, store, query):
        limit = int(query.pop("limit", ["100"])[0])
        found = store.select(query)
        services = sorted({p["name"] for t in store.traces.values() for p in t.parts.values() if p["segment"]})[:200]
        daemon = {"version": "0.0.0", "udp": f"127.0.0.1:{self.server.udp}", "exporter": "console",
                  "used_bytes": sum(len(d["text"]) for t in store.traces.values() for d in t.documents), "limit_bytes": 32 << 20, "dropped": 0}
        self.json({"version": store.version, "daemon": daemon, "services": services, "total": len(store.traces),
                   "matched": len(found), "traces": found[:limit]})

    def stream(self, store):
        changes = queue.Queue()
        store.streams.append(changes)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        ids = set()
        try:
            self.wfile.write(b"retry: 500\n\n")
            while not self.server.closing:
                data = {"version": store.version, "total": len(store.traces), "ids": list(ids)[:100], "more": len(ids) > 100}
                self.wfile.write(f"event: change\nid: {store.version}\ndata: {json.dumps(data)}\n\n".encode())
                self.wfile.flush()
                time.sleep(0.25)
                ids = {changes.get()}
                while not changes.empty():
                    ids.add(changes.get())
        except OSError:
            pass
        finally:
            store.streams.remove(changes)
            self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    closing = False

    def handle_error(self, *_):
        pass


class Mock:
    def __init__(self, port=0):
        self.store = Store()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind(("127.0.0.1", port))
        self.udp = self.socket.getsockname()[1]
        self.server = Server(("127.0.0.1", port), Handler)
        self.server.store, self.server.udp = self.store, self.udp
        self.tcp = self.server.server_address[1]
        threading.Thread(target=self.receive, daemon=True).start()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def receive(self):
        while datagram := self.socket.recv(65536):
            self.store.add(datagram.decode("utf-8", "replace"))

    def stop(self):
        self.server.closing = True
        self.server.shutdown()
        self.server.server_close()


if __name__ == "__main__":
    mock = Mock(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
    print(f"Open http://127.0.0.1:{mock.tcp}/")
    send = Sender(mock.udp)
    for at in range(60):
        send(*checkout(ago=600 - at * 10, seed=at))
    while True:
        time.sleep(2)
        send(*checkout(ago=1, seed=time.time()))
