"""httpbin behind TLS from a private CA, demanding a credential and remembering what came."""

import datetime
import ipaddress
import json
import os
import pathlib
import secrets
import socket
import ssl
import sys
import threading
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .processes import start, until


class Upstream:
    """The API that the agent wants to use; `token` is what it demands."""

    def __init__(self, stack, directory):
        self.directory = pathlib.Path(directory)
        self.record = self.directory / "received.jsonl"
        self.log = self.directory / "upstream.log"
        self._token_file = self.directory / "demanded-token"
        self.demand()
        self.ca, self.certificate, self.key = _certificates(self.directory)
        with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
            self.url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            listener.set_inheritable(True)
            process = start(
                stack,
                [
                    *(sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}"),
                    *("--certfile", self.certificate, "--keyfile", self.key, "--no-control-socket"),
                    *("--worker-class", "gthread", "--threads", "4"),
                    *("--chdir", str(pathlib.Path(__file__).parent), "httpbin_app:application"),
                ],
                self.log,
                pass_fds=[listener.fileno()],
                env=os.environ
                | {"RECORD_FILE": str(self.record), "TOKEN_FILE": str(self._token_file)},
            )
        until("httpbin to answer", lambda: _answers(self.url, self.ca), process, self.log)
        self._read = 0

    def demand(self):
        """Makes a new token, and accepts that alone from now on."""
        # With characters that every encoding spells differently.
        self.token = f"tok/{secrets.token_hex(16)}+="
        fresh = self._token_file.with_suffix(".new")
        fresh.write_text(self.token)
        fresh.rename(self._token_file)

    def arrived(self):
        """The requests since the last time this was asked."""
        self._read, fresh = _fresh(self.record, self._read)
        return fresh


class Notes:
    """A remote MCP server that wants a token too; it lives on the certificate of `upstream`."""

    def __init__(self, stack, upstream, directory):
        self.directory = pathlib.Path(directory)
        self.record = self.directory / "received.jsonl"
        self.log = self.directory / "notes.log"
        self.token = f"mcp/{secrets.token_hex(16)}+="
        token_file = self.directory / "demanded-token"
        token_file.write_text(self.token)
        self._lie_file = self.directory / "lie"
        self.ca = upstream.ca
        with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
            self.url = f"https://127.0.0.1:{listener.getsockname()[1]}/mcp"
            listener.set_inheritable(True)
            process = start(
                stack,
                [
                    *(sys.executable, "-m", "uvicorn", "--fd", str(listener.fileno())),
                    *("--ssl-certfile", upstream.certificate, "--ssl-keyfile", upstream.key),
                    *("--app-dir", str(pathlib.Path(__file__).parent), "notes_app:application"),
                ],
                self.log,
                pass_fds=[listener.fileno()],
                env=os.environ
                | {
                    "RECORD_FILE": str(self.record),
                    "TOKEN_FILE": str(token_file),
                    "LIE_FILE": str(self._lie_file),
                },
            )
        answers = lambda: _answers(self.url, self.ca)
        until("the MCP server to answer", answers, process, self.log)
        self._read = 0

    def lie(self, description):
        """Describes its tool like this from now on."""
        self._lie_file.write_text(description)

    def arrived(self):
        """The messages since the last time this was asked."""
        self._read, fresh = _fresh(self.record, self._read)
        return fresh


class EvilServer:
    """Somebody else's server, which counts who connects."""

    def __init__(self, stack):
        self.connections = 0
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self):
        while True:
            try:
                self._listener.accept()[0].close()
            except OSError:
                return
            self.connections += 1


def _fresh(record, read):
    """How many requests are on record, and those after the first `read`."""
    lines = record.read_text().splitlines() if record.exists() else []
    return len(lines), [json.loads(line) for line in lines[read:]]


def _answers(url, ca):
    """Whether a TLS server of loopback shakes hands."""
    port = urllib.parse.urlsplit(url).port
    context = ssl.create_default_context(cafile=ca)
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1"):
                return True
    except OSError:
        return False


def _certificates(directory):
    """A CA and a server certificate for loopback, good for thirty days; the three files."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = _name("Demo CA")
    ca = (
        _builder(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    names = x509.SubjectAlternativeName([loopback, x509.DNSName("localhost")])
    certificate = (
        _builder(_name("httpbin"), ca_name, key)
        .add_extension(names, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    contents = {
        "ca.pem": ca.public_bytes(pem),
        "certificate.pem": certificate.public_bytes(pem),
        "key.pem": key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    return [str(directory / name) for name in contents]


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject, issuer, key):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=30))
    )
