//! The dates in credential answers.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

/// The last second of the year 9999, the end of RFC 3339.
const LAST: f64 = 253_402_300_799.0;

/// Reads RFC 3339 with up to nine fraction digits, in UTC or with an offset; `T` and `Z` in
/// either case.
pub fn parse(text: &str) -> Option<SystemTime> {
    let text = text.trim().to_ascii_uppercase();
    let date = DateTime::from_str(&text, Format::DateTimeWithOffset).ok()?;
    SystemTime::try_from(date).ok()
}

/// Reads seconds since 1970, as STS and Go services write them in JSON; fractions are kept.
pub fn from_epoch(seconds: f64) -> Option<SystemTime> {
    if !(0.0..=LAST).contains(&seconds) {
        return None;
    }
    UNIX_EPOCH.checked_add(std::time::Duration::try_from_secs_f64(seconds).ok()?)
}

/// RFC 3339 in UTC, whole seconds.
pub fn format(time: SystemTime) -> String {
    let date = DateTime::from_secs(DateTime::from(time).secs());
    date.fmt(Format::DateTime)
        .unwrap_or_else(|_| "a date out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_spelling_seen_in_answers() {
        for (text, expected) in [
            ("2025-09-21T04:16:53Z", Some("2025-09-21T04:16:53Z")),
            ("2025-09-21t04:16:53z", Some("2025-09-21T04:16:53Z")),
            ("2025-09-21T04:16:53.123456Z", Some("2025-09-21T04:16:53Z")),
            (
                "2025-09-21T04:16:53.123456789Z",
                Some("2025-09-21T04:16:53Z"),
            ),
            ("2025-09-21T04:16:53+00:00", Some("2025-09-21T04:16:53Z")),
            ("2025-09-21T04:16:53-02:30", Some("2025-09-21T06:46:53Z")),
            (" 2025-09-21T04:16:53Z\n", Some("2025-09-21T04:16:53Z")),
            ("0001-01-01T00:00:00Z", Some("0001-01-01T00:00:00Z")),
            ("9999-12-31T23:59:59Z", Some("9999-12-31T23:59:59Z")),
            ("2025-09-21T04:16:53", None),
            ("2025-13-21T04:16:53Z", None),
            ("2025-09-21", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(parse(text).map(format).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn seconds_in_every_json_form() {
        let at = |s| from_epoch(s).map(format);
        assert_eq!(at(1_460_355_675.0).as_deref(), Some("2016-04-11T06:21:15Z"));
        assert_eq!(at(1.460_355_675E9), at(1_460_355_675.0));
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e300, LAST + 1.0] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", seconds: f64) {
            let _ = (parse(&text), from_epoch(seconds).map(format));
        }
    }
}
