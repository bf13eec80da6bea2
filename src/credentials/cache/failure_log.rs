//! Decides which failures to get credentials are logged. There is an attempt every few seconds at
//! first.

use std::time::{Duration, Instant};

/// Pause before the same failure is logged again.
const SAME: Duration = Duration::from_secs(60);

/// The failure that was logged last.
#[derive(Debug, Default)]
pub(super) struct FailureLog {
    told: Option<(String, Instant)>,
}

impl FailureLog {
    /// Whether to log this failure.
    pub(super) fn is_news(&mut self, error: &str, now: Instant) -> bool {
        let last = self.told.as_ref();
        let is_news = last.is_none_or(|(told, at)| told != error || now >= *at + SAME);
        if is_news {
            self.told = Some((error.to_owned(), now));
        }
        is_news
    }

    /// An attempt has given credentials.
    pub(super) fn succeeded(&mut self) {
        self.told = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_and_then_one_a_minute() {
        let start = Instant::now();
        let mut log = FailureLog::default();
        let mut told = |error, second| log.is_news(error, start + Duration::from_secs(second));
        for (error, second, expected) in [
            ("none", 0, true),
            ("none", 1, false),
            ("none", 59, false),
            ("none", 60, true),
            ("none", 90, false),
            ("refused", 91, true),
            ("refused", 92, false),
        ] {
            assert_eq!(told(error, second), expected, "{error} {second}");
        }
        log.succeeded();
        assert!(log.is_news("refused", start + Duration::from_secs(93)));
    }
}
