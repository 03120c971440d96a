"""Drives the bridge through version 1 of the Python client: `client_v1.py BRIDGE`.

Says what it saw in one line of JSON, waits for a line on stdin, and says what has changed.
"""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import ServerNotification, ToolListChangedNotification

BRIDGE = sys.argv[1]
LIMIT = 20


async def call(session, name, **arguments):
    """A tool's answer as text, and whether it is an error."""
    result = await session.call_tool(name, arguments)
    return {"text": "\n".join(block.text for block in result.content), "error": result.isError}


async def main():
    told = asyncio.Event()

    async def message(incoming):
        if isinstance(incoming, ServerNotification) and isinstance(
            incoming.root, ToolListChangedNotification
        ):
            told.set()

    parameters = StdioServerParameters(command=BRIDGE, env=dict(os.environ))
    async with (
        stdio_client(parameters) as (read, write),
        ClientSession(read, write, message_handler=message) as session,
    ):
        hello = await session.initialize()
        listed = await session.list_tools()
        try:
            unknown = (await call(session, "nothing"))["text"]
        except Exception as error:
            unknown = str(error)
        report = {
            "version": hello.protocolVersion,
            "instructions": hello.instructions,
            "tools": [tool.name for tool in listed.tools],
            "overview": await call(session, "list_services"),
            "read": await call(session, "proxy_read", service="demo", path="/headers"),
            "refused": await call(session, "proxy_read", service="demon", path="/"),
            "unknown": unknown,
        }
        print(json.dumps(report), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await call(session, "proxy_read", service="demo", path="/a")
        await asyncio.wait_for(told.wait(), LIMIT)
        tools = {tool.name: tool.inputSchema for tool in (await session.list_tools()).tools}
        services = tools["proxy_read"]["properties"]["service"]["enum"]
        print(json.dumps({"services": services}), flush=True)


asyncio.run(main())
