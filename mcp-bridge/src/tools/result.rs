//! Writes what an upstream's answer looks like to the model: a status line, then the body.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::Value;

use super::select::select;
use crate::proxy::{Answer, ProxyRequest};

/// How much of a body is shown unless the call says otherwise, in characters.
pub(crate) const DEFAULT_MAX_CHARS: usize = 40_000;
/// The limits of what a call may say.
pub(crate) const MAX_CHARS: RangeInclusive<usize> = 1_000..=200_000;
/// The largest image that is shown, in bytes.
const MAX_IMAGE: usize = 1_000_000;
/// The most keys that a notice names.
const MAX_KEYS: usize = 12;
/// The upstream's headers that a model can use; each becomes a line.
const SHOWN_HEADERS: [&str; 7] = [
    "location",
    "link",
    "retry-after",
    "etag",
    "x-total-count",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

/// What is said of an answer from which a credential was removed.
pub(super) const REDACTED: &str = "[Where it says \"redacted\", Vault removed a credential from the \
                                   answer. It is not part of the data.]";

/// How an answer is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// JMESPath to apply to a JSON body.
    pub(crate) select: Option<String>,
    /// Where to cut the body, in characters.
    pub(crate) max_chars: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { select: None, max_chars: DEFAULT_MAX_CHARS }
    }
}

/// Writes the result of a call. An answer of the upstream is no error, whatever its status.
pub(crate) fn render(
    call: &ProxyRequest,
    answer: &Answer,
    shape: &Shape,
    structured: bool,
) -> CallToolResult {
    let mut head = status_line(call, answer);
    for name in SHOWN_HEADERS {
        if let Some(value) = answer.headers.get(name) {
            let _ = write!(head, "\n{name}: {}", one_line(value));
        }
    }
    if let Some(advice) = advice(answer) {
        let _ = write!(head, "\n{advice}");
    }
    let mut content = Vec::new();
    match (&answer.body, &answer.body_base64) {
        (_, Some(encoded)) => content.extend(binary(&head, answer, encoded)),
        (Some(body), None) if !body.is_empty() => {
            content.push(ContentBlock::text(text(head, body, shape, answer)));
        }
        (Some(_) | None, None) => content.push(ContentBlock::text(head)),
    }
    let mut result = CallToolResult::success(content);
    if structured {
        result.structured_content = serde_json::to_value(answer).ok();
    }
    result
}

/// Writes the first line: status, service, request, type, size, time.
pub(crate) fn status_line(call: &ProxyRequest, answer: &Answer) -> String {
    let reason = StatusCode::from_u16(answer.status).ok().and_then(|s| s.canonical_reason());
    let mut line = answer.status.to_string();
    if let Some(reason) = reason {
        let _ = write!(line, " {reason}");
    }
    let _ = write!(line, " · {} · {} {}", call.service, call.method, one_line(&call.path));
    let length = length(answer);
    if length > 0
        && let Some(kind) = media_type(answer)
    {
        let _ = write!(line, " · {kind}");
    }
    let _ = write!(line, " · {} · {} ms", size(length as u64), answer.duration_ms);
    line
}

/// A count of bytes as people write it, in powers of a thousand.
pub(crate) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one decimal place is shown")]
    let value = bytes as f64;
    if bytes < 1_000 {
        format!("{bytes} B")
    } else if value < 999_950.0 {
        format!("{:.1} kB", value / 1e3)
    } else {
        format!("{:.1} MB", value / 1e6)
    }
}

fn advice(answer: &Answer) -> Option<String> {
    match answer.status {
        429 => Some(match answer.headers.get("retry-after").map(|value| value.trim()) {
            Some(wait) if wait.bytes().all(|b| b.is_ascii_digit()) && !wait.is_empty() => {
                format!("Wait {wait} s before the next call to this service.")
            }
            Some(_) | None => "Wait before the next call to this service.".to_owned(),
        }),
        300..=303 | 307 | 308 => Some(
            "Redirects aren't followed, so that the credential goes nowhere else. If location is \
             on the same service, call that path."
                .to_owned(),
        ),
        _ => None,
    }
}

