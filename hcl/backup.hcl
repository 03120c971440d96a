# Who takes backups: a snapshot holds everything, encrypted under the server's seal.

path "sys/storage/raft/snapshot" {
  capabilities = ["read"]
}
