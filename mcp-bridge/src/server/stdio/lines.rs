//! Reads lines of a bounded length, and from those that are longer the id that is to be refused.

use rmcp::model::RequestId;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// The longest line, in bytes without its end. What the engine's largest request needs.
pub(crate) const MAX_LINE: usize = 16 * 1024 * 1024;
/// The longest id that is looked for, in bytes.
const MAX_ID: usize = 256;

/// Lines from a reader.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    /// What is known of a line that was too long, until its end is there.
    skipped: Option<Scan>,
}

/// What a reader gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line without its end.
    Whole(Vec<u8>),
    /// A line that is too long, with the id of the request in it.
    TooLong(Option<RequestId>),
    /// Nothing more.
    End,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Makes lines of what a reader gives.
    pub(crate) fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), line: Vec::new(), skipped: None }
    }

    /// The next line. A last one without an end counts. May be dropped and asked again at any
    /// time: nothing is lost.
    pub(crate) async fn next(&mut self) -> Line {
        loop {
            let bytes = match self.reader.fill_buf().await {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::debug!(kind = %error.kind(), "stdin can't be read");
                    return Line::End;
                }
            };
            if bytes.is_empty() {
                if self.line.is_empty() && self.skipped.is_none() {
                    return Line::End;
                }
                return self.ended();
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
            match &mut self.skipped {
                Some(scan) => scan.read(part),
                None => self.line.extend_from_slice(part),
            }
            let taken = part.len() + usize::from(end.is_some());
            self.reader.consume(taken);
            // The line's end may have a carriage return before it.
            if self.line.len() > MAX_LINE + 1 {
                self.skip();
            }
            if end.is_some() {
                return self.ended();
            }
        }
    }

    fn ended(&mut self) -> Line {
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        if self.line.len() > MAX_LINE {
            self.skip();
        }
        match self.skipped.take() {
            Some(scan) => Line::TooLong(scan.id()),
            None => Line::Whole(std::mem::take(&mut self.line)),
        }
    }

    fn skip(&mut self) {
        let mut scan = Scan::default();
        scan.read(&std::mem::take(&mut self.line));
        self.skipped = Some(scan);
    }
}

/// Finds the id of a request while its JSON passes by.
#[derive(Debug, Default)]
struct Scan {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The present key or value of the outermost object, as far as it is short.
    text: Vec<u8>,
    /// Whether the present value is that of `id`.
    at_id: bool,
    /// Whether there is a `method`.
    request: bool,
    id: Option<RequestId>,
}

impl Scan {
    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            self.keep(byte);
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'{' | b'[' => {
                self.keep(byte);
                self.depth += 1;
                if self.depth == 1 {
                    self.text.clear();
                }
            }
            b'}' | b']' => {
                if self.depth == 1 {
                    self.value_ended();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b':' if self.depth == 1 => {
                self.at_id = self.text == b"\"id\"";
                self.request |= self.text == b"\"method\"";
                self.text.clear();
            }
            b',' if self.depth == 1 => self.value_ended(),
            b' ' | b'\t' | b'\r' => {}
            _ => {
                self.in_string = byte == b'"';
                self.keep(byte);
            }
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.depth == 1 && self.text.len() <= MAX_ID {
            self.text.push(byte);
        }
    }

    fn value_ended(&mut self) {
        if self.at_id {
            self.id = serde_json::from_slice(&self.text).ok();
        }
        self.at_id = false;
        self.text.clear();
    }

    fn id(self) -> Option<RequestId> {
        self.id.filter(|_| self.request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Option<String> {
        let mut scan = Scan::default();
        // In any pieces.
        for byte in text.bytes() {
            scan.read(&[byte]);
        }
        scan.id().map(|id| id.to_string())
    }

    #[test]
    fn the_id_of_a_request_is_found_wherever_it_stands() {
        let found = |text: &str| id(text).unwrap_or_default();
        assert_eq!(found(r#"{"jsonrpc":"2.0","id":7,"method":"a","params":{"id":8}}"#), "7");
        assert_eq!(
            found(r#"{ "method" : "a", "params":{"x":"\"id\":1,\\"}, "id" : "r-1" }"#),
            "r-1"
        );
        assert_eq!(found(r#"{"params":[{"id":1}],"method":"a","id":"a\"b"}"#), "a\"b");
    }

    #[test]
    fn what_asks_for_nothing_has_no_id() {
        for text in [
            r#"{"method":"a","params":{"id":8}}"#,
            r#"{"id":8,"result":{"method":"a"}}"#,
            r#"[{"id":8,"method":"a"}]"#,
            r#"{"method":"a","id":null}"#,
            r#"{"method":"a","id":{"a":1}}"#,
            "\"id\"",
        ] {
            assert_eq!(id(text), None, "{text}");
        }
        assert_eq!(id(&format!(r#"{{"method":"a","id":"{}"}}"#, "x".repeat(300))), None);
    }

    #[tokio::test]
    async fn lines_end_as_they_end() {
        let mut lines = Lines::new(&b"a\nb\r\n\nlast"[..]);
        for expected in ["a", "b", "", "last"] {
            assert_eq!(lines.next().await, Line::Whole(expected.into()));
        }
        assert_eq!(lines.next().await, Line::End);
    }

    #[tokio::test]
    async fn the_longest_line_passes_and_one_byte_more_does_not() {
        for end in ["\n", "\r\n", ""] {
            let line = format!("{}{end}", "x".repeat(MAX_LINE));
            assert!(matches!(Lines::new(line.as_bytes()).next().await, Line::Whole(_)));
            let line = format!("{}{end}after", "x".repeat(MAX_LINE + 1));
            let mut lines = Lines::new(line.as_bytes());
            assert_eq!(lines.next().await, Line::TooLong(None));
            let rest = if end.is_empty() { Line::End } else { Line::Whole("after".into()) };
            assert_eq!(lines.next().await, rest);
        }
    }
}
