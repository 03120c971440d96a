//! One line of hclog, exactly as go-plugin's host wants it.

use std::time::SystemTime;

use serde::Serializer as _;
use serde::ser::SerializeMap as _;
use serde_json::Value;
use time::OffsetDateTime;
use tracing::Level;

/// Hosts cut lines at 64 KiB and log the pieces at DEBUG (go-plugin `client.go`); half of that
/// leaves room for whatever they add.
const MAX_LINE_BYTES: usize = 32 * 1024;

/// What a line that would be longer keeps of its message; JSON makes at most six bytes of one.
const CUT_MESSAGE_BYTES: usize = 4096;

/// What it keeps of its module.
const CUT_MODULE_BYTES: usize = 256;

/// Most lines are shorter.
const USUAL_LINE_BYTES: usize = 512;

/// The caller's keys and values, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// Adds one; of two with the same name, the later counts.
    pub(super) fn insert(&mut self, name: &'static str, value: impl Into<Value>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    pub(super) fn extend(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            self.insert(name, value.clone());
        }
    }
}

/// One record.
pub(super) struct Line<'a> {
    pub(super) level: &'a Level,
    pub(super) module: &'a str,
    pub(super) message: &'a str,
    pub(super) fields: &'a Fields,
}

impl Line<'_> {
    /// Composes the line with its newline, at most 32 KiB in all.
    pub(super) fn to_bytes(&self, at: SystemTime) -> Vec<u8> {
        let whole = self.compose(at, self.module, self.message, &self.fields.0);
        if whole.len() <= MAX_LINE_BYTES {
            return whole;
        }
        let module = cut(self.module, CUT_MODULE_BYTES);
        let message = cut(self.message, CUT_MESSAGE_BYTES);
        self.compose(at, module, message, &[("truncated", true.into())])
    }

    fn compose(
        &self,
        at: SystemTime,
        module: &str,
        message: &str,
        fields: &[(&'static str, Value)],
    ) -> Vec<u8> {
        let timestamp = timestamp(at);
        let own = [
            ("@level", level(self.level)),
            ("@message", message),
            ("@module", module),
            ("@timestamp", &timestamp),
        ];
        let mut line = Vec::with_capacity(USUAL_LINE_BYTES);
        // Names are texts and a vector takes everything: this can't fail. JSON escapes newlines, so
        // the line stays one.
        let _ = object(&mut line, own, fields);
        line.push(b'\n');
        line
    }
}

fn object(
    line: &mut Vec<u8>,
    own: [(&str, &str); 4],
    fields: &[(&'static str, Value)],
) -> serde_json::Result<()> {
    let mut serializer = serde_json::Serializer::new(line);
    let mut object = serializer.serialize_map(None)?;
    for (name, value) in own {
        object.serialize_entry(name, value)?;
    }
    for (name, value) in fields {
        // An empty text says no more than its absence, and the host parses every line whole.
        if value.as_str() == Some("") {
            continue;
        }
        // Keys with @ are the format's own. The host casts their values without a check.
        match name.strip_prefix('@') {
            Some(name) => object.serialize_entry(&format!("_@{name}"), value)?,
            None => object.serialize_entry(name, value)?,
        }
    }
    object.end()
}

fn level(level: &Level) -> &'static str {
    match *level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}

/// Formats in UTC with six fractional digits: with any other number the host doesn't take the
/// line for hclog (go-plugin `log_entry.go`, `parseJSON`).
fn timestamp(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.microsecond()
    )
}

fn cut(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|&end| text.is_char_boundary(end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timestamps_have_six_digits_whatever_the_time() {
        for (nanos, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_000, "1970-01-01T00:00:00.000001Z"),
            (951_782_400_120_000_999, "2000-02-29T00:00:00.120000Z"),
            (1_795_305_599_999_999_999, "2026-11-21T23:59:59.999999Z"),
        ] {
            assert_eq!(timestamp(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)), expected);
        }
    }

    #[test]
    fn long_lines_are_cut_to_the_limit_and_say_so() {
        // Control characters grow most; the umlaut lies across the cut.
        for message in ["\u{1}".repeat(100_000), format!("{}ä", "x".repeat(4095)).repeat(20)] {
            let line = Line {
                level: &Level::ERROR,
                module: &"m".repeat(100_000),
                message: &message,
                fields: &Fields::default(),
            };
            let bytes = line.to_bytes(SystemTime::now());
            assert!(bytes.len() <= MAX_LINE_BYTES, "{}", bytes.len());
            let value: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(value["truncated"], true);
            assert!(message.starts_with(value["@message"].as_str().unwrap()));
        }
    }

    #[test]
    fn long_fields_go_before_the_message() {
        let mut fields = Fields::default();
        fields.insert("body", "x".repeat(MAX_LINE_BYTES));
        let line = Line { level: &Level::INFO, module: "m", message: "kept", fields: &fields };
        let value: Value = serde_json::from_slice(&line.to_bytes(SystemTime::now())).unwrap();
        assert_eq!((&value["@message"], &value["truncated"]), (&"kept".into(), &true.into()));
        assert_eq!(value.get("body"), None);
    }
}
