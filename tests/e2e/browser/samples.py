"""Traces as real services send them, and as nobody should."""

import json
import random
import socket
import time

HEADER = '{"format":"json","version":1}\n'


class Sender:
    """Sends documents to a daemon by UDP."""

    def __init__(self, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.target = ("127.0.0.1", port)

    def __call__(self, *documents):
        for document in documents:
            text = document if isinstance(document, str) else json.dumps(document)
            self.socket.sendto((HEADER + text).encode("utf-8", "surrogatepass"), self.target)


class Ids:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def trace(self, start):
        return f"1-{int(start):08x}-{self.random.getrandbits(96):024x}"

    def segment(self):
        return f"{self.random.getrandbits(64):016x}"


def checkout(ago=2.0, seed=None, slow=None):
    """A shop's checkout: three services, a database, AWS; some of them fail."""
    ids = Ids(seed)
    chance = ids.random.random
    start = time.time() - ago
    trace = ids.trace(start)
    slow = slow or 0.4 + chance() * 1.6
    fails = chance() < 0.15
    throttled = chance() < 0.12
    wrong = not fails and chance() < 0.1
    at = lambda ms: round(start + ms * slow / 1000, 6)
    web, orders, pay, call_orders, call_pay = (ids.segment() for _ in range(5))
    status = 502 if fails else 404 if wrong else 200
    dynamo = lambda op, a, b, table, **more: {
        "id": ids.segment(), "name": "DynamoDB", "namespace": "aws", "start_time": at(a), "end_time": at(b),
        "aws": {"operation": op, "table_name": table, "region": "eu-central-1", "request_id": ids.segment() * 2},
        "http": {"response": {"status": 400 if more else 200, "content_length": 412}}, **more}
    retried = [dynamo("PutItem", 31, 36, "orders", throttle=True, error=True, cause={"exceptions": [{
        "id": ids.segment(), "type": "ThrottlingException", "message": "Rate exceeded; the call is retried", "remote": True}]})] if throttled else []
    path = "/orders/7731" if wrong else "/checkout"
    result = [{
        "trace_id": trace, "id": pay, "parent_id": call_pay, "name": "payments", "start_time": at(145), "end_time": at(480),
        "origin": "AWS::ECS::Container", "fault": fails,
        "http": {"request": {"method": "POST", "url": "http://payments.internal:8080/charge", "client_ip": "10.0.2.41"}, "response": {"status": 503 if fails else 200}},
        **({"cause": {"working_directory": "/app", "exceptions": [{
            "id": ids.segment(), "type": "com.example.AcquirerUnavailable", "message": "acquirer.example.com did not answer within 420 ms; order 4471 is not charged",
            "stack": [{"path": "Charge.java", "line": 118, "label": "authorize"}, {"path": "Checkout.java", "line": 64, "label": "pay"}, {"path": "Server.java", "line": 31, "label": "handle"}]}]}} if fails else {}),
        "annotations": {"amount_eur": 129.9, "acquirer": "example"},
        "subsegments": [
            {"id": ids.segment(), "name": "risk score", "start_time": at(147), "end_time": at(161)},
            {"id": ids.segment(), "name": "acquirer.example.com", "namespace": "remote", "start_time": at(163), "end_time": at(470), "fault": fails,
             "http": {"request": {"method": "POST", "url": "https://acquirer.example.com/v2/authorizations"}, "response": {"status": 504 if fails else 201}}}]},
        {
        "trace_id": trace, "id": orders, "parent_id": call_orders, "name": "orders", "start_time": at(16), "end_time": at(500), "fault": fails,
        "http": {"request": {"method": "POST", "url": "http://orders.internal:8080" + path, "client_ip": "10.0.1.17"}, "response": {"status": 500 if fails else status}},
        "error": wrong, "annotations": {"customer": ids.random.choice(["gold", "silver"]), "items": ids.random.randint(1, 9)},
        "metadata": {"default": {"cart": {"currency": "EUR", "lines": [{"sku": "A-1", "count": 2}, {"sku": "B-7", "count": 1}]}, "flags": ["fast", "gift"]}, "build": {"commit": "4f1c2d9"}},
        "service": {"runtime": "CPython", "runtime_version": "3.12.1", "version": "2024.11"}, "user": "zoë@example.com",
        "subsegments": [
            dynamo("GetItem", 18, 29, "carts"), *retried, dynamo("PutItem", 46, 58, "orders"),
            {"id": ids.segment(), "name": "shop@orders-db.internal", "namespace": "remote", "start_time": at(61), "end_time": at(138),
             "sql": {"url": "postgresql://orders-db.internal:5432/shop", "database_type": "PostgreSQL", "database_version": "16.2", "user": "orders",
                     "sanitized_query": "INSERT INTO outbox (order_id, event, payload)\nSELECT o.id, ?, row_to_json(o)\n  FROM orders o\n  JOIN customers c ON c.id = o.customer_id\n WHERE o.id = ? AND c.state = ?"}},
            {"id": call_pay, "name": "payments.internal", "namespace": "remote", "start_time": at(142), "end_time": at(484), "fault": fails,
             "http": {"request": {"method": "POST", "url": "http://payments.internal:8080/charge", "traced": True}, "response": {"status": 503 if fails else 200}}},
            {"id": ids.segment(), "name": "render receipt", "start_time": at(486), "end_time": at(498)}]},
        {
        "trace_id": trace, "id": web, "name": "web-frontend", "start_time": at(0), "end_time": at(512), "fault": fails, "error": wrong,
        "http": {"request": {"method": "GET" if wrong else "POST", "url": f"https://shop.example.com{path}?step=pay", "user_agent": "Mozilla/5.0", "client_ip": "198.51.100.7"}, "response": {"status": status}},
        "annotations": {"release": "2024.11", "beta": chance() < 0.5},
        "subsegments": [
            {"id": ids.segment(), "name": "validate cart", "start_time": at(2), "end_time": at(9)},
            {"id": call_orders, "name": "orders.internal", "namespace": "remote", "start_time": at(12), "end_time": at(504), "fault": fails, "error": wrong,
             "http": {"request": {"method": "POST", "url": "http://orders.internal:8080" + path, "traced": True}, "response": {"status": 500 if fails else status}}},
            {"id": ids.segment(), "name": "page", "start_time": at(505), "end_time": at(511)}]},
    ]
    return result


def trace_id(number):
    return f"1-6553f100-{number + 1:08x}{number + 1:016x}"


def segment(trace, name, start, duration, **fields):
    """One segment; its id follows from those of its trace."""
    return {"trace_id": trace, "id": trace[-16:], "name": name, "start_time": start, "end_time": start + duration, **fields}
