"""Has a current Python client use one tool: `tools.py mcp|fastmcp MODE BRIDGE TOOL ARGUMENTS`.

Says what it saw in one line of JSON.
"""

import asyncio
import json
import os
import sys

import fastmcp
import fastmcp.client.transports
import mcp
from mcp import StdioServerParameters, stdio_client

LIBRARY, MODE, BRIDGE, TOOL, ARGUMENTS = sys.argv[1:6]


def connect():
    environment = dict(os.environ)
    if LIBRARY == "fastmcp":
        transport = fastmcp.client.transports.StdioTransport(BRIDGE, [], env=environment)
        return fastmcp.Client(transport, mode=MODE)
    parameters = StdioServerParameters(command=BRIDGE, env=environment)
    return mcp.Client(stdio_client(parameters), mode=MODE)


async def main():
    async with connect() as client:
        listed = await client.list_tools()
        listed = listed if isinstance(listed, list) else listed.tools
        arguments = json.loads(ARGUMENTS)
        if LIBRARY == "fastmcp":
            result = await client.call_tool_mcp(TOOL, arguments)
        else:
            result = await client.call_tool(TOOL, arguments)
        session = client if LIBRARY == "mcp" else client.session
        report = {
            "version": session.protocol_version,
            "tools": [tool.name for tool in listed],
            "result": result.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        print(json.dumps(report), flush=True)


asyncio.run(main())
