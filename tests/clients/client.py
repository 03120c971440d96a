"""Drives the bridge through the current Python clients: `client.py mcp|fastmcp MODE BRIDGE`.

Says what it saw in one line of JSON, waits for a line on stdin, and says what has changed.
"""

import asyncio
import json
import os
import sys

import fastmcp
import fastmcp.client.transports
import mcp
from mcp import StdioServerParameters, stdio_client
from mcp.client.subscriptions import listen

LIBRARY, MODE, BRIDGE = sys.argv[1:4]
LIMIT = 20


def connect(told):
    """A client that starts the bridge, and calls `told` when the tools have changed."""

    async def message(incoming):
        if "ToolListChanged" in type(getattr(incoming, "root", incoming)).__name__:
            told.set()

    if LIBRARY == "fastmcp":
        transport = fastmcp.client.transports.StdioTransport(BRIDGE, [], env=dict(os.environ))
        return fastmcp.Client(transport, mode=MODE, message_handler=message, cache=False)
    parameters = StdioServerParameters(command=BRIDGE, env=dict(os.environ))
    return mcp.Client(stdio_client(parameters), mode=MODE, message_handler=message, cache=None)


async def call(client, name, **arguments):
    """A tool's answer as text, and whether it is an error."""
    if LIBRARY == "fastmcp":
        result = await client.call_tool(name, arguments, raise_on_error=False)
    else:
        result = await client.call_tool(name, arguments)
    text = "\n".join(block.text for block in result.content)
    return {"text": text, "error": bool(result.is_error)}


async def tools(client):
    """The tools by name."""
    listed = await client.list_tools()
    listed = listed if isinstance(listed, list) else listed.tools
    return {tool.name: tool.input_schema for tool in listed}


async def first_minute(client):
    """What a model meets first."""
    before = await tools(client)
    try:
        unknown = (await call(client, "nothing"))["text"]
    except Exception as error:
        unknown = str(error)
    session = client if LIBRARY == "mcp" else client.session
    return {
        "version": session.protocol_version,
        "instructions": session.instructions,
        "tools": list(before),
        "overview": await call(client, "list_services"),
        "read": await call(client, "proxy_read", service="demo", path="/headers"),
        "refused": await call(client, "proxy_read", service="demon", path="/"),
        "unknown": unknown,
    }


async def changes(client, told):
    """What the model may call after the operator has defined another service."""
    await asyncio.to_thread(sys.stdin.readline)
    await call(client, "proxy_read", service="demo", path="/a")
    await asyncio.wait_for(told.wait(), LIMIT)
    after = await tools(client)
    return {"services": after["proxy_read"]["properties"]["service"]["enum"]}


def say(report):
    """One line for whoever started this."""
    print(json.dumps(report), flush=True)


async def main():
    told = asyncio.Event()
    async with connect(told) as client:
        report = await first_minute(client)
        say(report)
        if report["version"] < "2026":
            return say(await changes(client, told))
        session = client.session
        async with listen(session, tools_list_changed=True) as subscription:

            async def follow():
                async for _ in subscription:
                    told.set()

            following = asyncio.create_task(follow())
            say(await changes(client, told))
            following.cancel()


asyncio.run(main())
