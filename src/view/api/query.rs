//! Percent-encoding, of paths and of queries.

/// The parameters of a query, decoded, in their order; `None` when one is no text.
pub(super) fn parameters(query: &str) -> Option<Vec<(String, String)>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name, true)?, decode(value, true)?))
        })
        .collect()
}

/// Decoded text; in a query a plus sign is a space. `None` when it is no UTF-8, or a percent sign
/// is not followed by two hexadecimal digits.
pub(super) fn decode(text: &str, in_query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            b'+' if in_query => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_browser_encodes_is_decoded() {
        let pairs = parameters("text=a+b%2Bc&&annotation=k%3dv&x&=%C3%A9").unwrap();
        let expected = [
            ("text", "a b+c"),
            ("annotation", "k=v"),
            ("x", ""),
            ("", "é"),
        ];
        assert_eq!(
            pairs,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(decode("a+b%20c", false).unwrap(), "a+b c");
        for broken in ["%", "%4", "%zz", "%ff", "%c3", "%+1"] {
            assert_eq!(decode(broken, true), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn any_text_there_and_back(text in any::<String>()) {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(decode(&encoded, true).unwrap(), text);
        }
    }
}
