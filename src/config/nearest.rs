//! Guesses which name was meant: a key, a region.

/// The one of `keys` that `path` most likely means, if any comes near: compared whole, and without
/// sections, since a key often stands in the wrong one.
pub(crate) fn nearest<'k>(path: &str, keys: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    /// Words longer than any key cannot be near one, and distance costs their square.
    const LONGEST: usize = 64;
    if path.len() > LONGEST {
        return None;
    }
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_ascii_lowercase();
    let whole = path.to_ascii_lowercase();
    keys.map(|key| {
        let by_whole = distance(&whole, &key.to_ascii_lowercase());
        let by_last = distance(&last(path), &last(key));
        (by_whole.min(by_last), key)
    })
    .min_by_key(|(distance, _)| *distance)
    .filter(|(distance, key)| *distance <= last(key).len() / 3)
    .map(|(_, key)| key)
}

/// Levenshtein's distance, in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEYS: [&str; 5] = [
        "Region",
        "Endpoint",
        "Socket.UDPAddress",
        "Socket.TCPAddress",
        "Logging.LogLevel",
    ];

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("regoin", "region", 2),
            ("regio", "region", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn what_is_near() {
        for (path, expected) in [
            ("Regoin", Some("Region")),
            ("region", Some("Region")),
            ("LogLevel", Some("Logging.LogLevel")),
            ("Socket.LogLevel", Some("Logging.LogLevel")),
            ("Socket.TcpAddress", Some("Socket.TCPAddress")),
            ("Sampling", None),
            ("", None),
        ] {
            assert_eq!(nearest(path, KEYS.into_iter()), expected, "{path}");
        }
        assert_eq!(nearest(&"Region".repeat(1000), KEYS.into_iter()), None);
    }

    proptest! {
        #[test]
        fn one_slip_is_recognised(which in 0..KEYS.len(), at in 0usize..40, letter in "[a-z]") {
            let key = KEYS[which];
            let mut slip = key.to_owned();
            slip.insert_str(at % (key.len() + 1), &letter);
            prop_assert_eq!(nearest(&slip, KEYS.into_iter()), Some(key));
        }
    }
}
