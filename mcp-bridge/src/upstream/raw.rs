//! JSON of a server, gone through as text: a tree of it may take a hundred times the memory.

use std::fmt;
use std::ops::ControlFlow;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Hands on the items of an array, until `take` wants no more. `None` for what is no array.
pub(super) fn items<'r>(
    json: &'r str,
    take: impl FnMut(&'r RawValue) -> ControlFlow<()>,
) -> Option<()> {
    let mut json = serde_json::Deserializer::from_str(json);
    json.deserialize_seq(Items(take)).ok()?;
    json.end().ok()
}

/// Hands on the members of an object. `None` for what is no object.
pub(super) fn members<'r>(json: &'r str, take: impl FnMut(String, &'r RawValue)) -> Option<()> {
    let mut json = serde_json::Deserializer::from_str(json);
    json.deserialize_map(Members(take)).ok()?;
    json.end().ok()
}

/// The JSON of an object, member by member.
#[derive(Debug)]
pub(super) struct Object(String);

impl Object {
    pub(super) fn new() -> Self {
        Self(String::from("{"))
    }

    /// Adds a member; its value is JSON.
    pub(super) fn put(&mut self, name: &str, value: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&string(name));
        self.0.push(':');
        self.0.push_str(value);
    }

    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// The JSON of an array, item by item.
#[derive(Debug)]
pub(super) struct Array(String);

impl Array {
    pub(super) fn new() -> Self {
        Self(String::from("["))
    }

    /// Adds an item, which is JSON.
    pub(super) fn put(&mut self, item: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(item);
    }

    pub(super) fn end(mut self) -> String {
        self.0.push(']');
        self.0
    }
}

/// A text as JSON.
pub(super) fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

struct Items<F>(F);

impl<'r, F: FnMut(&'r RawValue) -> ControlFlow<()>> Visitor<'r> for Items<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'r>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            if (self.0)(item).is_break() {
                while items.next_element::<IgnoredAny>()?.is_some() {}
            }
        }
        Ok(())
    }
}

struct Members<F>(F);

impl<'r, F: FnMut(String, &'r RawValue)> Visitor<'r> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'r>>(mut self, mut members: A) -> Result<(), A::Error> {
        while let Some((name, value)) = members.next_entry()? {
            (self.0)(name, value);
        }
        Ok(())
    }
}
