//! What an MCP server was last seen to offer, and what of it is approved, as stored.
//!
//! One entry per service names parts of at most [`PART`] bytes, which hold the definitions: together
//! they may be larger than one storage entry may be. Parts are never changed: a write makes new
//! ones, then puts the entry, which is the commit, then deletes the old ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use vault_sdk::{Storage, StorageError};

use super::{LoadError, load, random_id, store};
use crate::mcp::definition::Kind;
use crate::mcp::digest::Digest;

/// Prefix of what a service offers, by the service's random id.
pub const TOOLS: &str = "tools/";
/// Prefix of parts, by random id.
pub const TOOL_PARTS: &str = "tool-part/";

/// When a part is full, in bytes of definitions. One definition alone may be larger.
const PART: usize = 512 << 10;

/// How often a reader begins anew when a writer replaces parts under it.
const READS: usize = 5;

/// One MCP server's offer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ToolsEntry {
    /// What was last seen, if anything was.
    pub seen: Option<SeenEntry>,
    /// Parts with what is approved.
    pub pins: Vec<String>,
    /// Path segments that an operator named, or that approved tools keep, by the tool's name.
    pub segments: BTreeMap<String, String>,
}

/// One look at a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeenEntry {
    /// When it was first seen to be so, in seconds since 1970.
    pub at: u64,
    /// Over everything seen.
    pub digest: Digest,
    /// The revision of MCP that was spoken.
    pub protocol: String,
    /// What the server calls itself.
    pub server_name: String,
    /// And its version.
    pub server_version: String,
    /// What wasn't taken, in words.
    pub left_out: Vec<String>,
    /// Parts with what was seen.
    pub parts: Vec<String>,
}

/// One definition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DefinitionEntry {
    /// What it defines.
    pub kind: Kind,
    /// As the server gave it. What is in it is no matter here: however deep it is nested, the entry
    /// can be read.
    pub raw: Arc<RawValue>,
}

/// One approved definition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PinEntry {
    /// When, in seconds since 1970.
    pub at: u64,
    /// Who approved it.
    pub by: String,
    /// As it was approved.
    pub definition: DefinitionEntry,
}

/// An entry with its parts.
#[derive(Clone, Debug, Default)]
pub struct StoredTools {
    /// The entry.
    pub entry: ToolsEntry,
    /// What was last seen.
    pub seen: Vec<DefinitionEntry>,
    /// What is approved.
    pub pins: Vec<PinEntry>,
}

#[derive(Serialize, Deserialize)]
struct Part<T> {
    items: Vec<T>,
}

/// Reads what is stored of a service; nothing there is nothing seen.
///
/// # Errors
/// Storage's own.
pub async fn load_tools(storage: &dyn Storage, id: &str) -> Result<StoredTools, LoadError> {
    let key = format!("{TOOLS}{id}");
    for _ in 0..READS {
        let entry: ToolsEntry = load(storage, &key).await?.unwrap_or_default();
        let seen_parts = entry.seen.as_ref().map(|seen| seen.parts.as_slice()).unwrap_or_default();
        let seen = load_parts(storage, seen_parts).await?;
        let pins = load_parts(storage, &entry.pins).await?;
        if let (Some(seen), Some(pins)) = (seen, pins) {
            return Ok(StoredTools { entry, seen, pins });
        }
    }
    Err(part_missing(key).into())
}

/// Reads what is stored of a service, but not what was last seen: a part of that can't be read. The
/// entry names its parts all the same.
///
/// # Errors
/// Storage's own.
pub async fn load_pins(storage: &dyn Storage, id: &str) -> Result<StoredTools, LoadError> {
    let key = format!("{TOOLS}{id}");
    let entry: ToolsEntry = load(storage, &key).await?.unwrap_or_default();
    match load_parts(storage, &entry.pins).await? {
        Some(pins) => Ok(StoredTools { entry, seen: Vec::new(), pins }),
        None => Err(part_missing(key).into()),
    }
}

fn part_missing(key: String) -> StorageError {
    StorageError::Undecodable { key, reason: "a part of it is missing".to_owned() }
}

/// `None` when one isn't there any more.
async fn load_parts<T: DeserializeOwned>(
    storage: &dyn Storage,
    ids: &[String],
) -> Result<Option<Vec<T>>, LoadError> {
    let mut items = Vec::new();
    for id in ids {
        let part: Option<Part<T>> = load(storage, &format!("{TOOL_PARTS}{id}")).await?;
        let Some(part) = part else { return Ok(None) };
        items.extend(part.items);
    }
    Ok(Some(items))
}

