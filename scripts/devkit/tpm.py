"""A TPM for the agent's machine: the real one, or one in software."""

import os
import pathlib
import socket

from .processes import Failure, free_port, start, until

DEVICE = pathlib.Path("/dev/tpmrm0")


def of_this_machine(stack, directory):
    """The way to a TPM, and what it is: this machine's own where there is one that we may use."""
    if os.access(DEVICE, os.R_OK | os.W_OK):
        return f"device:{DEVICE}", f"this machine's TPM, {DEVICE}"
    return in_software(stack, directory), "a TPM in software (swtpm): nobody's protection, for show"


def in_software(stack, directory):
    """Starts a TPM of its own, as another machine would have; gives the way to it."""
    directory.mkdir()
    for _ in range(5):
        # The control channel must be the next port, which may be taken.
        port = free_port()
        log = directory / "log"
        process = start(
            stack,
            [
                *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={directory}"),
                *("--server", f"type=tcp,port={port},bindaddr=127.0.0.1"),
                *("--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1"),
                *("--flags", "not-need-init,startup-clear"),
            ],
            log,
        )
        if until("swtpm", lambda: process.poll() is not None or _listens(port + 1)):
            if process.poll() is None:
                return f"swtpm:host=127.0.0.1,port={port}"
    raise Failure(f"swtpm doesn't start:\n{log.read_text(errors='replace')[-2000:]}")


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
