"""A small shop: one order every two seconds, charged by the service beside it. Both trace themselves."""

import itertools
import os
import random
import time
import urllib.error
import urllib.request

from aws_xray_sdk.core import xray_recorder
from aws_xray_sdk.ext.util import inject_trace_header

PAYMENTS = os.environ.get("PAYMENTS", "http://payments:8080")
xray_recorder.configure(service="shop", sampling=False)


def charge(order):
    """Asks for the money. The header of the request makes the other service a part of this trace."""
    with xray_recorder.in_subsegment("payments", namespace="remote") as call:
        headers = {}
        inject_trace_header(headers, call)
        request = urllib.request.Request(f"{PAYMENTS}/charge/{order}", method="POST", headers=headers)
        call.put_http_meta("method", "POST")
        call.put_http_meta("url", request.full_url)
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                status = response.status
        except urllib.error.HTTPError as error:
            status = error.code
        call.put_http_meta("status", status)
        return status


def place(order):
    with xray_recorder.in_segment("shop") as segment:
        segment.put_http_meta("method", "POST")
        segment.put_http_meta("url", f"http://shop.example/orders/{order}")
        segment.put_annotation("order", order)
        with xray_recorder.in_subsegment("reserve stock"):
            time.sleep(random.uniform(0.005, 0.03))
        segment.put_http_meta("status", 201 if charge(order) == 200 else 500)


for number in itertools.count(1):
    try:
        place(number)
        print(f"order {number} placed", flush=True)
    except OSError as error:
        print(f"order {number} failed: {error}", flush=True)
    time.sleep(2)
