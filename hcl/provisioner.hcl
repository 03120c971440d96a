# Who gives agents their place in Vault and takes it away: mcp-bridge provision and deprovision.
# Defines no service, enters no secret of a service, makes no call.
#
# Whoever may write a policy may write any that begins so, and give it to a role that begins so: this
# is an administrator's policy. The prefix keeps it off everybody else's policies and roles.

path "sys/policies/acl/mcp-bridge-*" {
  capabilities = ["create", "read", "update", "delete"]
}

# Roles and their secret_ids. mcp-bridge asks for wrapped ones alone; no policy can demand that here:
# a path with + for the role's name loses against this one, which keeps other roles out of reach.
path "auth/approle/role/mcp-bridge-*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# The agent's identity, which the logs and the engine's rules name.
path "identity/entity" {
  capabilities = ["create", "update"]
}

path "identity/entity/name/*" {
  capabilities = ["read", "update"]
}

path "identity/entity/id/*" {
  capabilities = ["delete"]
}

path "identity/entity-alias" {
  capabilities = ["create", "update"]
}

path "identity/entity-alias/id/*" {
  capabilities = ["delete"]
}
