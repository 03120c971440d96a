# Who looks: definitions, who wrote which credential when, what a call would do, how services fare.
# Reads no secret (no path gives one), changes nothing and makes no call, a check's probe included.

path "mcp-proxy/info" {
  capabilities = ["read"]
}

path "mcp-proxy/config" {
  # sudo is what any use of this path takes; without update it only reads.
  capabilities = ["read", "sudo"]
}

path "mcp-proxy/services" {
  capabilities = ["list"]
}

path "mcp-proxy/services/+" {
  capabilities = ["read"]
}

path "mcp-proxy/credentials" {
  capabilities = ["list"]
}

# Origin, place in the request, trust, and when each version was written and last used.
path "mcp-proxy/credentials/+" {
  capabilities = ["read"]
}

path "mcp-proxy/credentials/+/versions" {
  capabilities = ["read"]
}

# A dry run: the rule that decides, the URL, the credential's name and version. Sends nothing.
path "mcp-proxy/explain/+" {
  capabilities = ["update"]
}

path "mcp-proxy/catalog" {
  capabilities = ["read"]
}

path "mcp-proxy/catalog/+" {
  capabilities = ["read"]
}

path "mcp-proxy/health" {
  capabilities = ["read"]
}

# Which fields the audit log shows in clear.
path "sys/mounts/mcp-proxy/tune" {
  capabilities = ["read"]
}
