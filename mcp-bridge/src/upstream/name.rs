//! Names an MCP server's tools and prompts for agents: `<service>__<segment>`.

use crate::catalog::ServiceName;

/// The longest name: a model's API takes 64 characters, and clients put `mcp__apis__` before it
/// (`client-config` writes the server's key `apis`).
const MAX_NAME: usize = 64 - "mcp__apis__".len();
/// The length of `_` and the hash that a shortened name ends in.
const HASHED: usize = 9;

/// What an agent calls the tool or prompt of a service with a path segment.
///
/// It depends on nothing but the two: a service's name has no double underscore, so that the first
/// one ends it, and what is too long is shortened by a hash of the whole segment.
pub(super) fn name(service: &ServiceName, segment: &str) -> String {
    let name = format!("{service}__{segment}");
    if name.len() <= MAX_NAME {
        return name;
    }
    // A service's name has at most 32 characters, and a segment is ASCII.
    let kept = name.get(..MAX_NAME - HASHED).unwrap_or(&name);
    format!("{kept}_{:08x}", hash(segment))
}

/// Whether a text can stand in a path of Vault, and in a name.
pub(crate) fn is_segment(text: &str) -> bool {
    let kept = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(kept)
}

/// The segment that a name gives where the engine tells none: the engine's own rule.
pub(super) fn segment(name: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    name.chars().take(64).map(kept).collect()
}

/// FNV-1a, 64 bits, folded to 32: the same in every version and on every machine. Two segments of
/// one service that meet in it are both left out.
fn hash(text: &str) -> u32 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = (hash >> 32) ^ (hash & 0xffff_ffff);
    u32::try_from(folded).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(service: &str, segment: &str) -> String {
        name(&ServiceName::parse(service).unwrap(), segment)
    }

    #[test]
    fn a_name_that_fits_is_service_and_segment() {
        assert_eq!(named("linear", "create_issue"), "linear__create_issue");
        let fits = "a".repeat(MAX_NAME - "linear__".len());
        assert_eq!(named("linear", &fits), format!("linear__{fits}"));
    }

    #[test]
    fn a_longer_name_ends_in_a_hash_that_never_changes() {
        let service = "s".repeat(32);
        let long = "create_a_very_long_thing_in_the_upstream_with_options";
        let name = named(&service, long);
        assert_eq!(name, format!("{service}__create_a_v_063ced94"));
        assert_eq!(name.len(), MAX_NAME);
        assert_ne!(name, named(&service, &format!("{long}2")));
        assert!(format!("mcp__apis__{name}").len() <= 64);
    }
}
