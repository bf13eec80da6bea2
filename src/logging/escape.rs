//! Makes any text safe for one line of a log: nothing that moves a cursor, starts a line or
//! turns the direction of writing gets through, and nothing is longer than it may be.

use std::fmt::{self, Write};

/// `text` on one line: at most `max` bytes of it, plus a note of how much was cut. Control and
/// invisible formatting characters become escapes such as `\n` and `\u{1b}`, bytes that are not
/// UTF-8 become `\xNN`.
#[must_use]
pub fn escape(text: impl AsRef<[u8]>, max: usize) -> String {
    let mut line = Line::new(max);
    for chunk in text.as_ref().utf8_chunks() {
        // Writing to a Line cannot fail.
        let _ = line.write_str(chunk.valid());
        for byte in chunk.invalid() {
            line.push(1, format_args!("\\x{byte:02x}"), 4);
        }
    }
    line.finish()
}

/// Collects escaped text up to a limit; formatting into it never takes more memory than that.
pub(super) struct Line {
    text: String,
    max: usize,
    cut: usize,
}

impl Line {
    /// An empty line of at most `max` bytes.
    #[must_use]
    pub(super) fn new(max: usize) -> Self {
        Line {
            text: String::new(),
            max,
            cut: 0,
        }
    }

    /// The line, with a note when it was cut.
    #[must_use]
    pub(super) fn finish(mut self) -> String {
        if self.cut > 0 {
            let _ = write!(self.text, "… ({} bytes cut)", self.cut);
        }
        self.text
    }

    /// Adds what stands for `source` bytes and is `length` bytes long, or counts it as cut.
    fn push(&mut self, source: usize, shown: fmt::Arguments<'_>, length: usize) {
        if self.cut > 0 || self.text.len() + length > self.max {
            self.cut += source;
        } else {
            let _ = self.text.write_fmt(shown);
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let printable = |byte: u8| (b' '..=b'~').contains(&byte);
        if self.cut == 0 && self.text.len() + text.len() <= self.max && text.bytes().all(printable)
        {
            self.text.push_str(text);
            return Ok(());
        }
        for c in text.chars() {
            match c {
                '\n' | '\r' | '\t' => self.push(1, format_args!("{}", c.escape_debug()), 2),
                _ if is_hidden(c) => {
                    let shown = c.escape_unicode();
                    self.push(c.len_utf8(), format_args!("{shown}"), shown.len());
                }
                _ => self.push(c.len_utf8(), format_args!("{c}"), c.len_utf8()),
            }
        }
        Ok(())
    }
}

/// Control characters, and those that are invisible but change how their neighbours are read.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_escaped() {
        let table: &[(&[u8], &str)] = &[
            (b"", ""),
            (b"plain ~text~ \\n", "plain ~text~ \\n"),
            ("Zürich 東京 🦀".as_bytes(), "Zürich 東京 🦀"),
            (b"a\nb\r\tc", "a\\nb\\r\\tc"),
            (b"\x1b[31mred\x07\0", "\\u{1b}[31mred\\u{7}\\u{0}"),
            (
                "\u{9b}1m \u{202e}gpj \u{2028}".as_bytes(),
                "\\u{9b}1m \\u{202e}gpj \\u{2028}",
            ),
            (b"\xff\xc3(", "\\xff\\xc3("),
            // The Arabic letter mark turns the direction, a tag is text that nobody sees.
            (
                "a\u{61c}b\u{ad}\u{e0041}".as_bytes(),
                "a\\u{61c}b\\u{ad}\\u{e0041}",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(escape(text, 100), *expected);
        }
    }

    #[test]
    fn what_is_cut() {
        for (text, max, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdef", 5, "abcde… (1 bytes cut)"),
            ("abcdef", 0, "… (6 bytes cut)"),
            // Never inside a character or an escape.
            ("aéb", 2, "a… (3 bytes cut)"),
            ("a\nb", 2, "a… (2 bytes cut)"),
        ] {
            assert_eq!(escape(text, max), expected, "{text:?} {max}");
        }
    }

    proptest! {
        #[test]
        fn the_result_is_one_bounded_line(bytes in proptest::collection::vec(any::<u8>(), 0..200), max in 0usize..300) {
            let escaped = escape(&bytes, max);
            prop_assert!(!escaped.chars().any(is_hidden));
            let shown = escaped.split('…').next().unwrap();
            prop_assert!(shown.len() <= max || escaped.matches('…').count() > 1);
        }

        /// The log escapes a whole message in which parts are escaped already.
        #[test]
        fn escaping_twice_changes_nothing(text in ".*") {
            let once = escape(&text, 10_000);
            prop_assert_eq!(escape(&once, 10_000), once);
        }
    }
}
