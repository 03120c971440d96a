# Who gives agents their place in Vault and takes it away: mcp-bridge provision and deprovision.
# Defines no service, enters no secret of a service, makes no call.
#
# A token with this policy amounts to an administrator of its namespace: it may write any rules into a
# policy whose name begins so, give that to a role that begins so, and log in; and it may tie a role's
# alias to anybody's entity. The prefix keeps mistakes off other people's policies and roles, not
# intent: guard the token as you guard an administrator's.

path "sys/policies/acl/mcp-bridge-*" {
  capabilities = ["create", "read", "update", "delete"]
}

# Roles and their secret_ids. mcp-bridge asks for wrapped ones alone; no policy can demand that here:
# a path with + for the role's name loses against this one, which keeps other roles out of reach.
path "auth/approle/role/mcp-bridge-*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# The agent's identity, which the logs and the engine's rules name.
# No policies and no aliases of its choice: these fields alone.
path "identity/entity" {
  capabilities = ["create", "update"]
  allowed_parameters = {
    "name"     = []
    "metadata" = []
  }
}

path "identity/entity/name/*" {
  capabilities = ["read", "update"]
  allowed_parameters = {
    "disabled" = []
  }
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
