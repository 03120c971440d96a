//! The fields of `tools/`, of requests and of answers.

use vault_sdk::{Field, FieldType};

use crate::mcp::definition::Kind;

pub(super) const SERVICE: Field = Field::new("service", FieldType::Str, "The service's name.");
pub(super) const TOOL: Field = Field::new(
    "name",
    FieldType::Str,
    "The tool's name, digest or segment. Prompts, resources, templates and instructions are read by \
     digest.",
);
pub(super) const SEGMENT: Field = Field::new(
    "segment",
    FieldType::Str,
    "What the tool goes by in paths: letters, digits, '_' and '-', at most 64.",
)
.default("the name, each other character an '_'");
pub(super) const DIGEST: Field = Field::new(
    "digest",
    FieldType::Str,
    "Approve only if this is the digest of what was last stored as seen, as diff tells it.",
);

/// Each field that names definitions, with their kind.
pub(super) const SELECTED: [(&str, Kind); 4] = [
    ("names", Kind::Tool),
    ("prompts", Kind::Prompt),
    ("resources", Kind::Resource),
    ("resource_templates", Kind::ResourceTemplate),
];

pub(super) fn selection() -> [Field; 4] {
    [
        Field::new("names", FieldType::List, "These tools alone.")
            .default("everything, the server's instructions included"),
        Field::new("prompts", FieldType::List, "These prompts, by name."),
        Field::new("resources", FieldType::List, "These resources, by URI."),
        Field::new("resource_templates", FieldType::List, "These templates, by URI template."),
    ]
}

pub(super) fn counts_of_service() -> [Field; 3] {
    [
        Field::new("tools", FieldType::Int, "Tools that agents see."),
        Field::new("waiting", FieldType::Int, "Tools that wait for an operator."),
        unreadable(),
    ]
}

pub(in crate::path) fn unreadable() -> Field {
    Field::new(
        "unreadable",
        FieldType::Bool,
        "True when what is stored of an MCP server's tools can't be read: tools/<service>/refresh \
         stores what was seen anew.",
    )
    .optional()
}

const STATE: Field = Field::new(
    "state",
    FieldType::Str,
    "approved, allowed, changed, new, withheld-collision, refused or gone.",
);
const SEGMENT_READ: Field =
    Field::new("segment", FieldType::Str, "What it goes by in paths.").optional();

pub(super) fn state_of_name() -> [Field; 2] {
    [STATE, SEGMENT_READ]
}

fn tool_counts() -> Field {
    let count = |state| Field::new(state, FieldType::Int, "How many tools are in this state.");
    Field::new("tools", FieldType::Json, "Tools by state.").of([
        count("approved"),
        count("allowed"),
        count("changed"),
        count("new"),
        count("withheld-collision"),
        count("refused"),
        count("gone"),
    ])
}

fn waiting() -> Field {
    Field::new("waiting", FieldType::Int, "Tools that wait for an operator.")
}

fn digest() -> Field {
    Field::new("digest", FieldType::Str, "Over everything seen; SHA-256, whatever the order.")
        .optional()
}

fn overview() -> Vec<Field> {
    let server = [
        Field::new("name", FieldType::Str, "What it calls itself."),
        Field::new("version", FieldType::Str, "And its version."),
    ];
    vec![
        SERVICE,
        Field::new("trust", FieldType::Str, "pin or allow."),
        digest(),
        Field::new("seen_at", FieldType::Str, "When it was first seen to be so.").optional(),
        Field::new("protocol", FieldType::Str, "The revision of MCP that was spoken.").optional(),
        Field::new("server", FieldType::Json, "The server.").of(server).optional(),
        Field::new("left_out", FieldType::List, "What wasn't taken, and why."),
        Field::new("stale", FieldType::Bool, "Whether this node's last look failed."),
        Field::new("stale_since", FieldType::Str, "Since when.").optional(),
        Field::new("stale_code", FieldType::Str, "The code of the failure.").optional(),
        tool_counts(),
        waiting(),
        Field::new("prompts", FieldType::Int, "Prompts that agents see."),
        Field::new("resources", FieldType::Int, "Resources that agents see."),
        Field::new("resource_templates", FieldType::Int, "Templates that agents see."),
    ]
}

