"""What the operator does, from registering the plugin to giving an agent its role."""

import json
import os
import pathlib
import shlex
import subprocess

from . import console
from .processes import Failure
from .server import PLUGIN, TOP

BRIDGE = TOP / "target/release/mcp-bridge"
SERVICE = "demo"
# The agent may read from one service, and know what there is.
POLICY = f"""\
path "mcp-proxy/proxy/{SERVICE}/GET" {{ capabilities = ["update"] }}
path "mcp-proxy/catalog"             {{ capabilities = ["read"] }}
path "mcp-proxy/catalog/{SERVICE}"   {{ capabilities = ["read"] }}
"""


NOTES = "notes"
# And the tools of an MCP server, once that is there.
TOOLS = f"""\
path "mcp-proxy/call/{NOTES}/+"      {{ capabilities = ["update"] }}
path "mcp-proxy/catalog/{NOTES}"     {{ capabilities = ["read"] }}
"""


class Operator:
    """Types commands, and shows them as they could be typed by the reader."""

    def __init__(self, server):
        self.server = server
        self._program = "vault" if server.is_vault else "bao"

    def __call__(self, *arguments, stdin=None, shown=None):
        """Runs one command; `shown` replaces what would be long to read."""
        command = shown or shlex.join(arguments)
        console.command(f"{self._program} {command}")
        return self.server.cli(*arguments, stdin=stdin)

    def enable_plugin(self):
        """Registers and enables the plugin, or brings a kept server up to the plugin built now."""
        checksum = self.server.install_plugin()
        self(
            *("plugin", "register", f"-sha256={checksum}", f"-command={PLUGIN}"),
            *("secret", "mcp-proxy"),
            shown=f"plugin register -sha256={checksum[:12]}… -command={PLUGIN} secret mcp-proxy",
        )
        if "mcp-proxy/" in self.server.must("GET", "sys/mounts")["data"]:
            self("plugin", "reload", "-plugin=mcp-proxy")
        else:
            self("secrets", "enable", "mcp-proxy")
        # Loopback is where the sample upstream lives; by default only public addresses are dialled.
        self("write", "mcp-proxy/config", "upstream_cidrs=127.0.0.0/8")

    def define_service(self, upstream):
        """Stores the service and its token, bound to the upstream's origin and CA."""
        self(
            *("write", f"mcp-proxy/services/{SERVICE}", f"base_url={upstream.url}"),
            *("auth=bearer", "token=-", f"ca_cert=@{upstream.ca}", "upstream_cidrs=127.0.0.0/8"),
            "description=httpbin: echoes and tests HTTP requests",
            stdin=upstream.token,
            shown=f"write mcp-proxy/services/{SERVICE} base_url={upstream.url} auth=bearer token=- "
            "ca_cert=@ca.pem …",
        )

    def define_mcp_server(self, notes, policy):
        """Stores an MCP server and its token, and lets the policy's agents use what is approved."""
        self(
            *("write", f"mcp-proxy/services/{NOTES}", "type=mcp", f"base_url={notes.url}"),
            *("auth=bearer", "token=-", f"ca_cert=@{notes.ca}", "upstream_cidrs=127.0.0.0/8"),
            stdin=notes.token,
            shown=f"write mcp-proxy/services/{NOTES} type=mcp base_url={notes.url} auth=bearer "
            "token=- ca_cert=@ca.pem …",
        )
        rules = self.server.must("GET", f"sys/policies/acl/{policy}")["data"]["policy"]
        self("policy", "write", policy, "-", stdin=f"{rules}\n{TOOLS}")

    def look_at_tools(self):
        """Has the plugin list the MCP server's tools now; approves nothing."""
        self("write", "-force", f"mcp-proxy/tools/{NOTES}/refresh")

    def differences(self):
        """What an approval would change, for people to read."""
        return self("read", "-field=text", f"mcp-proxy/tools/{NOTES}/diff")

    def approve_tools(self):
        """Approves what was read, and nothing that came after."""
        diff = self.server.must("GET", f"mcp-proxy/tools/{NOTES}/diff")["data"]
        digest = diff["digest"]
        self(
            *("write", f"mcp-proxy/tools/{NOTES}/approve", f"digest={digest}"),
            shown=f"write mcp-proxy/tools/{NOTES}/approve digest={digest[:12]}…",
        )

    def store_token(self, token):
        """Stores a new version of the service's token."""
        self("write", f"mcp-proxy/services/{SERVICE}", "token=-", stdin=token)

    def set_rules(self, rules):
        """What may be asked of the service; without a rule, everything."""
        self("write", f"mcp-proxy/services/{SERVICE}", f"rules={rules}")

    def explain(self, path):
        """What a GET of a path would do."""
        path = f"path={path}"
        answer = self("write", "-format=json", f"mcp-proxy/explain/{SERVICE}", "method=GET", path)
        return json.loads(answer)["data"]

    def enable_approle(self):
        """What agents log in by."""
        if "approle/" not in self.server.must("GET", "sys/auth")["data"]:
            self("auth", "enable", "approle")

    def create_agent(self, directory):
        """A policy and an AppRole; gives what the bridge's environment needs."""
        self.enable_approle()
        self("policy", "write", "agent", "-", stdin=POLICY, shown="policy write agent agent.hcl")
        role = "auth/approle/role/agent"
        self("write", role, "token_policies=agent", "token_ttl=1h")
        directory = pathlib.Path(directory)
        environment = {"VAULT_ADDR": self.server.address}
        for name, arguments in (
            ("role_id", ["read", "-field=role_id", f"{role}/role-id"]),
            ("secret_id", ["write", "-force", "-field=secret_id", f"{role}/secret-id"]),
        ):
            file = directory / name
            file.touch(0o600)
            file.write_text(self.server.cli(*arguments))
            environment[f"MCP_BRIDGE_{name.upper()}_FILE"] = str(file)
        return environment

    def provision(self, agent):
        """Gives an agent policy, role, identity and a wrapped secret_id, as JSON tells them."""
        self.enable_approle()
        arguments = ["provision", agent, "--services", SERVICE]
        console.command(f"mcp-bridge {shlex.join(arguments)}")
        environment = {
            "HOME": str(self.server.directory),
            "VAULT_ADDR": self.server.address,
            "VAULT_TOKEN": self.server.token,
        }
        return json.loads(bridge([*arguments, "--json"], environment))

    def log_in(self, role):
        """A token such as the role's holder gets, by a secret_id of the operator's own."""
        path = f"auth/approle/role/{role}"
        login = {
            "role_id": self.server.must("GET", f"{path}/role-id")["data"]["role_id"],
            "secret_id": self.server.must("POST", f"{path}/secret-id", {})["data"]["secret_id"],
        }
        return self.server.must("POST", "auth/approle/login", login)["auth"]["client_token"]


def bridge(arguments, environment, stdin="", expected=0):
    """Runs the bridge to its end with nothing else in its environment; gives what it says."""
    result = subprocess.run(
        [BRIDGE, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]} | environment,
        start_new_session=True,
    )
    said = f"{result.stdout}{result.stderr}" if expected else result.stdout
    if result.returncode != expected:
        said = f"{result.stdout}{result.stderr}".strip()
        raise Failure(f"mcp-bridge {arguments[0]} ended with {result.returncode}: {said}")
    return said
