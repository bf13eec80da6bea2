//! Text for a terminal. A [`Text`] can only be made here, so all text of a document passes through
//! [`Text::foreign`]: a client that sends escape sequences in a segment name cannot control the
//! terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// One line of text without control, bidirectional or stray invisible characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::view) struct Text(String);

impl Text {
    /// Takes text from a document: white space becomes single spaces, hidden characters become
    /// visible escapes, and what exceeds `limit` columns, or twice as many characters, is cut.
    pub(in crate::view) fn foreign(raw: &str, limit: usize) -> Text {
        let mut text = String::new();
        let (mut columns, mut characters) = (0, 0);
        let mut gap = false;
        let mut before = ' ';
        for c in raw.chars() {
            if c.is_whitespace() {
                gap = !text.is_empty();
                continue;
            }
            if columns >= limit || characters / 2 >= limit {
                text.push('…');
                break;
            }
            if gap {
                text.push(' ');
                columns += 1;
                gap = false;
                before = ' ';
            }
            characters += 1;
            if is_hidden(c) && !completes(c, before) {
                let escape = c.escape_unicode();
                columns += escape.len();
                text.extend(escape);
                before = ' ';
            } else {
                // A selector may make its character one column wider.
                columns += c.width().unwrap_or(0).max((c == '\u{fe0f}').into());
                text.push(c);
                before = c;
            }
        }
        Text(text)
    }

    /// Text of our own.
    pub(super) fn own(text: &'static str) -> Text {
        Text(text.to_owned())
    }

    /// Both texts with `separator` between them, unless one is empty.
    pub(super) fn join(&self, separator: &'static str, other: &Text) -> Text {
        if self.is_empty() || other.is_empty() {
            return Text([self.as_str(), other.as_str()].concat());
        }
        Text([self.as_str(), separator, other.as_str()].concat())
    }

    /// `1 service`, `3 services`.
    pub(super) fn count(n: usize, noun: &'static str) -> Text {
        let plural = if n == 1 { "" } else { "s" };
        Text([n.to_string().as_str(), " ", noun, plural].concat())
    }

    /// A number as it is.
    pub(super) fn number(n: impl Into<usize>) -> Text {
        Text(n.into().to_string())
    }

    /// A length of time, short: `350 µs`, `1.2 ms`, `412 ms`, `1.24 s`, `3m 05s`. `ascii` writes
    /// `us`. By integers, which keeps the formatting of floats out of the binary.
    pub(super) fn duration(seconds: f64, ascii: bool) -> Text {
        // `as` saturates, so an absurd length stays a (long) number.
        let us = (seconds.abs() * 1e6).round() as u64;
        let micro = if ascii { " us" } else { " µs" };
        let text = match us {
            0..1_000 => [us.to_string().as_str(), micro].concat(),
            1_000..9_950 => [decimal(us, 100, 10).as_str(), " ms"].concat(),
            9_950..999_500 => [((us + 500) / 1_000).to_string().as_str(), " ms"].concat(),
            999_500..9_995_000 => [decimal(us, 10_000, 100).as_str(), " s"].concat(),
            9_995_000..99_950_000 => [decimal(us, 100_000, 10).as_str(), " s"].concat(),
            99_950_000..3_600_000_000 => pair(us / 1_000_000, 60, "m ", "s"),
            3_600_000_000..86_400_000_000 => pair(us / 60_000_000, 60, "h ", "m"),
            _ => pair(us / 3_600_000_000, 24, "d ", "h"),
        };
        Text(if seconds < 0.0 {
            ["-", text.as_str()].concat()
        } else {
            text
        })
    }

    /// The time of day of seconds since the epoch, `14:03:44.120Z`.
    pub(super) fn time_of_day(seconds: f64) -> Text {
        let ms = ((seconds * 1e3).floor() as i64).rem_euclid(86_400_000);
        let s = ms / 1_000;
        Text(format!(
            "{:02}:{:02}:{:02}.{:03}Z",
            s / 3_600,
            s / 60 % 60,
            s % 60,
            ms % 1_000
        ))
    }

    /// The text itself.
    pub(in crate::view) fn as_str(&self) -> &str {
        &self.0
    }

    /// Columns it takes on the screen.
    pub(in crate::view) fn columns(&self) -> usize {
        columns(&self.0)
    }