/// Stores items in parts; gives the parts' ids. Nothing refers to them before an entry does.
///
/// # Errors
/// Storage's own; what was stored until then is swept.
pub async fn store_parts<T: Serialize + Sync + Send>(
    storage: &dyn Storage,
    items: Vec<T>,
    size: impl Fn(&T) -> usize + Send,
) -> Result<Vec<String>, StorageError> {
    let mut ids = Vec::new();
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        let mut part = Part { items: Vec::new() };
        let mut bytes = 0;
        while let Some(item) =
            items.next_if(|item| part.items.is_empty() || bytes + size(item) <= PART)
        {
            bytes += size(&item);
            part.items.push(item);
        }
        let id = random_id()?;
        store(storage, &format!("{TOOL_PARTS}{id}"), &part).await?;
        ids.push(id);
    }
    Ok(ids)
}

/// Deletes parts that no entry refers to any more.
///
/// # Errors
/// Storage's own; what is left is swept.
pub async fn delete_parts(storage: &dyn Storage, ids: &[String]) -> Result<(), StorageError> {
    for id in ids {
        storage.delete(&format!("{TOOL_PARTS}{id}")).await?;
    }
    Ok(())
}

/// Deletes all that is stored of a service: what refers first, then what is referred to.
///
/// # Errors
/// Storage's own; what is left is swept.
pub async fn delete_tools(storage: &dyn Storage, id: &str) -> Result<(), LoadError> {
    let key = format!("{TOOLS}{id}");
    let entry: Option<ToolsEntry> = load(storage, &key).await?;
    let Some(entry) = entry else { return Ok(()) };
    storage.delete(&key).await?;
    let seen = entry.seen.map(|seen| seen.parts).unwrap_or_default();
    delete_parts(storage, &seen).await?;
    Ok(delete_parts(storage, &entry.pins).await?)
}

#[cfg(test)]
mod tests {
    use vault_sdk::InMemoryStorage;

    use super::*;

    fn definition(bytes: usize) -> DefinitionEntry {
        let raw = serde_json::json!({ "name": "x".repeat(bytes) });
        let raw = serde_json::value::to_raw_value(&raw).unwrap();
        DefinitionEntry { kind: Kind::Tool, raw: raw.into() }
    }

    fn length(definition: &DefinitionEntry) -> usize {
        definition.raw.get().len()
    }

    #[tokio::test]
    async fn parts_stay_below_what_integrated_storage_takes() {
        let storage = InMemoryStorage::default();
        let sizes = [1, PART - 1, 1, PART, 600 << 10, 1].into_iter().chain([250 << 10; 16]);
        let items: Vec<_> = sizes.map(definition).collect();
        let parts = store_parts(&storage, items, length).await.unwrap();
        assert!(parts.len() > 12, "{parts:?}");
        for part in &parts {
            let bytes = storage.get(&format!("{TOOL_PARTS}{part}")).await.unwrap().unwrap();
            assert!(bytes.len() < 700 << 10, "{}", bytes.len());
        }
        let read: Vec<DefinitionEntry> = load_parts(&storage, &parts).await.unwrap().unwrap();
        assert_eq!(read.len(), 22);
    }

    #[tokio::test]
    async fn a_definition_that_no_tree_can_hold_can_be_read() {
        let storage = InMemoryStorage::default();
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        let raw = RawValue::from_string(deep.clone()).unwrap();
        let entry = DefinitionEntry { kind: Kind::Tool, raw: raw.into() };
        let parts = store_parts(&storage, vec![entry], length).await.unwrap();
        let read: Vec<DefinitionEntry> = load_parts(&storage, &parts).await.unwrap().unwrap();
        assert_eq!(read[0].raw.get(), deep);
    }

    #[tokio::test]
    async fn deleting_leaves_nothing() {
        let storage = InMemoryStorage::default();
        let parts = store_parts(&storage, vec![definition(1)], length).await.unwrap();
        let entry = ToolsEntry { pins: parts, ..ToolsEntry::default() };
        store(&storage, &format!("{TOOLS}id"), &entry).await.unwrap();
        delete_tools(&storage, "id").await.unwrap();
        assert_eq!(storage.keys(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_missing_part_is_an_error_and_not_an_empty_list() {
        let storage = InMemoryStorage::default();
        let entry = ToolsEntry { pins: vec!["gone".into()], ..ToolsEntry::default() };
        store(&storage, &format!("{TOOLS}id"), &entry).await.unwrap();
        load_tools(&storage, "id").await.unwrap_err();
    }
}
