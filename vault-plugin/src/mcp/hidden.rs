//! Characters that people don't see and models do: which they are, and texts without them.

/// Whether a character is hidden from people, or turns the order in which they read: controls but
/// for line breaks and tabs, zero-width and other format characters, marks of direction, variation
/// selectors, fillers that look like nothing, and tags (Unicode 16, general category Cf, with what
/// has the property Default_Ignorable_Code_Point).
pub fn is_hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{890}'..='\u{891}'
                | '\u{8e2}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Whether a hidden character may be part of an ordinary text all the same: emoji and several
/// scripts are written with joiners and variation selectors.
pub fn is_orthographic(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}')
}

/// The text without its hidden characters.
pub fn stripped(text: &str) -> String {
    text.chars().filter(|c| !is_hidden(*c)).collect()
}

/// The text with its hidden characters written out, `\u{200b}` for one, for people to see.
pub fn revealed(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The same on one line: line breaks and tabs are written out too, so that nothing of the text passes
/// for a line of ours.
pub fn on_one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            c if is_hidden(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_stripped_and_shown_to_people() {
        for hidden in [
            '\0',
            '\u{1b}',
            '\u{7f}',
            '\u{9b}',
            '\u{200b}',
            '\u{200d}',
            '\u{202e}',
            '\u{2066}',
            '\u{2062}',
            '\u{feff}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{e0100}',
            '\u{fe0f}',
            '\u{3164}',
            '\u{ad}',
            '\u{2028}',
        ] {
            let text = format!("be{hidden}fore");
            assert_eq!(stripped(&text), "before", "{hidden:?}");
            assert_eq!(revealed(&text), format!("be{}fore", hidden.escape_unicode()));
        }
    }

    #[test]
    fn on_one_line_there_is_one_line() {
        let text = "a\nb\r\n\tc\u{85}\u{2028}\u{b}\u{200b}ü";
        let shown = on_one_line(text);
        assert_eq!(shown, "a\\nb\\r\\n\\tc\\u{85}\\u{2028}\\u{b}\\u{200b}ü");
        assert!(!shown.chars().any(|c| c.is_control() || is_hidden(c)));
    }

    #[test]
    fn what_people_write_stays() {
        for text in ["Größe, 尺寸, حجم, गुणवत्ता", "two\n\tlines\r\n", "🙂 – „x“ ½ \u{a0}"]
        {
            assert_eq!(stripped(text), text);
            assert_eq!(revealed(text), text);
        }
    }
}
