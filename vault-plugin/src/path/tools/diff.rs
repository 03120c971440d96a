//! What an approval would change; and one definition in full.

use std::sync::Arc;

use serde_json::Map;
use vault_sdk::{Call, Response};

use super::changes::changes;
use super::{known, object, shown};
use crate::engine::{Engine, aside, parsed, rules};
use crate::error::Error;
use crate::mcp::definition::Definition;
use crate::mcp::flags::tool_names;

pub(super) async fn read(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let (name, entry, _) = known(&engine, &call).await?;
    let stored = engine.stored_tools(call.storage.as_ref(), &entry.id).await?;
    object(aside(move || changes(&name, &call.mount_point, &stored)).await?)
}

pub(super) async fn tool(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let (name, entry, tools) = known(&engine, &call).await?;
    let wanted = call.fields.text("name");
    // The digest first, which no server can give to another definition, as it can a name.
    let by_digest = tools.offer.items.iter().find(|item| item.digest.as_str() == wanted);
    let item = by_digest.map_or_else(|| tools.find(&name, wanted), Ok)?.clone();
    let stored = engine.stored_tools(call.storage.as_ref(), &entry.id).await?;
    let shown = aside(move || {
        let (seen, pins) = parsed(&stored);
        let is = |one: &&Definition| one.kind == item.kind && one.key == item.key;
        let new = seen.iter().find(is);
        let old = pins.iter().map(|pin| &pin.definition).find(is);
        let text = |definition: &Definition| definition.text.get().to_owned();
        let mut shown = shown::state(&item, &rules(&entry));
        shown.extend(Map::from_iter([
            ("kind".to_owned(), item.kind.word().into()),
            ("flags".to_owned(), shown::flags(new, &tool_names(&seen))),
            ("definition".to_owned(), new.map(text).into()),
            ("approved_definition".to_owned(), old.map(text).into()),
            ("shown".to_owned(), new.map(|new| new.shown().to_string()).into()),
        ]));
        shown
    });
    object(shown.await?)
}
