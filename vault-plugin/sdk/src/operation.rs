//! The operations a host may ask for, as one explicit table.

use std::fmt;

/// An operation that an engine may implement on a path.
///
/// The names on the wire are those of the host's `logical.Operation`
/// (OpenBao `sdk/logical/request.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// A write to something that the path's existence check did not find.
    Create,
    /// `GET`.
    Read,
    /// A write to something that exists, or on a path without an existence check.
    Update,
    /// A JSON merge patch (RFC 7396): no existence check runs before it.
    Patch,
    /// `DELETE`.
    Delete,
    /// `LIST`; the path always ends in `/`.
    List,
}

impl Operation {
    /// The name that policies and audit logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::List => "list",
        }
    }

    /// Whether the fields come from a request body, where a misspelt one must not be ignored.
    pub(crate) fn has_body(self) -> bool {
        match self {
            Self::Create | Self::Update | Self::Patch => true,
            Self::Read | Self::Delete | Self::List => false,
        }
    }

    /// The HTTP status that a host makes of an answer without data.
    pub(crate) fn empty_status(self) -> u16 {
        match self {
            Self::Read | Self::List => 404,
            Self::Create | Self::Update | Self::Patch | Self::Delete => 204,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the SDK does with the `operation` string of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dispatch {
    /// Goes to a path's handler.
    Path(Operation),
    /// `help`: answered from the declared paths alone, for any valid token.
    Help,
    /// `rollback`: once a minute on the active node.
    Periodic,
    /// Everything else, known or not.
    ///
    /// `resolve-path` is the one that matters: OpenBao 2.7 sends it before *every* request, before
    /// it looks at the token, and a `path` in the answer's data would replace the path that the
    /// policy is checked against. So nothing unknown ever reaches a handler.
    Unsupported,
}

/// Decides by the name alone; the request's data stays unparsed.
pub(crate) fn dispatch(operation: &str) -> Dispatch {
    match operation {
        "create" => Dispatch::Path(Operation::Create),
        "read" => Dispatch::Path(Operation::Read),
        "update" => Dispatch::Path(Operation::Update),
        "patch" => Dispatch::Path(Operation::Patch),
        "delete" => Dispatch::Path(Operation::Delete),
        "list" => Dispatch::Path(Operation::List),
        "help" => Dispatch::Help,
        "rollback" => Dispatch::Periodic,
        _ => Dispatch::Unsupported,
    }
}

/// What running an operation may do; the router, not a handler, acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Reads storage or memory.
    Pure,
    /// Writes storage.
    ///
    /// Refused with the read-only error on a node that may not write, before the handler runs: the
    /// host then sends the whole request to the active node. Once begun it runs to its end, also
    /// when the client goes away or the deadline has passed, so that no write stops half-way.
    MayWrite,
    /// Sends something to another system, and never writes storage.
    ///
    /// It runs on any node. When the client goes away it is cancelled. A panic, a missed deadline
    /// and every error that would be a 412, a 429, a 5xx or the read-only error become a 424: the
    /// hosts and their clients send such a request again, and a call that may have had an effect
    /// must not run twice.
    CallsOut,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_six_path_operations_reach_a_handler() {
        for name in ["create", "read", "update", "patch", "delete", "list"] {
            let Dispatch::Path(operation) = dispatch(name) else {
                panic!("{name} is a path operation")
            };
            assert_eq!(operation.as_str(), name);
        }
        for name in [
            "resolve-path",
            "resolve-role",
            "alias-lookahead",
            "header",
            "scan",
            "renew",
            "revoke",
            "",
            "made-up",
        ] {
            assert_eq!(dispatch(name), Dispatch::Unsupported, "{name}");
        }
    }
}
