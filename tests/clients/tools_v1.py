"""Has version 1 of the Python client use one tool: `tools_v1.py BRIDGE TOOL ARGUMENTS`.

Says what it saw in one line of JSON.
"""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

BRIDGE, TOOL, ARGUMENTS = sys.argv[1:4]


async def main():
    parameters = StdioServerParameters(command=BRIDGE, env=dict(os.environ))
    async with (
        stdio_client(parameters) as (read, write),
        ClientSession(read, write) as session,
    ):
        hello = await session.initialize()
        listed = await session.list_tools()
        result = await session.call_tool(TOOL, json.loads(ARGUMENTS))
        report = {
            "version": hello.protocolVersion,
            "tools": [tool.name for tool in listed.tools],
            "result": result.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        print(json.dumps(report), flush=True)


asyncio.run(main())
