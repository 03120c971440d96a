# Who defines services and watches over the mount, but enters no secret and makes no
# call but a check's probe. A service that needs a credential names a shared one, written by who
# holds secret-writer.hcl; the engine refuses a definition that would send it anywhere but where it
# was written for.

path "mcp-proxy/config" {
  # sudo: these are the mount's ceilings, its allowed networks and the kill switch.
  capabilities = ["read", "create", "update", "sudo"]
}

path "mcp-proxy/services" {
  # Without this, the short form would store a service's own secret here.
  denied_parameters = { "token" = [], "username" = [], "password" = [] }
  capabilities = ["create", "update", "list"]
}

path "mcp-proxy/services/*" {
  denied_parameters = { "token" = [], "username" = [], "password" = [] }
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}

# Sends the declared probe, GET or HEAD, and gives back its status, never its body.
path "mcp-proxy/check/*" {
  capabilities = ["update"]
}

# What a call would send, and where; sends nothing.
path "mcp-proxy/explain/*" {
  capabilities = ["update"]
}

# What MCP servers offer: lists them, shows what changed, approves it. Calls no tool.
path "mcp-proxy/tools" {
  capabilities = ["list"]
}

path "mcp-proxy/tools/*" {
  capabilities = ["read", "update", "list"]
}

path "mcp-proxy/health" {
  capabilities = ["read"]
}

# Names and versions of credentials: never their material, which no path gives out.
path "mcp-proxy/credentials" {
  capabilities = ["list"]
}

path "mcp-proxy/credentials/*" {
  capabilities = ["read", "list"]
}

path "mcp-proxy/info" {
  capabilities = ["read"]
}

path "mcp-proxy/catalog" {
  capabilities = ["read"]
}

path "mcp-proxy/catalog/*" {
  capabilities = ["read"]
}