fn text(head: String, body: &str, shape: &Shape, answer: &Answer) -> String {
    let mut text = head;
    let mut selected = None;
    if let Some(expression) = &shape.select {
        match select(body, expression) {
            Ok(value) => selected = Some(value),
            // The first line, so that it isn't taken for a part of the body.
            Err(error) => text = format!("select wasn't applied: {error}\n{text}"),
        }
    }
    let shown = selected.as_ref().map(ToString::to_string);
    let shown = shown.as_deref().unwrap_or(body);
    text.push('\n');
    let total = shown.chars().count();
    let cut = shown.char_indices().nth(shape.max_chars).map(|(at, _)| at);
    text.push_str(cut.and_then(|at| shown.get(..at)).unwrap_or(shown));
    if selected == Some(Value::Null) {
        let _ = write!(text, "\n[select found nothing{}.]", top_level(body));
    }
    if cut.is_some() {
        let _ = write!(
            text,
            "\n[cut after {} of {} characters. Narrow it with {}query parameters.]",
            thousands(shape.max_chars),
            thousands(total),
            match top_level(shown) {
                keys if keys.is_empty() => String::new(),
                keys => format!("select{keys} or "),
            }
        );
    }
    if answer.truncated {
        text.push_str(
            "\n[The service's answer was longer than its limit and ends here. Ask for less: \
             paging parameters, a filter, or a narrower path.]",
        );
    }
    if answer.redacted > 0 {
        text.push('\n');
        text.push_str(REDACTED);
    }
    text
}

/// Describes a JSON text's top level, ` (top-level: …)`, so that the next `select` can be right.
fn top_level(body: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(body) else { return String::new() };
    let keys = |value: &Value| {
        let Value::Object(object) = value else { return None };
        let mut names = object.keys().take(MAX_KEYS).cloned().collect::<Vec<_>>();
        if object.len() > MAX_KEYS {
            names.push("…".to_owned());
        }
        Some(names.join(", "))
    };
    match &value {
        Value::Object(_) => match keys(&value) {
            Some(names) if !names.is_empty() => format!(" (top-level: object with keys {names})"),
            Some(_) | None => " (top-level: empty object)".to_owned(),
        },
        Value::Array(items) => match items.first().and_then(keys) {
            Some(names) => {
                format!(" (top-level: array of {} objects with keys {names})", items.len())
            }
            None => format!(" (top-level: array of {})", items.len()),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => String::new(),
    }
}

fn binary(head: &str, answer: &Answer, encoded: &str) -> Vec<ContentBlock> {
    let kind = media_type(answer).unwrap_or_else(|| "application/octet-stream".to_owned());
    let length = decoded_length(encoded);
    let image = matches!(&*kind, "image/png" | "image/jpeg" | "image/gif" | "image/webp");
    if image && length <= MAX_IMAGE && STANDARD.decode(encoded).is_ok() {
        return vec![ContentBlock::text(head), ContentBlock::image(encoded, kind)];
    }
    let note = format!("{head}\nbinary, {}, {kind}: not shown", size(length as u64));
    vec![ContentBlock::text(note)]
}

fn length(answer: &Answer) -> usize {
    match (&answer.body, &answer.body_base64) {
        (_, Some(encoded)) => decoded_length(encoded),
        (Some(body), None) => body.len(),
        (None, None) => 0,
    }
}

fn decoded_length(encoded: &str) -> usize {
    encoded.trim_end_matches('=').len() * 3 / 4
}

fn media_type(answer: &Answer) -> Option<String> {
    let value = answer.headers.get("content-type")?;
    let kind = value.split(';').next().unwrap_or_default().trim().to_lowercase();
    (!kind.is_empty()).then(|| one_line(&kind))
}

/// A value that an upstream or an agent wrote, on one line: it can't forge another.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
