//! The fields of a service: what is written, what is read, and what both.

use vault_sdk::{Field, FieldType};

use crate::path::fields as shared;

/// What a list tells of each service.
pub(super) fn detail() -> [Field; 6] {
    [
        Field::new("type", FieldType::Str, "http or mcp."),
        Field::new("base_url", FieldType::Str, "Where all its calls go."),
        Field::new("auth", FieldType::Str, "How the credential is sent."),
        Field::new("description", FieldType::Str, "One line about it."),
        Field::new("enabled", FieldType::Bool, "Whether it may be called."),
        Field::new("health", FieldType::Str, "ok, failing, credential_failing or unknown."),
    ]
}

/// What is written and never read.
pub(super) fn written() -> [Field; 5] {
    [shared::TOKEN, shared::USERNAME, shared::PASSWORD, shared::CAS, shared::OPTIONS]
}

/// What is read and never written.
pub(super) fn counted() -> [Field; 4] {
    [
        Field::new("version", FieldType::Int, "Counts writes, for cas.").read_only(),
        Field::new("credential_version", FieldType::Int, "The version of its own credential.")
            .optional()
            .read_only(),
        Field::new("created_time", FieldType::Str, "When it was made.").read_only(),
        Field::new("updated_time", FieldType::Str, "When it was last changed.").read_only(),
    ]
}

/// The definition, as it is written and read.
pub(super) fn settings() -> Vec<Field> {
    let field = Field::new;
    vec![
        shared::NAME,
        field("type", FieldType::Str, "http, or mcp for an MCP server. Fixed at creation.")
            .default("http"),
        field(
            "base_url",
            FieldType::Str,
            "Where all its calls go, such as https://api.github.com; with type=mcp, the endpoint itself.",
        ),
        field(
            "trust",
            FieldType::Str,
            "With type=mcp: pin shows agents the tools that an operator approved, allow shows all.",
        )
        .default("pin")
        .optional(),
        shared::AUTH,
        shared::HEADER_NAME,
        shared::PREFIX,
        shared::PARAM_NAME,
        shared::COOKIE_NAME,
        field("credential", FieldType::Str, "A shared credential's name, instead of token."),
        field(
            "description",
            FieldType::Str,
            "One line for people and models, at most 120 characters.",
        ),
        field(
            "usage",
            FieldType::Str,
            "Notes and example paths for the model, at most 4000 characters.",
        ),
        field(
            "rules",
            FieldType::Items,
            "What may be asked for, first match wins: \"allow GET,HEAD /repos/**, deny * /admin/**\". \
             Once there is one, the rest is denied. A parameter that a rule names must not be a field of \
             the body as well. With type=mcp: \"allow tool get_*, deny tool delete_*, allow resource \
             docs://*, allow prompt *\".",
        )
        .default("none: all is allowed"),
        field("safe_methods", FieldType::List, "Methods that change nothing here.")
            .default("GET,HEAD,OPTIONS"),
        field(
            "headers",
            FieldType::Pairs,
            "Headers sent with every request, such as accept=application/json. Never secrets: they \
             are read back.",
        ),
        field(
            "allowed_request_headers",
            FieldType::List,
            "Headers that callers may set, beside the usual harmless ones.",
        ),
        field(
            "allowed_response_headers",
            FieldType::List,
            "Headers that callers get, beside the usual harmless ones.",
        ),
        field("allow_encoded_slash", FieldType::Bool, "Let %2F stand in a path segment.")
            .default("false"),
        field("allow_path_params", FieldType::Bool, "Let ';' stand in a path segment.")
            .default("false"),
        field("timeout", FieldType::Duration, "For the whole call.").default("30s"),
        field("max_request_bytes", FieldType::Int, "The largest request body.").default("1048576"),
        field("max_response_bytes", FieldType::Int, "The largest answer.").default("8388608"),
        field("max_in_flight", FieldType::Int, "Calls at one time.").default("64"),
        shared::CA_CERT,
        shared::TLS_SERVER_NAME,
        shared::TLS_PIN,
        shared::ADDRESS,
        field(
            "upstream_cidrs",
            FieldType::List,
            "Networks outside the public internet that it may reach, within the mount's.",
        )
        .default("none"),
        field(
            "danger_allow_plaintext",
            FieldType::Bool,
            "Allow an http:// base_url. Needs allow_danger in config.",
        )
        .default("false"),
        shared::INSECURE_TLS,
        field("probe_method", FieldType::Str, "How check asks: GET or HEAD.").default("GET"),
        field(
            "probe_path",
            FieldType::Str,
            "What check asks for: a path that answers only to a valid credential.",
        ),
        field("probe_status", FieldType::Ints, "Statuses that are fine, such as 200,204.")
            .default("200 to 399"),
        field("send_request_id", FieldType::Bool, "Send the request id as X-Request-Id.")
            .default("true"),
        field("custom_metadata", FieldType::Pairs, "The operator's own notes, by name."),
        field("enabled", FieldType::Bool, "Whether it may be called.").default("true"),
    ]
}
