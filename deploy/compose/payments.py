"""Charges cards for the shop, and declines every fifth."""

import random
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aws_xray_sdk.core import xray_recorder
from aws_xray_sdk.core.models.trace_header import TraceHeader

xray_recorder.configure(service="payments", sampling=False)


class Payments(BaseHTTPRequestHandler):
    def do_POST(self):
        order = int(self.path.rpartition("/")[2])
        header = TraceHeader.from_header_str(self.headers.get("X-Amzn-Trace-Id"))
        with xray_recorder.in_segment("payments", traceid=header.root, parent_id=header.parent) as segment:
            segment.put_http_meta("method", "POST")
            segment.put_http_meta("url", f"http://payments{self.path}")
            status = self.ask_the_bank(order)
            segment.put_http_meta("status", status)
        self.send_response(status)
        self.end_headers()

    def ask_the_bank(self, order):
        try:
            with xray_recorder.in_subsegment("bank.example", namespace="remote"):
                time.sleep(random.uniform(0.02, 0.08))
                if order % 5 == 0:
                    raise TimeoutError("the bank did not answer")
        except TimeoutError:
            return 502
        return 200

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("", 8080), Payments).serve_forever()
