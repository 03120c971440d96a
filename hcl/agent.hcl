# An agent that may read from GitHub and open nothing else. One line per service and method;
# `mcp-bridge policy github --methods GET,POST` prints such lines.
#
# End the name of a service with /METHOD, or with /+ for every method. Never with *: `github*`
# would open `github-prod` as well.

path "mcp-proxy/proxy/github/GET" {
  capabilities = ["update"]
}

# Of an MCP server, one line per tool, or /+ for every tool that an operator has approved. A tool stands
# here by its path segment: its name, with '_' for what isn't a letter, a digit, '_' or '-'.
#
# path "mcp-proxy/call/linear/+" {
#   capabilities = ["update"]
# }

# What the bridge shows the agent: names, descriptions, rules. No credentials.
path "mcp-proxy/catalog" {
  capabilities = ["read"]
}

path "mcp-proxy/catalog/github" {
  capabilities = ["read"]
}
