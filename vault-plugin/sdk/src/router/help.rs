//! Help texts, from the declared paths alone.

use std::fmt::Write as _;

use crate::path::{Path, Segment};

/// The overview of a mount: its purpose and every path with its synopsis.
pub(super) fn mount<B: Send + Sync + 'static>(purpose: &str, paths: &[Path<B>]) -> String {
    let mut text = format!("## DESCRIPTION\n\n{purpose}\n\n## PATHS\n\n");
    text.push_str("The following paths are supported by this secrets engine. To view help for\n");
    text.push_str(
        "any of them, use path-help with the path, for instance with real names in it.\n\n",
    );
    for path in paths {
        let _ = writeln!(text, "    {}\n        {}\n", shown(path), path.synopsis);
    }
    text
}

/// One path: description, operations, fields.
pub(super) fn path<B: Send + Sync + 'static>(path: &Path<B>) -> String {
    let mut text = format!("Path:        {}\n\n{}\n", shown(path), path.synopsis);
    if !path.description.is_empty() {
        let _ = write!(text, "\n## DESCRIPTION\n\n{}\n", path.description);
    }
    text.push_str("\n## OPERATIONS\n\n");
    for (operation, endpoint) in &path.operations {
        let _ = writeln!(text, "    {operation}\n        {}\n", endpoint.summary);
    }
    if !path.fields.is_empty() {
        text.push_str("## PARAMETERS\n\n");
        for field in &path.fields {
            let _ = write!(
                text,
                "    {} ({})\n        {}",
                field.name,
                field.kind.as_str(),
                field.help
            );
            match field.default {
                Some(default) => {
                    let _ = write!(text, " Default: {default}.\n\n");
                }
                None => text.push_str("\n\n"),
            }
        }
    }
    text
}

fn shown<B>(path: &Path<B>) -> String {
    path.segments
        .iter()
        .map(|segment| match segment {
            Segment::Literal(literal) => (*literal).to_owned(),
            Segment::Parameter(name) => format!("<{name}>"),
        })
        .collect::<Vec<_>>()
        .join("/")
}
