# A server to try things on, for OpenBao: this machine only, no TLS, everything below ./dev.
# It keeps its data and unseals itself; whoever can read ./dev has every secret in it.
#
#   mkdir -p -m 700 dev/data dev/plugins
#   openssl rand -out dev/unseal.key 32
#   scripts/install_plugin dev/plugins           # prints the plugin stanza: put it below
#   bao server -config=hcl/dev.hcl
#   export BAO_ADDR=http://127.0.0.1:8200
#   bao operator init -recovery-shares=1 -recovery-threshold=1   # once: prints the root token
#   bao secrets enable mcp-proxy

storage "raft" {
  path                   = "dev/data"
  node_id                = "dev"
  performance_multiplier = 1 # the shortest wait for the election of the only node
}

listener "tcp" {
  address     = "127.0.0.1:8200"
  tls_disable = true
}

api_addr     = "http://127.0.0.1:8200"
cluster_addr = "https://127.0.0.1:8201"

seal "static" {
  current_key_id = "1"
  current_key    = "file://dev/unseal.key"
}

audit "file" "main" {
  options {
    file_path = "dev/audit.log"
  }
}

plugin_directory     = "dev/plugins"
plugin_auto_register = true

plugin "secret" "mcp-proxy" {
  command   = "vault-plugin-mcp-proxy-0.1.0"
  version   = "v0.1.0"
  sha256sum = "PLUGIN_SHA256"
}
