//! The path segment of a tool or prompt: one function, so that policies, paths and lists agree.

/// The longest segment, in characters.
pub const MAX_SEGMENT: usize = 64;

/// The segment that a name gives: letters, digits, `_` and `-` of ASCII stand as they are, every
/// other character becomes one `_`, and what is beyond [`MAX_SEGMENT`] characters is left out.
///
/// `None` when nothing but `_` in the place of other characters would remain: such a name says
/// nothing in a path, and an operator names the segment.
pub fn segment(name: &str) -> Option<String> {
    let kept = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.chars().take(MAX_SEGMENT).any(kept) {
        return None;
    }
    Some(name.chars().take(MAX_SEGMENT).map(|c| if kept(c) { c } else { '_' }).collect())
}

/// Whether an operator may name it as a segment.
pub fn is_segment(text: &str) -> bool {
    segment(text).as_deref() == Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_paths_stand_and_others_become_underscores() {
        for (name, expected) in [
            ("create_issue", Some("create_issue")),
            ("getUser-2", Some("getUser-2")),
            ("admin.tools/list", Some("admin_tools_list")),
            ("a  b", Some("a__b")),
            ("_", Some("_")),
            ("поиск", None),
            ("поиск2", Some("_____2")),
            ("../../sys", Some("______sys")),
            ("a\u{200b}b", Some("a_b")),
            ("", None),
            ("...", None),
        ] {
            assert_eq!(segment(name).as_deref(), expected, "{name:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_and_its_segment_is_one_again() {
        let cut = segment(&"ab.".repeat(90)).unwrap();
        assert_eq!(cut.chars().count(), MAX_SEGMENT);
        assert!(is_segment(&cut));
        assert!(!is_segment(&format!("{cut}x")));
        assert!(!is_segment("a.b"));
        assert!(!is_segment(""));
    }
}
