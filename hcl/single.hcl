# One OpenBao server for a household or a team: integrated storage, TLS, an audit log, and a seal
# that opens by itself after a reboot. openbao.service beside this file starts it.
# HashiCorp Vault has no static seal, no audit and no plugin stanza: there, take another `seal`, and
# `vault audit enable` and `vault plugin register` once it runs.
#
# Copy to /etc/openbao/openbao.hcl, then change the name in api_addr and the plugin's sum.

storage "raft" {
  path                   = "/opt/openbao/data"
  node_id                = "one"
  performance_multiplier = 1 # the shortest wait for a leader
}

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/etc/openbao/tls/server.pem" # with its chain; SIGHUP reads a renewed one
  tls_key_file  = "/etc/openbao/tls/server.key"
}

api_addr     = "https://vault.example:8200"
cluster_addr = "https://127.0.0.1:8201" # no other node: not open to the network

# The key that opens the seal, encrypted for this machine (its TPM, or else a key in /var/lib/systemd):
#
#   umask 077; openssl rand -out /dev/shm/unseal.key 32
#   systemd-creds encrypt --name=unseal.key /dev/shm/unseal.key /etc/openbao/unseal.cred
#   base64 /dev/shm/unseal.key         # for the safe
#   rm /dev/shm/unseal.key
#
# systemd decrypts it for the running service alone. This protects copies of the storage and backups,
# and with a TPM copies of the whole disk. It does NOT protect against root on this machine, nor
# against who takes the machine and can start it: both get every secret. Without a TPM a copy of the
# whole disk is enough, too.
#
# A backup opens with this key and no other: the recovery keys of `operator init` don't. Without the
# copy in the safe, apart from the backups, a dead machine is the end of all of them.
seal "static" {
  current_key_id = "1" # a new key: a new id, and the old pair as previous_key_id and previous_key
  current_key    = "file:///run/credentials/openbao.service/unseal.key"
}

# Values are hashed; README.md lists which fields are safe to see. When this file can't be written, the
# server refuses all requests: watch the disk; SIGHUP opens a rotated file. The stanza stays as it was
# at the first start, path included: else neither the server starts nor a backup opens.
audit "file" "main" {
  options {
    file_path = "/var/log/openbao/audit.log"
  }
}

# Owned by root, so that the server can't change what it runs; scripts/install_plugin fills it and
# prints the stanza. A new version gets a stanza of its own beside the old one, and a SIGHUP.
plugin_directory     = "/opt/openbao/plugins"
plugin_auto_register = true

plugin "secret" "mcp-proxy" {
  command   = "vault-plugin-mcp-proxy-0.1.0"
  version   = "v0.1.0"
  sha256sum = "PLUGIN_SHA256"
}

# Backup, from a token that may read sys/storage/raft/snapshot (backup.hcl). The file is as
# encrypted as the storage:
#
#   bao operator raft snapshot save /var/backups/openbao-$(date +%F).snap
#
# Restore, on a new and initialised server with the same unseal key and this same file:
#
#   bao operator raft snapshot restore -force /var/backups/openbao-2026-01-31.snap
