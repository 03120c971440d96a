//! Edits JSON as it stands, comments and order included.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstNode, CstObject, CstRootNode};

use super::{EditError, Entry, Form, Found};

/// Puts an entry into the object at `section`.
pub(super) fn put(
    text: &str,
    section: &'static str,
    form: Form,
    name: &str,
    entry: &Entry,
) -> Result<String, EditError> {
    let (mark, root) = parse(text)?;
    let top = root.object_value_or_create().ok_or(EditError::Shape("the top"))?;
    let servers = top.object_value_or_create(section).ok_or(EditError::Shape(section))?;
    let value = value(form, entry);
    match servers.get(name) {
        Some(present) if reads_as(&present.object_value(), form, entry) => {
            return Ok(text.to_owned());
        }
        Some(present) => present.set_value(value),
        None => {
            servers.append(name, value);
        }
    }
    Ok(finish(mark, &root))
}

/// Takes an entry out of the object at `section`, and the object if nothing else is in it.
pub(super) fn take_out(text: &str, section: &'static str, name: &str) -> Result<String, EditError> {
    let (mark, root) = parse(text)?;
    let Some(top) = root.object_value() else { return Ok(text.to_owned()) };
    let Some(servers) = top.object_value(section) else { return Ok(text.to_owned()) };
    let Some(entry) = servers.get(name) else { return Ok(text.to_owned()) };
    entry.remove();
    let empty =
        servers.properties().is_empty() && !servers.children().iter().any(CstNode::is_comment);
    if empty && let Some(servers) = top.get(section) {
        servers.remove();
    }
    Ok(finish(mark, &root))
}

/// The entries of the object at `section`.
pub(super) fn list(text: &str, section: &'static str) -> Result<Vec<Found>, EditError> {
    let (_, root) = parse(text)?;
    let Some(value) = root.value() else { return Ok(Vec::new()) };
    let top = value.as_object().ok_or(EditError::Shape("the top"))?;
    let Some(servers) = top.get(section) else { return Ok(Vec::new()) };
    let servers = servers.object_value().ok_or(EditError::Shape(section))?;
    let found = servers.properties().into_iter().filter_map(|property| {
        let name = property.name()?.decoded_value().ok()?;
        let Some(entry) = property.object_value() else {
            return Some(Found { name, ..Found::default() });
        };
        let variables = ["env", "environment"].into_iter().find_map(|key| entry.object_value(key));
        Some(Found {
            name,
            command: command(&entry),
            variables: variables.map_or_else(Vec::new, |v| names(&v)),
        })
    });
    Ok(found.collect())
}

fn value(form: Form, entry: &Entry) -> CstInputValue {
    let text = |text: &str| CstInputValue::String(text.to_owned());
    let list = |texts: &mut dyn Iterator<Item = &String>| {
        CstInputValue::Array(texts.map(|item| CstInputValue::String(item.clone())).collect())
    };
    let own = |(key, value): (&str, CstInputValue)| (key.to_owned(), value);
    let plain =
        || [("command", text(&entry.command)), ("args", list(&mut entry.args.iter()))].map(own);
    CstInputValue::Object(match form {
        Form::Plain => plain().into(),
        Form::Stdio => [own(("type", text("stdio")))].into_iter().chain(plain()).collect(),
        Form::Local => {
            let whole = list(&mut std::iter::once(&entry.command).chain(&entry.args));
            let enabled = CstInputValue::Bool(true);
            [("type", text("local")), ("command", whole), ("enabled", enabled)].map(own).into()
        }
    })
}

/// Whether an entry already starts the same program: then what else its user wrote there stays.
fn reads_as(present: &Option<CstObject>, form: Form, entry: &Entry) -> bool {
    let Some(present) = present else { return false };
    let text = |key: &str| present.get(key).and_then(|p| p.value()).as_ref().and_then(string);
    let kind = match form {
        Form::Plain => true,
        Form::Stdio => text("type").as_deref() == Some("stdio"),
        Form::Local => text("type").as_deref() == Some("local"),
    };
    let mut wanted = vec![entry.command.clone()];
    wanted.extend(entry.args.iter().cloned());
    kind && command(present) == wanted
}

/// Program and arguments, in one list or in `command` and `args`.
fn command(entry: &CstObject) -> Vec<String> {
    let texts = |key: &str| {
        let elements = entry.array_value(key).map_or_else(Vec::new, |list| list.elements());
        elements.iter().filter_map(string).collect::<Vec<_>>()
    };
    match entry.get("command").and_then(|command| command.value()).as_ref().and_then(string) {
        Some(program) => std::iter::once(program).chain(texts("args")).collect(),
        None => texts("command"),
    }
}

fn names(object: &CstObject) -> Vec<String> {
    let name = |p: &jsonc_parser::cst::CstObjectProp| p.name()?.decoded_value().ok();
    object.properties().iter().filter_map(name).collect()
}

fn string(node: &CstNode) -> Option<String> {
    node.as_string_lit()?.decoded_value().ok()
}

/// Reads a text; gives its byte order mark apart, which JSON itself doesn't know.
fn parse(text: &str) -> Result<(&str, CstRootNode), EditError> {
    let body = text.trim_start_matches('\u{feff}');
    let mark = text.get(..text.len() - body.len()).unwrap_or_default();
    let root = CstRootNode::parse(body, &ParseOptions::default()).map_err(|error| {
        let range = error.range();
        let before = body.get(..range.start).unwrap_or(body);
        let line = before.matches('\n').count() + 1;
        EditError::Syntax(format!("line {line}: {}", error.kind()))
    })?;
    Ok((mark, root))
}

fn finish(mark: &str, root: &CstRootNode) -> String {
    let text = format!("{mark}{root}");
    if text.ends_with('\n') { text } else { text + "\n" }
}
