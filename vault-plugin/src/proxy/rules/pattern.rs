//! Patterns of paths and values: `*` and `**`, matched in time linear in their length product.

/// A pattern of a whole text: `*` stands for any run of characters, none included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextPattern {
    /// The texts between the stars, decoded; one more than there are stars.
    pieces: Vec<Vec<u8>>,
}

/// A pattern of a path, by segments.
#[derive(Clone, Debug)]
pub(super) struct PathPattern(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `**`: any number of segments, none included.
    Any,
    /// One segment, never an empty one.
    One(TextPattern),
}

impl TextPattern {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains("**") {
            return Err("** stands for whole segments, between slashes");
        }
        let pieces = text.split('*').map(|piece| decoded(piece).map(String::into_bytes));
        Ok(Self { pieces: pieces.collect::<Result<_, _>>()? })
    }

    /// Of names rather than of parts of a URL: nothing is decoded, and `**` is `*`.
    pub(super) fn of_names(text: &str) -> Self {
        Self { pieces: text.split('*').map(|piece| piece.as_bytes().to_vec()).collect() }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.matches_bytes(text.as_bytes())
    }

    fn matches_bytes(&self, text: &[u8]) -> bool {
        let Some((first, others)) = self.pieces.split_first() else { return false };
        let Some((last, middle)) = others.split_last() else { return text == first };
        let Some(rest) = text.strip_prefix(first.as_slice()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_slice()) else { return false };
        // Taking each piece at its first place leaves the most for those behind it.
        for piece in middle.iter().filter(|piece| !piece.is_empty()) {
            let place = rest.windows(piece.len()).position(|window| window == piece.as_slice());
            let Some(after) = place.and_then(|place| rest.get(place + piece.len()..)) else {
                return false;
            };
            rest = after;
        }
        true
    }
}

impl PathPattern {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let path = text.strip_prefix('/').ok_or("its path begins with '/'")?;
        if path.contains(['#', '\\']) {
            return Err("a path has no '#' and no '\\'");
        }
        segments(path)
            .map(|segment| match segment {
                "**" => Ok(Segment::Any),
                "" => Err("its path has an empty segment"),
                "." | ".." => Err("its path has a '.' or '..' segment"),
                text => TextPattern::parse(text).map(Segment::One),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a canonical path matches.
    pub(super) fn matches(&self, path: &str) -> bool {
        let path = path.strip_prefix('/').unwrap_or(path);
        // Once: the same path is compared with many segments.
        let segments: Vec<Vec<u8>> = segments(path).map(decoded_bytes).collect();
        // Which lengths of the path's beginning the pattern's beginning can have matched.
        let mut reached = vec![false; segments.len() + 1];
        if let Some(start) = reached.first_mut() {
            *start = true;
        }
        for part in &self.0 {
            let mut next = vec![false; segments.len() + 1];
            match part {
                Segment::Any => {
                    let mut open = false;
                    for (now, before) in next.iter_mut().zip(&reached) {
                        open |= before;
                        *now = open;
                    }
                }
                Segment::One(pattern) => {
                    let ends = next.iter_mut().skip(1);
                    for ((now, before), segment) in ends.zip(&reached).zip(&segments) {
                        *now = *before && !segment.is_empty() && pattern.matches_bytes(segment);
                    }
                }
            }
            reached = next;
        }
        reached.last().copied().unwrap_or(false)
    }
}

/// The segments of a path without its first slash; one slash at the end adds none.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    (!path.is_empty()).then(|| path.split('/')).into_iter().flatten()
}

fn decoded_bytes(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

/// Undoes percent-encoding in a rule's text.
pub(super) fn decoded(text: &str) -> Result<String, &'static str> {
    String::from_utf8(decoded_bytes(text)).map_err(|_| "its percent-encoding isn't UTF-8")
}