pub(super) fn looked() -> Vec<Field> {
    let changed = Field::new("changed", FieldType::Bool, "Whether it differs from before.");
    overview().into_iter().chain([changed]).collect()
}

const KIND: Field = Field::new(
    "kind",
    FieldType::Str,
    "tool, prompt, resource, resource template or instructions.",
);

fn state() -> Vec<Field> {
    vec![
        Field::new("name", FieldType::Str, "Its name or URI, as the server gave it."),
        STATE,
        SEGMENT_READ,
        Field::new("digest", FieldType::Str, "Of the definition as last seen."),
        Field::new("approved_digest", FieldType::Str, "Of the definition as approved.").optional(),
        Field::new("approved_at", FieldType::Str, "When it was approved.").optional(),
        Field::new("approved_by", FieldType::Str, "Who approved it.").optional(),
        Field::new("problem", FieldType::Str, "Why it can't be offered.").optional(),
        Field::new("denied_by_rule", FieldType::Bool, "Whether the service's rules deny it."),
    ]
}

pub(super) fn states() -> Vec<Field> {
    let flags = Field::new("flags", FieldType::Items, "What to look at before approving.");
    let state = state().into_iter().chain([KIND, flags]);
    let states = Field::new("states", FieldType::List, "Everything seen or approved.").of(state);
    overview().into_iter().chain([states]).collect()
}

const OLD: &str = "JSON as approved; hidden characters are written out. A field that is too long is \
                   cut to what agents see of it, and says so.";

fn flags() -> Field {
    Field::new("flags", FieldType::List, "What to look at before approving.").of([
        Field::new("code", FieldType::Str, "Which pattern."),
        Field::new("at", FieldType::Str, "Where in the definition."),
        Field::new("text", FieldType::Str, "The words; hidden characters are written out."),
    ])
}

pub(super) fn differences() -> Vec<Field> {
    let change = [
        KIND,
        Field::new("name", FieldType::Str, "Its name or URI."),
        Field::new("change", FieldType::Str, "new, changed, refused or gone."),
        Field::new(
            "renamed_from",
            FieldType::Str,
            "What is gone and was the same but for its name.",
        )
        .optional(),
        SEGMENT_READ,
        Field::new("digest", FieldType::Str, "As last seen."),
        Field::new("approved_digest", FieldType::Str, "As approved.").optional(),
        Field::new("fields", FieldType::List, "The fields that differ."),
        flags(),
        Field::new("problem", FieldType::Str, "Why it can't be offered.").optional(),
        Field::new("old", FieldType::Text, OLD).optional(),
        Field::new("new", FieldType::Text, "The same as last seen.").optional(),
    ];
    vec![
        SERVICE,
        digest(),
        Field::new("seen_at", FieldType::Str, "When it was first seen to be so.").optional(),
        Field::new("changes", FieldType::List, "What an approval would change.").of(change),
        Field::new("text", FieldType::Text, "The same to read: -field=text."),
    ]
}

pub(super) fn approved() -> Vec<Field> {
    let approved = Field::new("approved", FieldType::Int, "How many approvals were made.");
    vec![approved, tool_counts(), waiting(), digest()]
}

pub(super) fn revoked() -> Vec<Field> {
    let revoked = Field::new("revoked", FieldType::Int, "How many approvals were taken back.");
    vec![revoked, tool_counts(), waiting()]
}

pub(super) fn tool() -> Vec<Field> {
    let texts = [
        KIND,
        flags(),
        Field::new("definition", FieldType::Text, "JSON as last seen, as the server gave it.")
            .optional(),
        Field::new("approved_definition", FieldType::Text, "JSON as approved.").optional(),
        Field::new("shown", FieldType::Text, "JSON as agents see it, or would.").optional(),
    ];
    state().into_iter().chain(texts).collect()
}

pub(super) fn named() -> Vec<Field> {
    vec![Field::new("name", FieldType::Str, "The tool's name."), SEGMENT_READ, STATE]
}
