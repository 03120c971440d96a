//! JSON of a server, taken apart as text. A tree of it may take a hundred times the memory of the text,
//! so none is made of what isn't known to be small.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How a JSON text is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// How many arrays and objects lie within one another.
    pub levels: usize,
    /// How many values there are, at most.
    pub values: usize,
}

impl Build {
    /// Of a text that is JSON.
    pub fn of(json: &str) -> Self {
        let (mut open, mut levels, mut values) = (0_usize, 0, 1);
        let mut bytes = json.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => skip_string(&mut bytes),
                b'{' | b'[' => {
                    open += 1;
                    levels = levels.max(open);
                    values += 1;
                }
                b'}' | b']' => open = open.saturating_sub(1),
                b',' => values += 1,
                _ => {}
            }
        }
        Self { levels, values }
    }
}

fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

/// Hands on the items of an array, until `take` wants no more. `None` for what is no array.
pub fn items<'r>(json: &'r str, take: impl FnMut(&'r RawValue) -> ControlFlow<()>) -> Option<()> {
    let mut json = serde_json::Deserializer::from_str(json);
    json.deserialize_seq(Items(take)).ok()?;
    json.end().ok()
}

/// Hands on the fields of an object, until `take` wants no more. `None` for what is no object.
pub(super) fn fields<'r>(
    json: &'r str,
    take: impl FnMut(String, &'r RawValue) -> ControlFlow<()>,
) -> Option<()> {
    let mut json = serde_json::Deserializer::from_str(json);
    json.deserialize_map(Fields(take)).ok()?;
    json.end().ok()
}

/// The fields of an object that has few; of a name that is there twice, the last one.
pub fn few_fields(json: &str) -> Option<BTreeMap<String, &RawValue>> {
    const FEW: usize = 64;
    let mut few = BTreeMap::new();
    let mut count = 0;
    fields(json, |name, value| {
        count += 1;
        if count > FEW {
            return ControlFlow::Break(());
        }
        few.insert(name, value);
        ControlFlow::Continue(())
    })?;
    (count <= FEW).then_some(few)
}

/// The text of a JSON string.
pub(super) fn text(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
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

struct Fields<F>(F);

impl<'r, F: FnMut(String, &'r RawValue) -> ControlFlow<()>> Visitor<'r> for Fields<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'r>>(mut self, mut fields: A) -> Result<(), A::Error> {
        while let Some((name, value)) = fields.next_entry()? {
            if (self.0)(name, value).is_break() {
                while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_measured_without_being_read() {
        for (json, levels, values) in [
            ("1", 0, 1),
            (r#"{"a":[1,2,{"b":"]],,[\"["}]}"#, 3, 6),
            (&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), 100_000, 100_001),
        ] {
            assert_eq!(Build::of(json), Build { levels, values });
        }
    }

    #[test]
    fn what_is_taken_apart_is_what_stands_there() {
        let mut taken = Vec::new();
        let mut take = |item: &RawValue| {
            taken.push(item.get().to_owned());
            if taken.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        assert_eq!(items(r#"[ 1.50, {"a" : 1}, "x", 4 ]"#, &mut take), Some(()));
        assert_eq!(taken, ["1.50", r#"{"a" : 1}"#]);
        for broken in ["{}", "[1", "[1] 2", "\"[]\""] {
            assert_eq!(items(broken, |_| ControlFlow::Continue(())), None, "{broken}");
            assert!(few_fields(broken).is_none_or(|_| broken == "{}"), "{broken}");
        }
        let last = few_fields(r#"{"a":1,"\u0061":"\u0041"}"#).unwrap();
        assert_eq!(last.get("a").and_then(|a| text(a)).as_deref(), Some("A"));
        let many: String = (0..65).map(|n| format!(",\"{n}\":1")).collect();
        assert!(few_fields(&format!("{{{}}}", &many[1..])).is_none());
    }
}
