"""Stands as the client in a scenario of the conformance suite: `conformance.py URL`.

The operator's part is done with VAULT_TOKEN (a service for the scenario's server, approved), and the
agent's with the bridge that BRIDGE names, as the scenario asks (MCP_CONFORMANCE_SCENARIO and
MCP_CONFORMANCE_CONTEXT).
"""

import asyncio
import json
import os
import sys
import urllib.error
import urllib.request

import mcp
from mcp import StdioServerParameters, stdio_client

URL = sys.argv[1]
SCENARIO = os.environ["MCP_CONFORMANCE_SCENARIO"]
REVISION = os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"]
CONTEXT = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
# A service for each, since all have one Vault.
SERVICE = f"s{abs(hash((SCENARIO, REVISION))) % 10**8}"
PREFIX = f"{SERVICE}__"


def vault(path, **fields):
    request = urllib.request.Request(
        f"{os.environ['VAULT_ADDR']}/v1/mcp-proxy/{path}",
        method="POST",
        data=json.dumps(fields).encode(),
        headers={"X-Vault-Token": os.environ["VAULT_TOKEN"]},
    )
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()
    except urllib.error.HTTPError as error:
        sys.exit(f"{path}: {error.code} {error.read().decode()}")


def define():
    # `localhost` has two addresses.
    open_to = {"danger_allow_plaintext": True, "upstream_cidrs": "127.0.0.0/8,::1/128"}
    vault(f"services/{SERVICE}", type="mcp", base_url=URL, auth="none", **open_to)
    vault(f"tools/{SERVICE}/refresh")
    vault(f"tools/{SERVICE}/approve")


async def perform(client):
    """What the scenario wants to see, as far as the bridge offers it."""
    listed = (await client.list_tools()).tools
    tools = {tool.name.removeprefix(PREFIX): tool for tool in listed if PREFIX in tool.name}
    print("tools:", *tools, file=sys.stderr)

    async def call(tool, arguments):
        result = await client.call_tool(PREFIX + tool, arguments)
        print(tool, result.model_dump_json(exclude_none=True)[:500], file=sys.stderr)

    if CONTEXT.get("toolCalls"):
        for one in CONTEXT["toolCalls"]:
            await call(one["name"], one["arguments"])
    elif SCENARIO == "tools_call":
        await call("add_numbers", {"a": 5, "b": 3})
    elif SCENARIO == "json-schema-2020-12-preservation":
        schema = tools["json_schema_2020_12_tool"].input_schema
        await call("json_schema_echo", {"schema": schema})
    elif SCENARIO == "http-invalid-tool-headers":
        # Whatever is offered: it must be the valid one alone.
        for tool in tools:
            await call(tool, {"region": "us"})
    elif SCENARIO != "json-schema-ref-no-deref":
        for tool in tools:
            await call(tool, {})
    if SCENARIO == "http-standard-headers":
        for resource in (await client.list_resources()).resources:
            await client.read_resource(resource.uri)
        for prompt in (await client.list_prompts()).prompts:
            await client.get_prompt(prompt.name)


async def main():
    define()
    environment = {name: value for name, value in os.environ.items() if name != "VAULT_TOKEN"}
    parameters = StdioServerParameters(command=os.environ["BRIDGE"], env=environment)
    mode = "legacy" if REVISION < "2026" else "2026-07-28"
    async with mcp.Client(stdio_client(parameters), mode=mode, cache=None) as client:
        await perform(client)


asyncio.run(main())
