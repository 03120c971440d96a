# Who enters and rotates secrets, but neither defines services nor makes calls.
# Whoever writes a secret also writes what it is for: origin, place in the request, TLS trust.

path "mcp-proxy/credentials" {
  capabilities = ["list"]
}

path "mcp-proxy/credentials/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}
