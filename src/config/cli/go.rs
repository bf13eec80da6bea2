//! Reads numbers, truth values and durations as Go does, because existing task definitions and
//! cfg.yaml files use Go's grammar.

use std::time::Duration;

/// `strconv.ParseBool`: these twelve words and no others.
#[must_use]
pub fn boolean(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// `strconv.ParseInt(word, 0, 64)`: a sign, a prefix (`0x`, `0o`, `0b`, and a bare `0` for
/// octal), and underscores between digits or after the prefix.
#[must_use]
pub fn integer(word: &str) -> Option<i64> {
    let (negative, unsigned) = match word.as_bytes().first()? {
        b'-' => (true, &word[1..]),
        b'+' => (false, &word[1..]),
        _ => (false, word),
    };
    let (base, digits) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    let after_prefix = digits.len() < unsigned.len();
    let mut value: i128 = 0;
    let mut last_was_digit = after_prefix;
    let mut any = false;
    for c in digits.chars() {
        if c == '_' {
            if !last_was_digit {
                return None;
            }
            last_was_digit = false;
        } else {
            value = value * i128::from(base) + i128::from(c.to_digit(base)?);
            if value > i128::from(i64::MAX) + 1 {
                return None;
            }
            last_was_digit = true;
            any = true;
        }
    }
    if !any || !last_was_digit {
        return None;
    }
    i64::try_from(if negative { -value } else { value }).ok()
}

/// `time.ParseDuration` without a sign (`10s`, `500ms`, `1m30s`, `1.5h`), or a plain number of
/// seconds. `None` also for what overflows a [`Duration`] of whole nanoseconds in 64 bits.
#[must_use]
pub fn duration(word: &str) -> Option<Duration> {
    let mut rest = word;
    let mut nanos: u64 = 0;
    while !rest.is_empty() || word.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, tail) = rest.split_at(number_end.unwrap_or(rest.len()));
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, tail) = tail.split_at(unit_end.unwrap_or(tail.len()));
        let scale: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" if number.len() == word.len() => 1_000_000_000,
            _ => return None,
        };
        nanos = nanos.checked_add(scaled(number, scale)?)?;
        rest = tail;
    }
    Some(Duration::from_nanos(nanos))
}

/// A decimal number of `scale` nanoseconds; what is below one nanosecond is dropped.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut nanos = match whole {
        "" => 0,
        digits => digits.parse::<u64>().ok()?.checked_mul(scale)?,
    };
    let mut place = scale;
    for digit in fraction.chars() {
        place /= 10;
        nanos = nanos.checked_add(place * u64::from(digit.to_digit(10)?))?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers() {
        let table = [
            ("0", Some(0)),
            ("3", Some(3)),
            ("-3", Some(-3)),
            ("+3", Some(3)),
            ("010", Some(8)),
            ("0x1F", Some(31)),
            ("0o17", Some(15)),
            ("0b101", Some(5)),
            ("1_000", Some(1000)),
            ("0x_1F", Some(31)),
            ("0_7", Some(7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("99999999999999999999999999999999999999999999", None),
            ("", None),
            ("-", None),
            ("0x", None),
            ("08", None),
            ("_1", None),
            ("1_", None),
            ("1__0", None),
            ("--1", None),
            ("1.5", None),
            (" 1", None),
            ("১", None),
        ];
        for (word, expected) in table {
            assert_eq!(integer(word), expected, "{word:?}");
        }
    }

    #[test]
    fn durations() {
        let table = [
            ("0", Some(0)),
            ("10", Some(10_000)),
            ("2.5", Some(2_500)),
            ("10s", Some(10_000)),
            ("500ms", Some(500)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            (".5s", Some(500)),
            ("5.s", Some(5_000)),
            ("", None),
            (".", None),
            ("s", None),
            ("-1s", None),
            ("1s2", None),
            ("1.2.3s", None),
            ("1d", None),
            ("1 s", None),
            ("99999999999999999999s", None),
            ("9999999999h", None),
        ];
        for (word, millis) in table {
            assert_eq!(
                duration(word),
                millis.map(Duration::from_millis),
                "{word:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_integer_is_read_back(n: i64) {
            prop_assert_eq!(integer(&n.to_string()), Some(n));
            let magnitude = n.unsigned_abs();
            let sign = if n < 0 { "-" } else { "" };
            prop_assert_eq!(integer(&format!("{sign}0x{magnitude:x}")), Some(n));
            prop_assert_eq!(integer(&format!("{sign}0b{magnitude:b}")), Some(n));
            prop_assert_eq!(integer(&format!("{sign}0{magnitude:o}")), Some(n));
        }

        #[test]
        fn no_word_panics(word in ".*") {
            let _ = (integer(&word), duration(&word), boolean(&word));
        }

        #[test]
        fn durations_add_up(h in 0u64..1000, m in 0u64..1000, ms in 0u64..100_000) {
            let expected = Duration::from_millis(h * 3_600_000 + m * 60_000 + ms);
            prop_assert_eq!(duration(&format!("{h}h{m}m{ms}ms")), Some(expected));
        }
    }
}
