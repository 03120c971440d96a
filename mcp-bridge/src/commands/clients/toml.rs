//! Edits Codex's TOML as it stands, comments and order included.

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, value};

use super::{EditError, Entry, Found};

/// The table of the servers.
const SECTION: &str = "mcp_servers";

/// Puts an entry into the table of the servers.
pub(super) fn put(text: &str, name: &str, entry: &Entry) -> Result<String, EditError> {
    let mut document = parse(text)?;
    let servers = document
        .entry(SECTION)
        .or_insert_with(|| {
            let mut table = Table::new();
            // No header of its own: `[mcp_servers.apis]` says it all.
            table.set_implicit(true);
            Item::Table(table)
        })
        .as_table_like_mut()
        .ok_or(EditError::Shape(SECTION))?;
    let args = entry.args.iter().collect::<Array>();
    match servers.get_mut(name).and_then(Item::as_table_like_mut) {
        Some(present) if command(present) == whole(entry) => return Ok(text.to_owned()),
        // What else its user wrote there, time-outs for example, stays.
        Some(present) => {
            present.insert("command", value(entry.command.as_str()));
            present.insert("args", value(args));
        }
        None => {
            let mut table = Table::new();
            table.insert("command", value(entry.command.as_str()));
            table.insert("args", value(args));
            servers.insert(name, Item::Table(table));
        }
    }
    Ok(document.to_string())
}

/// Takes an entry out of the table of the servers.
pub(super) fn take_out(text: &str, name: &str) -> Result<String, EditError> {
    let mut document = parse(text)?;
    let Some(servers) = document.get_mut(SECTION).and_then(Item::as_table_like_mut) else {
        return Ok(text.to_owned());
    };
    servers.remove(name);
    if servers.is_empty() {
        document.remove(SECTION);
    }
    Ok(document.to_string())
}

/// The entries of the table of the servers.
pub(super) fn list(text: &str) -> Result<Vec<Found>, EditError> {
    let document = parse(text)?;
    let Some(servers) = document.get(SECTION) else { return Ok(Vec::new()) };
    let servers = servers.as_table_like().ok_or(EditError::Shape(SECTION))?;
    let found = servers.iter().map(|(name, item)| {
        let table = item.as_table_like();
        let variables = table.and_then(|table| table.get("env")?.as_table_like());
        Found {
            name: name.to_owned(),
            command: table.map_or_else(Vec::new, command),
            variables: variables
                .map_or_else(Vec::new, |env| env.iter().map(|(key, _)| key.to_owned()).collect()),
        }
    });
    Ok(found.collect())
}

fn command(table: &(impl TableLike + ?Sized)) -> Vec<String> {
    let program = table.get("command").and_then(Item::as_str).map(str::to_owned);
    let args = table.get("args").and_then(Item::as_array);
    let args = args.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned));
    program.into_iter().chain(args).collect()
}

fn whole(entry: &Entry) -> Vec<String> {
    std::iter::once(&entry.command).chain(&entry.args).cloned().collect()
}

fn parse(text: &str) -> Result<DocumentMut, EditError> {
    text.parse::<DocumentMut>().map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.get(..start).unwrap_or(text).matches('\n').count() + 1;
        // Not the line itself: it might hold a secret.
        EditError::Syntax(format!("line {line}: {}", error.message()))
    })
}
