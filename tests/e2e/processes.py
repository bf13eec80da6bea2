"""The processes under test and beside it: the daemon (or its image), and moto's server."""

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import threading

# An event that comes is never waited for any longer; this is for slow and busy machines.
DEADLINE = 60

REGION = "us-east-1"
KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


class Process:
    """A child whose output is followed line by line."""

    def __init__(self, command, env):
        self.lines = []
        self._changed = threading.Condition()
        self._child = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._follower = threading.Thread(target=self._follow, daemon=True)
        self._follower.start()

    def _follow(self):
        for line in self._child.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self.lines.append(None)
            self._changed.notify_all()

    def wait_line(self, pattern):
        """The first line in which the pattern is found, as a match."""
        seen = itertools.count()
        index = next(seen)
        with self._changed:
            while True:
                if not self._changed.wait_for(lambda: len(self.lines) > index, DEADLINE):
                    raise AssertionError(f"no {pattern!r} in:\n{self}")
                line = self.lines[index]
                if line is None:
                    raise AssertionError(f"it ended without {pattern!r}:\n{self}")
                if match := re.search(pattern, line):
                    return match
                index = next(seen)

    def stop(self):
        """SIGTERM; the exit code."""
        self._child.send_signal(signal.SIGTERM)
        try:
            code = self._child.wait(DEADLINE)
        finally:
            self._child.kill()
        self._follower.join(DEADLINE)
        return code

    def __str__(self):
        return "\n".join(line for line in self.lines if line is not None)


def free_port():
    """One that no outgoing connection is given, so that a daemon finds it free again."""
    for port in range(20_000 + os.getpid() % 5_000, 30_000):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


class Daemon(Process):
    """The daemon on free ports, sending to `endpoint`."""

    def __init__(self, artifact, endpoint, *arguments):
        settings = {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL_XRAY": endpoint,
        }
        flags = ["-o", "-n", REGION, "-b", "127.0.0.1:0", "-t", "127.0.0.1:0", *arguments]
        if image := artifact.get("image"):
            options = [word for item in settings.items() for word in ("-e", "=".join(item))]
            if "--spool" in arguments:
                # The image's user, who is not the one of the tests, makes the spool in it.
                folder = os.path.dirname(arguments[arguments.index("--spool") + 1])
                os.chmod(folder, 0o777)
                options += ["-v", f"{folder}:{folder}"]
            command = ["docker", "run", "--rm", "--network=host", *options, image, *flags]
            super().__init__(command, os.environ)
        else:
            super().__init__([artifact["xray"], *flags], settings)
        self.udp = int(self.wait_line(r"Listening on udp 127\.0\.0\.1:(\d+)")[1])
        self.tcp = int(self.wait_line(r"Starting proxy http server on 127\.0\.0\.1:(\d+)")[1])
        if "--otlp" in arguments:
            self.otlp = int(self.wait_line(r"Listening for OTLP on 127\.0\.0\.1:(\d+)")[1])

    @property
    def address(self):
        """The value for AWS_XRAY_DAEMON_ADDRESS."""
        return f"tcp:127.0.0.1:{self.tcp} udp:127.0.0.1:{self.udp}"


class Moto(Process):
    """moto's server as X-Ray."""

    def __init__(self, python):
        main = "from moto.server import main; main()"
        super().__init__([python, "-c", main, "-H", "127.0.0.1", "-p", "0"], os.environ)
        self.url = self.wait_line(r"Running on (http://\S+)")[1]
