"""An application with the AWS X-Ray SDK for Python: centralized sampling, one trace every 100 ms.

Prints one JSON line for each trace: its id, and the sampling rules the SDK has got from the daemon.
Usage: app.py <seconds>
"""

import json
import sys
import time

from aws_xray_sdk.core import xray_recorder

xray_recorder.configure(service="checkout", sampling=True)
end = time.time() + float(sys.argv[1])
while time.time() < end:
    segment = xray_recorder.begin_segment("checkout", sampling=1)
    with xray_recorder.in_subsegment("größe") as subsegment:
        subsegment.put_annotation("article", "señal ☂")
    xray_recorder.end_segment()
    # Asked for so that the SDK's pollers run: the rules come through the daemon's TCP port.
    xray_recorder.sampler.should_trace({"service": "checkout"})
    rules = [rule.name for rule in xray_recorder.sampler._cache.rules]
    print(json.dumps({"trace": segment.trace_id, "id": segment.id, "rules": rules}), flush=True)
    time.sleep(0.1)
