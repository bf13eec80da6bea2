//! Text for a terminal. A [`Text`] can only be made here, so whatever a document puts on the
//! screen has passed through [`Text::foreign`]: a client that sends escape sequences in a segment
//! name cannot drive the terminal of the one who reads it.

/// One line of text without control, bidirectional or invisible characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Text {
    /// Takes text from a document: white space becomes single spaces, hidden characters become
    /// visible escapes, and what exceeds `limit` columns is cut.
    pub(crate) fn foreign(raw: &str, limit: usize) -> Text {
        let mut text = String::new();
        let mut columns = 0;
        let mut gap = false;
        for c in raw.chars() {
            if c.is_whitespace() {
                gap = !text.is_empty();
                continue;
            }
            if columns >= limit {
                text.push('…');
                break;
            }
            if gap {
                text.push(' ');
                columns += 1;
                gap = false;
            }
            if is_hidden(c) {
                let escape = c.escape_unicode();
                columns += escape.len();
                text.extend(escape);
            } else {
                columns += width(c);
                text.push(c);
            }
        }
        Text(text)
    }

    /// Text of our own.
    pub(crate) fn own(text: &'static str) -> Text {
        Text(text.to_owned())
    }

    /// Both texts with `separator` between them, unless one is empty.
    pub(crate) fn join(&self, separator: &'static str, other: &Text) -> Text {
        if self.is_empty() || other.is_empty() {
            return Text([self.as_str(), other.as_str()].concat());
        }
        Text([self.as_str(), separator, other.as_str()].concat())
    }

    /// `1 service`, `3 services`.
    pub(crate) fn count(n: usize, noun: &'static str) -> Text {
        let plural = if n == 1 { "" } else { "s" };
        Text([n.to_string().as_str(), " ", noun, plural].concat())
    }

    /// A number as it is.
    pub(crate) fn number(n: u16) -> Text {
        Text(n.to_string())
    }

    /// A length of time, short: `350 µs`, `1.2 ms`, `412 ms`, `1.24 s`, `3m 05s`. `ascii` writes
    /// `us`. By integers, which keeps the formatting of floats out of the binary.
    pub(crate) fn duration(seconds: f64, ascii: bool) -> Text {
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
    pub(crate) fn time_of_day(seconds: f64) -> Text {
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
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Columns it takes on the screen.
    pub(crate) fn columns(&self) -> usize {
        self.0.chars().map(width).sum()
    }

    /// Whether there is nothing to show.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The longest start of `text` that fits `limit` columns, and the columns it takes.
pub(crate) fn fit(text: &str, limit: usize) -> (&str, usize) {
    let mut columns = 0;
    for (at, c) in text.char_indices() {
        if columns + width(c) > limit {
            return (&text[..at], columns);
        }
        columns += width(c);
    }
    (text, columns)
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

/// Columns of one character: two for East Asian wide ones and emoji (Unicode TR 11, roughly).
/// Combining marks count as one, so that a line is never wider than it is counted.
fn width(c: char) -> usize {
    let wide = matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}' | '\u{1f000}'..='\u{1faff}'
        | '\u{20000}'..='\u{3ffff}');
    if wide { 2 } else { 1 }
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
    fn wide_characters_take_two_columns() {
        assert_eq!(Text::foreign("注文", 80).columns(), 4);
        assert_eq!(fit("注文", 3), ("注", 2));
    }

    proptest! {
        #[test]
        fn foreign_text_is_one_visible_line(raw in any::<String>(), limit in 0usize..40) {
            let text = Text::foreign(&raw, limit);
            prop_assert!(!text.as_str().chars().any(|c| is_hidden(c) || c == '\n'));
            // One character may pass the limit by an escape's length, and the ellipsis follows.
            let longest_escape = r"\u{10ffff}".len();
            prop_assert!(text.columns() <= limit + 1 + longest_escape + 1);
        }
    }
}
