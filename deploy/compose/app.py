"""A small shop that traces itself: one order every two seconds, every fifth one fails."""

import itertools
import random
import time

from aws_xray_sdk.core import xray_recorder

xray_recorder.configure(service="shop", sampling=False)


def pay(order):
    with xray_recorder.in_subsegment("payments", namespace="remote") as call:
        call.put_http_meta("method", "POST")
        call.put_http_meta("url", "https://payments.example/charge")
        time.sleep(random.uniform(0.02, 0.08))
        declined = order % 5 == 0
        call.put_http_meta("status", 502 if declined else 200)
        if declined:
            raise RuntimeError("card processor did not answer")


def place(order):
    with xray_recorder.in_segment("shop") as segment:
        segment.put_http_meta("method", "POST")
        segment.put_http_meta("url", f"http://shop.example/orders/{order}")
        segment.put_annotation("order", order)
        with xray_recorder.in_subsegment("reserve stock"):
            time.sleep(random.uniform(0.005, 0.03))
        try:
            pay(order)
        except RuntimeError:
            segment.put_http_meta("status", 500)
        else:
            segment.put_http_meta("status", 201)


for order in itertools.count(1):
    place(order)
    print(f"order {order} placed", flush=True)
    time.sleep(2)
