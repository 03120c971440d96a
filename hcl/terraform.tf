# The engine by Terraform (or OpenTofu): the mount, its settings, services, credentials and a policy,
# with nothing but the Vault provider's vault_generic_endpoint.
#
# What to know:
# - Write values in the form in which they are read: timeout = 45 and lists as lists. "45s" is taken
#   too, but is read as 45, which Terraform would show as a difference for ever.
# - ignore_absent_fields = true everywhere: a read gives every field with its default, and never a
#   secret. With it, only the fields written here are compared, and a secret counts as up to date.
# - Writes merge: a field that is taken out here keeps its last value. Set it to "" (or null) for one
#   apply to return it to its default.
# - A secret written here stands in Terraform's state in clear. Who doesn't want that leaves token out
#   and stores it with: vault write mcp-proxy/credentials/github token=-
#   Each apply that writes a token makes a new version of the credential.

terraform {
  required_providers {
    vault = {
      source = "hashicorp/vault"
    }
  }
}

variable "github_token" {
  type      = string
  sensitive = true
}

variable "weather_key" {
  type      = string
  sensitive = true
}

# The plugin is registered in the catalog already: see the README.
resource "vault_mount" "apis" {
  path        = "mcp-proxy"
  type        = "mcp-proxy"
  description = "APIs for agents"
}

# The settings of the mount, which need the sudo capability. They can't be deleted, only changed.
resource "vault_generic_endpoint" "config" {
  path                 = "${vault_mount.apis.path}/config"
  ignore_absent_fields = true
  disable_delete       = true

  data_json = <<-JSON
    {
      "max_timeout": 45,
      "denied_destinations": ["192.0.2.0/24", "internal.example"]
    }
  JSON
}

# A credential that several services may use. It is bound to one origin and one place in the request.
resource "vault_generic_endpoint" "github_credential" {
  path                 = "${vault_mount.apis.path}/credentials/github"
  ignore_absent_fields = true
  # What the write answers, for other resources: write_data["version"].
  write_fields = ["version"]

  data_json = <<-JSON
    {
      "origin": "https://api.github.com",
      "auth": "bearer",
      "token": "${var.github_token}"
    }
  JSON
}

resource "vault_generic_endpoint" "github" {
  # A credential can't be deleted while a service names it: this order makes destroy work.
  depends_on           = [vault_generic_endpoint.github_credential, vault_generic_endpoint.config]
  path                 = "${vault_mount.apis.path}/services/github-api"
  ignore_absent_fields = true

  data_json = <<-JSON
    {
      "base_url": "https://api.github.com",
      "auth": "bearer",
      "credential": "github",
      "description": "Code, issues and pull requests",
      "rules": ["allow GET,HEAD /**", "allow POST /repos/*/*/issues"],
      "headers": { "accept": "application/vnd.github+json" },
      "timeout": 20,
      "probe_path": "/user",
      "probe_status": [200],
      "custom_metadata": { "owner": "platform" }
    }
  JSON
}

# The short form: a service with a credential of its own, deleted with it.
resource "vault_generic_endpoint" "weather" {
  depends_on           = [vault_generic_endpoint.config]
  path                 = "${vault_mount.apis.path}/services/weather"
  ignore_absent_fields = true

  data_json = <<-JSON
    {
      "base_url": "https://weather.example/v1",
      "auth": "query_param",
      "param_name": "key",
      "token": "${var.weather_key}",
      "safe_methods": ["GET", "HEAD"],
      "enabled": true
    }
  JSON
}

# What an agent may do.
resource "vault_policy" "agent" {
  name   = "mcp-agent"
  policy = <<-HCL
    path "${vault_mount.apis.path}/catalog"              { capabilities = ["read"] }
    path "${vault_mount.apis.path}/catalog/+"            { capabilities = ["read"] }
    path "${vault_mount.apis.path}/proxy/github-api/GET" { capabilities = ["update"] }
    path "${vault_mount.apis.path}/proxy/weather/GET"    { capabilities = ["update"] }
  HCL
}
