// Has the TypeScript SDK use one tool: `node tools.mjs 1|2 MODE BRIDGE TOOL ARGUMENTS`, the SDK's major
// version first. Its packages are looked for in the folder that CLIENTS names.
//
// Says what it saw in one line of JSON.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [major, mode, bridge, tool, args] = process.argv.slice(2);

const packages = createRequire(`${process.env.CLIENTS}/package.json`);
const load = (name) => import(pathToFileURL(packages.resolve(name)));
const names =
  major === '1'
    ? ['@modelcontextprotocol/sdk/client/index.js', '@modelcontextprotocol/sdk/client/stdio.js']
    : ['@modelcontextprotocol/client', '@modelcontextprotocol/client/stdio'];
const [{ Client }, { StdioClientTransport }] = await Promise.all(names.map(load));

const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } });
const { CLIENTS, ...env } = process.env;
await client.connect(new StdioClientTransport({ command: bridge, env, stderr: 'inherit' }));
// It checks a structured result against the schema of the listed tool.
const { tools } = await client.listTools();
const result = await client.callTool({ name: tool, arguments: JSON.parse(args) });
const version = client.getNegotiatedProtocolVersion?.() ?? null;
const report = { version, tools: tools.map(({ name }) => name), result };
process.stdout.write(`${JSON.stringify(report)}\n`);
await client.close();
process.exit(0);
