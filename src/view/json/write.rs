//! Text from JSON and to JSON.

use std::borrow::Cow;

/// The text of a string between its quotes. Half of a surrogate pair, which no text can hold,
/// becomes a replacement character.
pub(super) fn unescape(inner: &str) -> Cow<'_, str> {
    let Some(first) = inner.find('\\') else {
        return Cow::Borrowed(inner);
    };
    let mut text = String::with_capacity(inner.len());
    text.push_str(&inner[..first]);
    let mut rest = &inner[first..];
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let (c, length) = escaped(&rest[at..]);
        text.push(c);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character that an escape at the start of `text` stands for, and the bytes it takes.
fn escaped(text: &str) -> (char, usize) {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let c = match text.as_bytes().get(1) {
        Some(b'u') => {
            let first = unit(0).unwrap_or(0xfffd);
            if let (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) = (first, unit(6)) {
                let c = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return (char::from_u32(c).unwrap_or('\u{fffd}'), 12);
            }
            return (char::from_u32(first).unwrap_or('\u{fffd}'), 6);
        }
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(other) => char::from(*other),
        None => return ('\u{fffd}', text.len()),
    };
    (c, 2)
}

/// Copies valid JSON without the white space between its tokens. What a strict reader refuses
/// becomes what it takes: `NaN` and infinity `null`, half of a surrogate pair `\ufffd`.
pub(crate) fn compact(json: &str, out: &mut String) {
    let mut rest = json;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '"' => string(rest, out),
            ' ' | '\t' | '\n' | '\r' => 1,
            '-' if rest[1..].starts_with('I') => 1,
            'N' | 'I' => {
                out.push_str("null");
                if c == 'N' {
                    "NaN".len()
                } else {
                    "Infinity".len()
                }
            }
            c => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
}

/// Copies the string that `json` starts with; the bytes it takes.
fn string(json: &str, out: &mut String) -> usize {
    out.push('"');
    let mut at = 1;
    while let Some(c) = json[at..].chars().next() {
        match c {
            '"' => {
                at += 1;
                break;
            }
            '\\' => {
                let (c, length) = escaped(&json[at..]);
                if c == '\u{fffd}' {
                    out.push_str("\\ufffd");
                } else {
                    out.push_str(&json[at..at + length]);
                }
                at += length;
            }
            c => {
                push(c, out);
                at += c.len_utf8();
            }
        }
    }
    out.push('"');
    at
}

/// Writes `text` as a JSON string.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        push(c, out);
    }
    out.push('"');
}

/// Control characters are escaped, the C1 ones too: they are legal in JSON but control terminals.
fn push(c: char, out: &mut String) {
    if c.is_control() {
        out.push_str("\\u00");
        for digit in [c as u32 >> 4, c as u32 & 15] {
            out.extend(char::from_digit(digit, 16));
        }
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_strict_readers_refuse_becomes_what_they_take() {
        let cases = [
            ("[NaN, -Infinity ,Infinity]", "[null,null,null]"),
            (r#"{ "NaN" : "I -I N" }"#, r#"{"NaN":"I -I N"}"#),
            (
                r#"["\ud83d","\ud83d\ude00"]"#,
                r#"["\ufffd","\ud83d\ude00"]"#,
            ),
            ("[-1 , 1.10E+3]", "[-1,1.10E+3]"),
        ];
        for (json, text) in cases {
            let mut out = String::new();
            compact(json, &mut out);
            assert_eq!(out, text);
        }
    }

    proptest! {
        #[test]
        fn a_quoted_text_is_the_text(text in any::<String>()) {
            let mut quoted = String::new();
            quote(&text, &mut quoted);
            prop_assert!(!quoted.chars().any(char::is_control));
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text.as_str());
            let document = super::super::parse(&quoted).unwrap();
            prop_assert_eq!(document.root().string().unwrap(), text);
        }
    }
}
