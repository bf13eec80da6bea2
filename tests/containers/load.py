"""Sends segments to AWS_XRAY_DAEMON_ADDRESS at a rate and prints the ids, one a line.

Usage: load.py <segments a second> <seconds>; SIGTERM ends it early.
"""

import json
import os
import secrets
import signal
import socket
import sys
import time

stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
rate, seconds = int(sys.argv[1]), float(sys.argv[2])
host, port = os.environ["AWS_XRAY_DAEMON_ADDRESS"].rsplit(":", 1)
started = time.time()
sent = 0
while not stop and sent < rate * seconds:
    # Resolved again each time, as the Python and Node SDKs do: the daemon may have moved.
    family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as udp:
        while sent < min((time.time() - started) * rate, rate * seconds):
            now, segment = time.time(), secrets.token_hex(8)
            document = {
                "name": "load", "id": segment, "trace_id": f"1-{int(now):08x}-{secrets.token_hex(12)}",
                "start_time": now, "end_time": now + 0.001, "annotations": {"filler": "x" * 700},
            }
            try:
                udp.sendto(b'{"format":"json","version":1}\n' + json.dumps(document).encode(), address)
            except OSError as error:
                print(f"not sent: {error}", file=sys.stderr, flush=True)
                continue
            print(segment, flush=True)
            sent += 1
    time.sleep(0.01)
