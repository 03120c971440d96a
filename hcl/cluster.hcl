# One of three nodes on integrated storage; the same file on each, but for the name. A majority of
# two must live. Every node needs the plugin, the unseal key, and a way to the upstreams: a standby
# performs calls too. What else the stanzas mean is in single.hcl.

storage "raft" {
  path                   = "/opt/openbao/data"
  node_id                = "node1"
  performance_multiplier = 1 # the shortest wait for a leader

  # The one that `operator init` is sent to, once, becomes the leader; the others find it.
  retry_join {
    leader_api_addr     = "https://node1.example:8200"
    leader_ca_cert_file = "/etc/openbao/tls/ca.pem"
  }
  retry_join {
    leader_api_addr     = "https://node2.example:8200"
    leader_ca_cert_file = "/etc/openbao/tls/ca.pem"
  }
  retry_join {
    leader_api_addr     = "https://node3.example:8200"
    leader_ca_cert_file = "/etc/openbao/tls/ca.pem"
  }
}

listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "0.0.0.0:8201" # between the nodes alone: close it to all others
  tls_cert_file   = "/etc/openbao/tls/server.pem"
  tls_key_file    = "/etc/openbao/tls/server.key"
}

api_addr     = "https://node1.example:8200"
cluster_addr = "https://node1.example:8201"

# The same key on every node, encrypted for each. A cloud's or an HSM's seal is better where there
# is one: then no machine holds the key.
seal "static" {
  current_key_id = "1"
  current_key    = "file:///run/credentials/openbao.service/unseal.key"
}

# Each node logs what it is asked: collect all three.
audit "file" "main" {
  options {
    file_path = "/var/log/openbao/audit.log"
  }
}

# The file on every node first, then the stanza on every node, then a SIGHUP or restart, the standbys
# before the leader.
plugin_directory     = "/opt/openbao/plugins"
plugin_auto_register = true

plugin "secret" "mcp-proxy" {
  command   = "vault-plugin-mcp-proxy-0.1.0"
  version   = "v0.1.0"
  sha256sum = "PLUGIN_SHA256"
}
