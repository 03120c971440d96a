//! A definition as people read it: JSON whose fields are whole, or cut each by itself to what agents
//! see of it.

use std::io;

use serde_json::{Map, Value};

use crate::mcp::definition::{Definition, Kind};
use crate::mcp::digest::Digest;
use crate::mcp::hidden::revealed;
use crate::mcp::sanitise;

/// How much of one field is told, in bytes of readable JSON; what a server says of itself fits.
const FIELD: usize = 96 << 10;
/// How much of all definitions together: most of what may be stored, unless it is mostly indented.
/// Beyond that they are told on one line each, as agents see them.
const TEXTS: usize = 4 << 20;
/// How much of a field's name is told where agents don't see the field, in characters.
const NAME: usize = 128;

/// Writes definitions for people, as long as there is room.
pub(super) struct Readable {
    room: usize,
    /// Whether anything of the last one was cut.
    pub(super) is_cut: bool,
}

impl Readable {
    pub(super) fn new() -> Self {
        Self { room: TEXTS, is_cut: false }
    }

    /// One definition. Nothing is cut that agents see, and what is cut differs by its digest.
    pub(super) fn of(&mut self, definition: &Definition) -> String {
        let fields = self.fields(definition).unwrap_or_else(|| {
            self.is_cut = true;
            let shown = revealed(&definition.shown().to_string());
            let size = definition.text.get().len();
            format!("{shown}\n{}", seen_of(size, Some(&definition.digest)))
        });
        self.room = self.room.saturating_sub(fields.len());
        fields
    }

    /// `None` where there isn't enough room.
    fn fields(&mut self, definition: &Definition) -> Option<String> {
        let mut fields = String::from("{\n");
        self.is_cut = false;
        for (key, value) in definition.tree() {
            if fields.len() > 2 {
                fields.push_str(",\n");
            }
            let field = Map::from_iter([(key, value)]);
            let whole = pretty(&field);
            self.is_cut |= whole.is_none();
            fields.push_str(&whole.unwrap_or_else(|| cut(definition.kind, &field)));
            self.room.checked_sub(fields.len())?;
        }
        fields.push_str("\n}");
        Some(fields)
    }
}

/// A field as it is, indented as within its object; `None` for one that is too long.
fn pretty(field: &Map<String, Value>) -> Option<String> {
    let mut written = Written { bytes: Vec::new(), most: FIELD };
    serde_json::to_writer_pretty(&mut written, field).ok()?;
    let text = String::from_utf8(written.bytes).ok()?;
    Some(revealed(text.strip_prefix("{\n")?.strip_suffix("\n}")?))
}

/// A field that is too long: what agents see of it.
fn cut(kind: Kind, field: &Map<String, Value>) -> String {
    let size = field.values().map(sanitise::size).sum();
    let digest = field.values().next().and_then(Digest::of);
    let shown = sanitise::shown(kind, field).to_string();
    let shown = shown.strip_prefix('{').and_then(|shown| shown.strip_suffix('}')).unwrap_or("");
    if !shown.is_empty() {
        return format!("  {}\n  {}", revealed(shown), seen_of(size, digest.as_ref()));
    }
    let name: String = field.keys().flat_map(|key| key.chars()).take(NAME).collect();
    let name = revealed(&Value::from(name).to_string());
    let digest = digest.as_ref().map_or("none", Digest::as_str);
    format!("  {name}:\n  … left out, agents don't see it: {size} bytes of JSON, SHA-256 {digest}")
}

fn seen_of(size: usize, digest: Option<&Digest>) -> String {
    let digest = digest.map_or("none", Digest::as_str);
    format!("… cut, this is what agents see: {size} bytes of JSON in all, SHA-256 {digest}")
}

/// Takes so many bytes, and then no more.
struct Written {
    bytes: Vec<u8>,
    most: usize,
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(raw: &Value) -> Definition {
        Definition::new(Kind::Tool, raw).unwrap()
    }

    #[test]
    fn what_fits_is_whole() {
        let nested = (0..60).fold(json!(1), |inner, _| json!([inner, 1]));
        let whole =
            definition(&json!({ "name": "n", "x": nested, "y": {}, "z\u{7f}": "\u{200b}" }));
        let mut readable = Readable::new();
        let text = readable.of(&whole);
        assert!(!readable.is_cut && text.contains("\n  \"z\\u{7f}\": \"\\u{200b}\"\n}"), "{text}");
        let plain = definition(&json!({ "name": "n", "x": nested, "y": {} }));
        let text = readable.of(&plain);
        assert_eq!(text, serde_json::to_string_pretty(&plain.tree()).unwrap());
    }

    #[test]
    fn no_field_hides_another_and_each_difference_is_told() {
        let told = |raw: Value| {
            let mut readable = Readable::new();
            let text = readable.of(&definition(&raw));
            assert!(readable.is_cut && text.len() < FIELD, "{}", text.len());
            text
        };
        let hidden = "\u{1}".repeat(20_000);
        let long = |end: &str| json!({ "v": "A".repeat(100_000) + end });
        let raw = |end| json!({ "_meta": long(end), "description": format!("{hidden}Words"), "name": "n" });
        let text = told(raw("a"));
        let meta = Digest::of(&long("a")).unwrap();
        let left_out = format!(
            "{{\n  \"_meta\":\n  … left out, agents don't see it: 100009 bytes of JSON, SHA-256 {},\n",
            meta.as_str()
        );
        assert!(text.starts_with(&left_out), "{text}");
        assert!(text.contains("\n  \"description\":\"Words\"\n  … cut, this is what agents see: "));
        assert!(text.ends_with(",\n  \"name\": \"n\"\n}"), "{text}");
        assert_ne!(text, told(raw("b")));
    }

    #[test]
    fn without_room_all_is_told_as_agents_see_it() {
        let deep = (0..60).fold(json!([]), |inner, _| json!([inner]));
        let wide = |description: &str| {
            let mut raw = json!({ "name": "n", "description": description });
            for number in 0..40 {
                raw[format!("x{number}")] = vec![deep.clone(); 5].into();
            }
            definition(&raw)
        };
        let mut readable = Readable::new();
        let texts = (0..4).map(|_| readable.of(&wide("Words.\u{200b}")).len()).sum::<usize>();
        assert!(texts < TEXTS + (1 << 20), "{texts}");
        let text = readable.of(&wide("Words.\u{200b}"));
        assert!(readable.is_cut && text.starts_with("{\"description\":\"Words.\",\"name\":\"n\","));
        assert_eq!(text.lines().count(), 2);
        assert_ne!(text, readable.of(&wide("Words.")));
    }
}