    /// Whether there is nothing to show.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Columns that a line of text takes.
pub(super) fn columns(text: &str) -> usize {
    fit(text, usize::MAX).1
}

/// The longest prefix of `text` that fits into `limit` columns, and its columns. It never ends
/// within a grapheme.
pub(super) fn fit(text: &str, limit: usize) -> (&str, usize) {
    if text.is_ascii() {
        let end = text.len().min(limit);
        return (&text[..end], end);
    }
    let (mut end, mut columns) = (0, 0);
    while end < text.len() {
        let rest = &text[end..];
        let glyph = &rest[..glyph_length(rest)];
        let width = glyph.width();
        if columns + width > limit {
            break;
        }
        columns += width;
        end += glyph.len();
    }
    (&text[..end], columns)
}

/// Bytes of the first grapheme: a character with its marks, an emoji of several characters, or a
/// flag.
fn glyph_length(text: &str) -> usize {
    let is_half_flag = |c| ('\u{1f1e6}'..='\u{1f1ff}').contains(&c);
    let mut half_flag = false;
    let mut joined = true;
    for (at, c) in text.char_indices() {
        let second_half = half_flag && is_half_flag(c);
        let tone = matches!(c, '\u{1f3fb}'..='\u{1f3ff}');
        if !(joined || second_half || tone || c.width() == Some(0)) {
            return at;
        }
        half_flag = is_half_flag(c) && !second_half;
        joined = c == JOINER;
    }
    text.len()
}

/// `value / unit`, rounded, with as many decimals as `scale` (10 or 100) has zeros.
fn decimal(value: u64, unit: u64, scale: u64) -> String {
    let rounded = (value + unit / 2) / unit;
    let digits = if scale == 100 { 2 } else { 1 };
    format!("{}.{:0digits$}", rounded / scale, rounded % scale)
}

/// `value` in two units, the small one with two digits.
fn pair(value: u64, per: u64, large: &str, small: &str) -> String {
    format!("{}{large}{:02}{small}", value / per, value % per)
}

/// Zero-width joiner: makes one emoji of several.
const JOINER: char = '\u{200d}';

/// Whether an invisible character has its use after `before`: it joins letters and emoji or says
/// how to draw them. After ASCII it would only be hidden text, except after the digits of keycap
/// emoji.
fn completes(c: char, before: char) -> bool {
    match c {
        JOINER | '\u{200c}' | '\u{fe0e}' => !before.is_ascii(),
        '\u{fe0f}' => !before.is_ascii() || matches!(before, '0'..='9' | '#' | '*'),
        _ => false,
    }
}

/// Characters that move the cursor, reorder the line or cannot be seen.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_short() {
        let shown = [
            (0.0, "0 µs"),
            (0.000_35, "350 µs"),
            (0.000_999_6, "1.0 ms"),
            (0.003_21, "3.2 ms"),
            (0.009_96, "10 ms"),
            (0.412, "412 ms"),
            (0.999_6, "1.00 s"),
            (1.239, "1.24 s"),
            (9.996, "10.0 s"),
            (75.25, "75.3 s"),
            (99.96, "1m 39s"),
            (185.0, "3m 05s"),
            (7_380.0, "2h 03m"),
            (1_000_000.0, "11d 13h"),
            (-0.003, "-3.0 ms"),
            (2e11, "2314814d 19h"),
            (f64::MAX, "213503982d 08h"),
        ];
        for (seconds, text) in shown {
            assert_eq!(Text::duration(seconds, false).as_str(), text, "{seconds}");
        }
        assert_eq!(Text::duration(0.000_35, true).as_str(), "350 us");
    }

    #[test]
    fn time_of_day_is_utc() {
        assert_eq!(
            Text::time_of_day(1_700_000_000.25).as_str(),
            "22:13:20.250Z"
        );
        assert_eq!(Text::time_of_day(-0.5).as_str(), "23:59:59.500Z");
    }

    #[test]
    fn hidden_characters_become_visible() {
        let shown = [
            ("a\x1b[31mb", "a\\u{1b}[31mb"),
            (" two\r\n\t lines ", "two lines"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("x\u{202e}y", "x\\u{202e}y"),
            ("caf\u{e9} 注文", "café 注文"),
        ];
        for (raw, text) in shown {
            assert_eq!(Text::foreign(raw, 80).as_str(), text);
        }
        assert_eq!(Text::foreign("abcdef", 3).as_str(), "abc…");
        assert_eq!(Text::foreign("abc", 3).as_str(), "abc");
    }

    #[test]
    fn columns_are_those_of_a_terminal() {
        let shown = [
            ("", 0),
            ("注文", 4),
            ("e\u{301}a", 2),
            ("❤", 1),
            ("❤\u{fe0f}", 2),
            ("👨\u{200d}👩\u{200d}👧\u{200d}👦", 2),
            ("👍🏽", 2),
            ("🇩🇪🇫🇷", 4),
            ("1\u{fe0f}\u{20e3}", 2),
            ("ｶﾞ", 2),
        ];
        for (raw, columns) in shown {
            let text = Text::foreign(raw, 80);
            assert_eq!(text.as_str(), raw);
            assert_eq!(text.columns(), columns, "{raw}");
        }
    }

    #[test]
    fn what_is_one_to_the_eye_is_not_cut() {
        let family = "a👨\u{200d}👩\u{200d}👧b";
        let cases = [
            (family, 2, "a", 1),
            (family, 3, "a👨\u{200d}👩\u{200d}👧", 3),
            ("注文", 3, "注", 2),
            ("❤\u{fe0f}x", 1, "", 0),
            ("🇩🇪🇫🇷", 3, "🇩🇪", 2),
            ("e\u{301}a", 1, "e\u{301}", 1),
            ("abc", 2, "ab", 2),
        ];
        for (text, limit, start, columns) in cases {
            assert_eq!(fit(text, limit), (start, columns), "{text}");
        }
    }

    #[test]
    fn invisible_characters_without_a_use_become_visible() {
        let shown = [
            ("a\u{200d}b", "a\\u{200d}b"),
            ("x\u{fe0f}", "x\\u{fe0f}"),
            ("\u{200c}", "\\u{200c}"),
            ("❤ \u{fe0f}", "❤ \\u{fe0f}"),
            ("❤\u{200b}", "❤\\u{200b}"),
        ];
        for (raw, text) in shown {
            assert_eq!(Text::foreign(raw, 80).as_str(), text);
        }
        let marks = ["e", &"\u{301}".repeat(1_000)].concat();
        assert!(Text::foreign(&marks, 10).as_str().chars().count() <= 21);
    }

    proptest! {
        #[test]
        fn foreign_text_is_one_visible_line(raw in any::<String>(), limit in 0usize..40) {
            let text = Text::foreign(&raw, limit);
            let mut before = ' ';
            for c in text.as_str().chars() {
                prop_assert!(!is_hidden(c) || completes(c, before));
                before = c;
            }
            // One character may pass the limit by an escape's length, and the ellipsis follows.
            let longest_escape = r"\u{10ffff}".len();
            prop_assert!(text.columns() <= limit + 1 + longest_escape + 1);
        }
    }
}
