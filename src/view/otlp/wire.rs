//! Base64 (RFC 4648) for the spans of a datagram.

use crate::protobuf::MalformedProtobuf;

/// Decodes standard base64; the padding may be missing.
pub(super) fn decode_base64(text: &str) -> Result<Vec<u8>, MalformedProtobuf> {
    let text = text.trim_ascii().trim_end_matches('=').as_bytes();
    if text.len() % 4 == 1 {
        return Err(MalformedProtobuf);
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0u32, 0);
    for byte in text {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(MalformedProtobuf),
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Ok(bytes)
}

/// Encodes as standard base64 with padding.
pub(super) fn encode_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for digit in 0..4 {
            let index = bits >> (18 - 6 * digit) & 63;
            let padding = digit > three.len();
            text.push(if padding {
                '='
            } else {
                char::from(ALPHABET[index as usize])
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zg", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmFy\n", "foobar"),
        ] {
            assert_eq!(decode_base64(text).unwrap(), bytes.as_bytes(), "{text}");
        }
        assert_eq!(decode_base64("+/8=").unwrap(), [0xfb, 0xff]);
        for malformed in ["Z", "Zm9v*", "Zm 9v", "=Zg"] {
            assert_eq!(
                decode_base64(malformed),
                Err(MalformedProtobuf),
                "{malformed}"
            );
        }
    }

    proptest! {
        #[test]
        fn base64_there_and_back(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let text = encode_base64(&bytes);
            prop_assert_eq!(text.len() % 4, 0);
            prop_assert_eq!(decode_base64(&text).unwrap(), bytes);
        }
    }
}
