//! The log: whatever a message holds, it is one line of bounded length in which nothing moves the
//! cursor, hides or changes the direction of writing; all that is not cut can be read back; and a
//! JSON line is JSON.
#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use log::Level;
use xray::logging::escape::escape;
use xray::logging::{LogFormat, line};

/// What the log cuts messages to.
const LONGEST: usize = 4096;

/// Control characters, all that Unicode calls `Bidi_Control` or a line end, and tags.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
        )
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
        || ('\u{e0001}'..='\u{e007f}').contains(&c)
}

/// The line without its note, and how many bytes that says were cut.
fn note(line: &str) -> (&str, usize) {
    let found = line.strip_suffix(" bytes cut)").and_then(|line| {
        let (shown, count) = line.rsplit_once("… (")?;
        Some((shown, count.parse().ok()?))
    });
    found.unwrap_or((line, 0))
}

/// What an escaped text stands for, if it had no backslash of its own.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        let (kind, after) = after.split_at(1);
        rest = after;
        match kind {
            "n" => bytes.push(b'\n'),
            "r" => bytes.push(b'\r'),
            "t" => bytes.push(b'\t'),
            "x" => {
                let (digits, after) = after.split_at(2);
                bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
                rest = after;
            }
            "u" => {
                let (digits, after) = after[1..].split_once('}').expect("in brackets");
                let number = u32::from_str_radix(digits, 16).expect("digits");
                let c = char::from_u32(number).expect("it was one");
                bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            other => panic!("\\{other}"),
        }
    }
    bytes.extend(rest.as_bytes());
    bytes
}

/// Writes a text in pieces, as `format!` does.
struct Pieces<'a>(&'a str, usize);

impl fmt::Display for Pieces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pieces(mut rest, length) = *self;
        while let Some(c) = rest.chars().next() {
            let mut end = length.clamp(c.len_utf8(), rest.len());
            while !rest.is_char_boundary(end) {
                end += 1;
            }
            let (piece, after) = rest.split_at(end);
            f.write_str(piece)?;
            rest = after;
        }
        Ok(())
    }
}

fuzz_target!(|input: (u16, u8, i64, &[u8])| {
    let (max, piece, seconds, data) = input;
    let max = usize::from(max) % (LONGEST + 1);
    let escaped = escape(data, max);
    assert!(!escaped.contains(is_harmful), "{escaped:?}");
    // What looks like a note may be a part of the text.
    let is_ambiguous = String::from_utf8_lossy(data).contains(" bytes cut)");
    if !is_ambiguous {
        let (shown, cut) = note(&escaped);
        assert!(shown.len() <= max);
        if !data.contains(&b'\\') {
            let back = unescape(shown);
            assert_eq!(back, data[..data.len() - cut], "{escaped:?}");
        }
        if cut == 0 && escaped.len() <= max {
            assert_eq!(escape(&escaped, max), escaped);
        }
        // With one byte of room more, nothing that was shown is missing.
        let more = escape(data, max + 1);
        assert!(note(&more).0.starts_with(shown), "{shown:?} {more:?}");
    }

    let text = String::from_utf8_lossy(data);
    let pieces = Pieces(&text, usize::from(piece));
    for format in [LogFormat::Text, LogFormat::Json] {
        let whole = line(format, seconds, Level::Warn, format_args!("{text}"));
        let in_pieces = line(format, seconds, Level::Warn, format_args!("{pieces}"));
        assert_eq!(whole, in_pieces);
        let shown = whole.strip_suffix('\n').expect("a line");
        assert!(!shown.contains(is_harmful), "{shown:?}");
        let message = escape(text.as_bytes(), LONGEST);
        match format {
            LogFormat::Text => {
                let (_, told) = shown.split_once(" [Warn] ").expect("time, level, message");
                assert_eq!(told, message);
            }
            LogFormat::Json => {
                let value: serde_json::Value = serde_json::from_str(shown).expect("JSON");
                assert_eq!(value["message"], *message);
                assert_eq!(value["level"], "warn");
                assert_eq!(value.as_object().map(serde_json::Map::len), Some(3));
            }
        }
    }
});
