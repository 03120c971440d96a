"""Child processes that end with us, whatever ends us."""

import signal
import socket
import subprocess
import time
import urllib.request

LIMIT = 30.0
# Loopback never goes through somebody's proxy.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Failure(Exception):
    """Something that the reader can understand without a traceback."""


def start(stack, arguments, log, **options):
    """Starts a process in its own session, so that Ctrl-C reaches us alone and we end it."""
    with open(log, "ab") as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **options,
        )
    stack.callback(stop, process)
    return process


def stop(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(what, condition, process=None, log=None):
    """Asks `condition` until it gives something true; gives that."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        # First, so that nobody else's server on the same port is taken for this one.
        if process and process.poll() is not None:
            tail = open(log, errors="replace").read()[-2000:] if log else ""
            raise Failure(f"{what}: the process has ended\n{tail}")
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise Failure(f"{what}: not within {LIMIT:.0f} s")


def demand_free(port):
    """Fails before anything is started when somebody listens there already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise Failure(f"port {port} is taken; choose another: PORT={port + 100}") from None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end_on_signals():
    """Makes SIGTERM and SIGHUP end us as Ctrl-C does: through every clean-up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
