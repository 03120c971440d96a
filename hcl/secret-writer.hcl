# Who enters and rotates secrets, but neither defines services nor makes calls.
# Whoever writes a secret also writes what it is for: origin, place in the request, TLS trust.

path "mcp-proxy/credentials" {
  capabilities = ["list"]
}

path "mcp-proxy/credentials/+" {
  capabilities = ["create", "read", "update", "delete"]
}

path "mcp-proxy/credentials/+/versions" {
  capabilities = ["read"]
}

# Makes a new version of an earlier one; also of a service's own credential.
path "mcp-proxy/credentials/+/rollback" {
  capabilities = ["update"]
}

# Deletes earlier secrets for good: leave it out if that is for others to decide.
path "mcp-proxy/credentials/+/destroy" {
  capabilities = ["update"]
}
