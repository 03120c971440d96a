//! Server-sent events (WHATWG HTML, section 9.2.6), from bytes as they come to the data of events.

use std::collections::VecDeque;

/// Takes a stream apart, however it is cut into pieces.
#[derive(Debug)]
pub struct Events {
    /// Of one event, in bytes; also of a line that isn't over.
    most: usize,
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// Events of other types carry no messages.
    is_message: bool,
    /// The last line ended in a carriage return: a line feed right after it ends no further line.
    after_return: bool,
    /// A byte order mark may stand before the first line.
    at_start: bool,
    ready: VecDeque<Vec<u8>>,
}

/// An event is larger than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is too large")]
pub struct TooLarge;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl Events {
    /// Bounds the data of one event, in bytes.
    pub fn of_at_most(most: usize) -> Self {
        Self {
            most,
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            is_message: true,
            after_return: false,
            at_start: true,
            ready: VecDeque::new(),
        }
    }

    /// Takes the next piece of the stream.
    ///
    /// # Errors
    /// [`TooLarge`]; then the stream is of no further use.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), TooLarge> {
        while !piece.is_empty() {
            if std::mem::take(&mut self.after_return)
                && let Some(rest) = piece.strip_prefix(b"\n")
            {
                piece = rest;
                continue;
            }
            let end = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (line, rest) = piece.split_at(end.unwrap_or(piece.len()));
            if self.line.len() + self.data.len() + line.len() > self.most {
                return Err(TooLarge);
            }
            self.line.extend_from_slice(line);
            let Some((ending, rest)) = rest.split_first() else { return Ok(()) };
            self.after_return = *ending == b'\r';
            self.end_line();
            piece = rest;
        }
        Ok(())
    }

    /// Takes the end of the stream. An event that no empty line ended counts if it has data: whether
    /// that is whole is for its reader to see.
    pub fn end(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.dispatch();
    }

    /// The bytes held.
    pub fn held(&self) -> usize {
        self.line.len() + self.data.len() + self.ready.iter().map(Vec::len).sum::<usize>()
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch();
            return;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = match colon {
            None => (line, &b""[..]),
            Some(colon) => {
                let (field, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
        };
        match field {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"event" => self.is_message = matches!(value, b"" | b"message"),
            // A comment, `id` and `retry`, or what is to be ignored.
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        let data = std::mem::take(&mut self.data);
        let is_message = std::mem::replace(&mut self.is_message, true);
        // An event without data is none: servers begin streams with `id` and an empty `data`.
        if std::mem::take(&mut self.has_data) && is_message && !data.is_empty() {
            self.ready.push_back(data);
        }
    }
}

/// Gives the data of each event that is there.
impl Iterator for Events {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let mut events = Events::of_at_most(64);
        for piece in pieces {
            events.push(piece).unwrap();
        }
        events.end();
        std::iter::from_fn(|| events.next()).map(|data| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn a_stream_reads_the_same_however_it_is_cut() {
        let stream = "\u{feff}: hello\r\nid: 1\r\ndata:\r\n\r\nevent: message\rdata: {\"a\":\rdata:  1}\r\r\
                      event: ping\ndata: no\n\ndata:x\nretry: 5\n\ndata\n\ndata: é\n\n";
        let expected = ["{\"a\":\n 1}", "x", "é"];
        assert_eq!(read(&[stream.as_bytes()]), expected);
        for cut in 0..=stream.len() {
            let (first, second) = stream.as_bytes().split_at(cut);
            assert_eq!(read(&[first, second]), expected, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(read(&bytes), expected);
    }

    #[test]
    fn the_last_event_needs_no_empty_line() {
        assert_eq!(read(&[b"data: 1\n\ndata: 2"]), ["1", "2"]);
    }

    #[test]
    fn an_event_or_a_line_without_end_is_refused_and_comments_without_end_take_no_room() {
        let mut events = Events::of_at_most(64);
        assert_eq!((0..100).try_for_each(|_| events.push(b"data: 12345\n")), Err(TooLarge));
        let mut events = Events::of_at_most(64);
        assert_eq!((0..100).try_for_each(|_| events.push(b"data: 12345")), Err(TooLarge));
        let mut events = Events::of_at_most(64);
        assert_eq!((0..1000).try_for_each(|_| events.push(b": still here\n\n")), Ok(()));
        assert_eq!(events.held(), 0);
    }
}
