//! Streams of server-sent events, as a hostile MCP server may write and cut them.

use arbitrary::{Result, Unstructured};
use vault_plugin::mcp::message::{Message, parse};
use vault_plugin::mcp::sse::{Events, TooLarge};

/// The id of the request that is answered.
const ID: u64 = 7;

const PIECES: &[&[u8]] = &[
    b"\n",
    b"\n",
    b"\n\n",
    b"\r",
    b"\r\n",
    b"\r\n\r\n",
    b"\n\r",
    b"\xEF\xBB\xBF",
    b"\xEF\xBB",
    b"data",
    b"data:",
    b"data: ",
    b"data:  ",
    b"data: {}\n\n",
    b" data: x",
    b"DATA: x",
    b"event: message",
    b"event: ping\n",
    b"event",
    b"event:",
    b"id: 1\n",
    b"id: \0\n",
    b"retry: 5\n",
    b": still here\n",
    b":",
    b"x",
    b"{\"id\":7,\"result\":{\"a\":[1]}}",
    b"{\"id\":7,",
    b"\xFF",
    b"\0",
];

/// However a stream is cut, its events are the same, those of a plain reading of the standard, and
/// no more of it is held than may be.
pub(crate) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    if u.ratio(1, 3)? {
        return messages(u);
    }
    let most = *u.choose(&[1, 8, 32, 64, 4096])?;
    let mut stream = Vec::new();
    for _ in 0..u.int_in_range(0..=40)? {
        match u.int_in_range(0..=9)? {
            0 => stream.push(u.arbitrary()?),
            1 => stream.extend(u.choose(PIECES)?.repeat(u.int_in_range(0..=64)?)),
            _ => stream.extend_from_slice(u.choose(PIECES)?),
        }
    }
    let expected = expected(&stream, most);
    assert_eq!(read(most, &[&stream]), expected, "in one piece");
    assert_eq!(read(most, &cut(u, &stream)?), expected, "in pieces");
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(read(most, &bytes), expected, "byte for byte");
    for event in &expected.0 {
        // Whatever it is: an answer, another message, or none.
        let _ = parse(event, ID);
    }
    Ok(())
}

type Read = (Vec<Vec<u8>>, std::result::Result<(), TooLarge>);

fn read(most: usize, pieces: &[&[u8]]) -> Read {
    let mut events = Events::of_at_most(most);
    let mut found = Vec::new();
    for piece in pieces {
        let pushed = events.push(piece);
        assert!(events.held() <= most + piece.len(), "{} bytes are held", events.held());
        found.extend(events.by_ref());
        if pushed.is_err() {
            return (found, pushed);
        }
        assert!(events.held() <= most, "{} bytes are held between events", events.held());
    }
    events.end();
    found.extend(events.by_ref());
    assert_eq!(events.held(), 0, "after the end");
    (found, Ok(()))
}

fn cut<'s>(u: &mut Unstructured<'_>, stream: &'s [u8]) -> Result<Vec<&'s [u8]>> {
    let (mut pieces, mut rest) = (Vec::new(), stream);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(u.int_in_range(0..=rest.len().min(40))?);
        if piece.is_empty() {
            pieces.extend([piece, after]);
            break;
        }
        pieces.push(piece);
        rest = after;
    }
    Ok(pieces)
}

/// The whole stream by the standard's steps (WHATWG HTML, section 9.2.6), less what has no meaning
/// here: the last event counts without its empty line, and one without data is none.
fn expected(stream: &[u8], most: usize) -> Read {
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    let mut bytes = stream.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' => {
                bytes.next_if_eq(&&b'\n');
                lines.push(Vec::new());
            }
            b'\n' => lines.push(Vec::new()),
            byte => lines.last_mut().unwrap().push(*byte),
        }
    }
    // What follows the last line end is a line as well, and ends the last event.
    lines.push(Vec::new());
    let mut found = Vec::new();
    let mut data: Vec<Vec<u8>> = Vec::new();
    let mut is_message = true;
    for (number, line) in lines.iter().enumerate() {
        let joined = data.join(&b'\n');
        if joined.len() + line.len() > most {
            return (found, Err(TooLarge));
        }
        let line = match line.strip_prefix(b"\xEF\xBB\xBF") {
            Some(line) if number == 0 => line,
            Some(_) | None => line.as_slice(),
        };
        if line.is_empty() {
            if is_message && !joined.is_empty() {
                found.push(joined);
            }
            (data, is_message) = (Vec::new(), true);
            continue;
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let field = parts.next().unwrap();
        let value = parts.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => data.push(value.to_vec()),
            b"event" => is_message = value.is_empty() || value == b"message",
            _ => {}
        }
    }
    (found, Ok(()))
}

/// The answer is found among what else a server may send, spread over lines as JSON allows.
fn messages(u: &mut Unstructured<'_>) -> Result<()> {
    let answer = serde_json::json!({
        "jsonrpc": "2.0",
        "id": ID,
        "result": { "content": [{ "type": "text", "text": "a\nb\r\u{feff}\u{2028}: c" }], "n": [1, 2.5] },
    });
    let ending = *u.choose(&["\n", "\r", "\r\n"])?;
    let mut stream = String::new();
    let noise = |u: &mut Unstructured<'_>, stream: &mut String| -> Result<()> {
        for _ in 0..u.int_in_range(0..=4)? {
            stream.push_str(u.choose(&[
                ": ping",
                "",
                "id: 9",
                "retry: 1",
                "event: endpoint\ndata: {\"id\":7,\"result\":{}}\n",
                "data: {\"method\":\"notifications/progress\"}\n",
                "data: {\"id\":8,\"result\":{}}\n",
                "data: no JSON\n",
                "data: {\"id\":\"x\",\"method\":\"ping\"}\n",
            ])?);
            stream.push('\n');
        }
        Ok(())
    };
    noise(u, &mut stream)?;
    // Whatever the noise has left open.
    stream.push('\n');
    for line in serde_json::to_string_pretty(&answer).unwrap().lines() {
        if u.ratio(1, 8)? {
            stream.push_str(": between\n");
        }
        stream.push_str(if u.arbitrary()? { "data:" } else { "data: " });
        stream.push_str(line);
        stream.push('\n');
    }
    stream.push('\n');
    noise(u, &mut stream)?;
    let stream = stream.replace('\n', ending);
    let (events, read) = read(1 << 16, &cut(u, stream.as_bytes())?);
    assert_eq!(read, Ok(()));
    let messages = events.iter().filter_map(|event| parse(event, ID).ok()).flatten();
    let mut results = messages.filter_map(|message| match message {
        Message::Result(result) => Some(result),
        Message::Error(_) | Message::Unread(_) | Message::Request(_) | Message::Other => None,
    });
    let result = results.next().map(|text| serde_json::from_str::<serde_json::Value>(&text));
    assert_eq!(result.unwrap().unwrap(), answer["result"], "{stream:?}");
    assert_eq!(results.next(), None);
    Ok(())
}
