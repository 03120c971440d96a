"""A real OpenBao (or Vault) server with the plugin, and its command line."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import urllib.error
import urllib.request

from .processes import OPENER, Failure, free_port, start, stop, until

TOP = pathlib.Path(__file__).resolve().parents[2]
PLUGIN = "vault-plugin-mcp-proxy"
PROGRAM = TOP / ".cache/bin/bao"


class Server:
    """One server in `directory`: configuration, plugin, log, audit log, and data if kept."""

    def __init__(self, stack, directory, kept, log_level="trace", port=None):
        self.directory = pathlib.Path(directory)
        self.kept = kept
        self.address = f"http://127.0.0.1:{port or free_port()}"
        self.token = ""
        self.log = self.directory / "server.log"
        self.is_vault = "Vault" in self.cli("version")
        (self.directory / "plugins").mkdir(exist_ok=True)
        (self.directory / "data").mkdir(exist_ok=True)
        configuration = self.directory / "server.hcl"
        configuration.write_text(self._configuration(log_level))
        self.process = start(
            stack,
            [PROGRAM, "server", f"-config={configuration}"],
            self.log,
            env=os.environ | {"HOME": str(self.directory), "TMPDIR": str(self.directory)},
        )
        until("the server to answer", self._answers, self.process, self.log)
        self._unseal()

    def api(self, method, path, fields=None, token=None):
        """One request to Vault's HTTP API: (status, answer)."""
        request = urllib.request.Request(
            f"{self.address}/v1/{path}",
            method=method,
            data=None if fields is None else json.dumps(fields).encode(),
            headers={"X-Vault-Request": "true", "X-Vault-Token": token or self.token},
        )
        try:
            with OPENER.open(request) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        return status, json.loads(text) if text.strip() else {}

    def must(self, method, path, fields=None):
        """The same, for what has to succeed: the answer."""
        status, answer = self.api(method, path, fields)
        if status not in (200, 204):
            raise Failure(f"{method} {path}: {status} {answer.get('errors', answer)}")
        return answer

    def cli(self, *arguments, stdin=None):
        """Runs the server's own command line, as an operator would."""
        variables = {"HOME": str(self.directory)}
        for prefix in ("BAO", "VAULT"):
            variables |= {f"{prefix}_ADDR": self.address, f"{prefix}_TOKEN": self.token}
        result = subprocess.run(
            [PROGRAM, *arguments],
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=os.environ | variables,
            # Ctrl-C is for us; this one ends by itself.
            start_new_session=True,
        )
        if result.returncode:
            raise Failure(f"{' '.join(arguments[:2])}: {result.stderr.strip()}")
        return result.stdout

    def install_plugin(self):
        """Copies the built plugin into the plugin directory; gives its SHA-256."""
        built = TOP / "target/release" / PLUGIN
        if not built.exists():
            raise Failure("the plugin isn't built; run: make build")
        target = self.directory / "plugins" / PLUGIN
        # A running plugin keeps its old file; the new one takes the name.
        target.unlink(missing_ok=True)
        shutil.copy(built, target)
        return hashlib.sha256(target.read_bytes()).hexdigest()

    def plugin_processes(self):
        """The ids of the plugin's processes: the server starts no other children."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                head, _, tail = (entry / "stat").read_text().rpartition(") ")
                state, parent = tail.split()[:2]
            except (OSError, ValueError):
                continue
            if int(parent) == self.process.pid and state != "Z":
                found.append(int(head.split()[0]))
        return found

    def kill_plugin(self):
        """Kills the plugin without a warning, and waits until the server has noticed."""
        processes = self.plugin_processes()
        # go-plugin's words; in the instant before, the server answers 500 by itself.
        noticed = lambda: self.log.read_text(errors="replace").count("plugin process exited")
        before = noticed()
        for process in processes:
            os.kill(process, signal.SIGKILL)
        until("the server to notice", lambda: noticed() >= before + len(processes))

    def stop(self):
        stop(self.process)

    def _configuration(self, log_level):
        folder, cluster = self.directory, f"127.0.0.1:{free_port()}"
        storage = 'storage "inmem" {}'
        if self.kept:
            # One node elects itself after the election time-out: ask for the shortest.
            storage = (
                f'storage "raft" {{\n  path = "{folder}/data"\n  node_id = "one"\n'
                f"  performance_multiplier = 1\n}}"
            )
        listen = self.address.removeprefix("http://")
        lines = [
            storage,
            f'listener "tcp" {{\n  address = "{listen}"\n  cluster_address = "{cluster}"\n'
            f"  tls_disable = true\n}}",
            f'api_addr = "{self.address}"',
            f'cluster_addr = "https://{cluster}"',
            f'plugin_directory = "{folder}/plugins"',
            f'log_level = "{log_level}"',
        ]
        if self.is_vault:
            lines.append("disable_mlock = true")
        else:
            lines.append(
                f'audit "file" "main" {{\n  options {{\n    file_path = "{folder}/audit.log"\n'
                f"  }}\n}}"
            )
        return "\n".join(lines) + "\n"

    def _answers(self):
        try:
            return self.api("GET", "sys/seal-status")[0] == 200
        except OSError:
            return False

    def _unseal(self):
        keys_file = self.directory / "keys.json"
        if not keys_file.exists():
            shares = {"secret_shares": 1, "secret_threshold": 1}
            keys = self.must("POST", "sys/init", shares)
            with open(os.open(keys_file, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
                json.dump({"key": keys["keys"][0], "root_token": keys["root_token"]}, file)
        keys = json.loads(keys_file.read_text())
        if not self.kept:
            keys_file.unlink()
        self.token = keys["root_token"]
        self.must("POST", "sys/unseal", {"key": keys["key"]})
        until("the server to be active", lambda: self.api("GET", "sys/health")[0] == 200)
        if self.is_vault and "file/" not in self.must("GET", "sys/audit").get("data", {}):
            options = {"file_path": str(self.directory / "audit.log")}
            self.must("POST", "sys/audit/file", {"type": "file", "options": options})
