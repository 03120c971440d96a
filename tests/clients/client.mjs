// Drives the bridge through the TypeScript SDK: `node client.mjs 1|2 MODE BRIDGE`, the SDK's major
// version first. Its packages are looked for in the folder that CLIENTS names.
//
// Says what it saw in one line of JSON, waits for a line on stdin, and says what has changed.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { createInterface } from 'node:readline';

const [major, mode, bridge] = process.argv.slice(2);
const LIMIT = 20_000;

const packages = createRequire(`${process.env.CLIENTS}/package.json`);
const load = (name) => import(pathToFileURL(packages.resolve(name)));
const names =
  major === '1'
    ? ['@modelcontextprotocol/sdk/client/index.js', '@modelcontextprotocol/sdk/client/stdio.js']
    : ['@modelcontextprotocol/client', '@modelcontextprotocol/client/stdio'];
const [{ Client }, { StdioClientTransport }] = await Promise.all(names.map(load));

let told;
const changed = new Promise((resolve, reject) => {
  told = resolve;
  setTimeout(() => reject(new Error('nobody told of a change')), LIMIT).unref();
});
const client = new Client(
  { name: 'test', version: '1' },
  {
    versionNegotiation: { mode },
    listChanged: { tools: { autoRefresh: false, debounceMs: 0, onChanged: () => told() } },
  },
);

async function call(name, args) {
  const result = await client.callTool({ name, arguments: args });
  const text = result.content.map((block) => block.text).join('\n');
  return { text, error: result.isError === true };
}

const say = (report) => process.stdout.write(`${JSON.stringify(report)}\n`);

const { CLIENTS, ...env } = process.env;
await client.connect(new StdioClientTransport({ command: bridge, env, stderr: 'inherit' }));
const before = await client.listTools();
let unknown;
try {
  unknown = (await call('nothing', {})).text;
} catch (error) {
  unknown = error.message;
}
say({
  version: client.getNegotiatedProtocolVersion?.() ?? null,
  instructions: client.getInstructions(),
  tools: before.tools.map((tool) => tool.name),
  overview: await call('list_services', {}),
  read: await call('proxy_read', { service: 'demo', path: '/headers' }),
  refused: await call('proxy_read', { service: 'demon', path: '/' }),
  unknown,
});

await new Promise((resolve) => createInterface(process.stdin).once('line', resolve));
await call('proxy_read', { service: 'demo', path: '/a' });
await changed;
const { tools } = await client.listTools();
const read = tools.find((tool) => tool.name === 'proxy_read');
say({ services: read.inputSchema.properties.service.enum });
await client.close();
process.exit(0);
