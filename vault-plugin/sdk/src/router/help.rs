//! Help texts, from the declared paths alone.

use std::fmt::Write as _;

use crate::field::Field;
use crate::operation::Operation;
use crate::path::{Path, Segment};
use crate::spec::Spec;

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
        let _ = write!(text, "\n## DESCRIPTION\n\n{}\n", wrapped(path.description, ""));
    }
    text.push_str("\n## OPERATIONS\n\n");
    for (operation, endpoint) in &path.operations {
        let _ = writeln!(text, "    {operation}\n{}", wrapped(endpoint.spec.summary, "        "));
        for (status, description) in answers(*operation, &endpoint.spec) {
            let _ = writeln!(text, "        {status}: {description}");
        }
        text.push('\n');
    }
    let query = path.operations.values().flat_map(|endpoint| &endpoint.spec.query);
    let mut fields: Vec<&Field> = path.fields.iter().collect();
    for field in query {
        if !fields.iter().any(|known| known.name == field.name) {
            fields.push(field);
        }
    }
    if !fields.is_empty() {
        text.push_str("## PARAMETERS\n\n");
        for field in fields {
            let _ = writeln!(text, "    {} ({})", field.name, field.kind.as_str());
            let _ = writeln!(text, "{}\n", wrapped(&described(field), "        "));
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Breaks the lines that are too long for a terminal, and indents all.
fn wrapped(text: &str, indent: &str) -> String {
    const WIDTH: usize = 100;
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let mut broken = format!("{indent}{}", words.next().unwrap_or_default());
        for word in words {
            if broken.len() + 1 + word.len() > WIDTH {
                lines.push(std::mem::replace(&mut broken, format!("{indent}{word}")));
            } else {
                broken.push(' ');
                broken.push_str(word);
            }
        }
        lines.push(broken);
    }
    lines.join("\n")
}

/// What a field means, with its default or that it is read only.
pub(super) fn described(field: &Field) -> String {
    let mut text = field.help.to_owned();
    if field.read_only {
        text.push_str(" Read only: ignored when written.");
    }
    if let Some(default) = field.default {
        let _ = write!(text, " Default: {default}.");
    }
    text
}

/// The declared answers by status, lowest first.
pub(super) fn answers(operation: Operation, spec: &Spec) -> Vec<(u16, &'static str)> {
    let mut answers: Vec<(u16, &'static str)> = spec.refusals.clone();
    answers.extend(spec.data.as_ref().map(|data| (200, data.description)));
    answers.extend(spec.empty.map(|description| (operation.empty_status(), description)));
    answers.sort_unstable();
    answers
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
