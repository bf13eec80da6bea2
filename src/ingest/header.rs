//! One datagram: a header line, a newline, and the document, which stays opaque.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Why a datagram is not a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MalformedDatagram {
    /// No newline, or nothing after it.
    NoDocument,
    /// The first line is not `{"format":"json","version":1}` in one of its accepted spellings.
    Header,
}

impl fmt::Display for MalformedDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MalformedDatagram::NoDocument => "Missing header or segment",
            MalformedDatagram::Header => "Invalid header",
        })
    }
}

/// The two spellings that nearly every SDK sends; anything else takes the slow path.
const COMPACT: &[u8; 30] = b"{\"format\":\"json\",\"version\":1}\n";
const SPACED: &[u8; 33] = b"{\"format\": \"json\", \"version\": 1}\n";

/// The document in `datagram`: every byte after the first newline, later newlines included.
///
/// # Errors
/// [`MalformedDatagram`], by the rules of the official daemon.
pub fn document(datagram: &[u8]) -> Result<&[u8], MalformedDatagram> {
    let usual = datagram.strip_prefix(COMPACT);
    let usual = usual.or_else(|| datagram.strip_prefix(SPACED));
    let document = match usual {
        Some(document) => document,
        None => {
            let newline = datagram.iter().position(|&byte| byte == b'\n');
            let (header, rest) = datagram.split_at(newline.ok_or(MalformedDatagram::NoDocument)?);
            if rest.len() > 1 && !is_header(header) {
                return Err(MalformedDatagram::Header);
            }
            &rest[1..]
        }
    };
    if document.is_empty() {
        return Err(MalformedDatagram::NoDocument);
    }
    Ok(document)
}

/// Decodes like Go's `encoding/json` into `{Format string; Version int}` with the error ignored:
/// keys in any case, the last value of the right type wins, invalid UTF-8 is replaced, and text
/// that is not one JSON value gives nothing.
fn is_header(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    match serde_json::from_str::<Header>(&text) {
        Ok(header) => header.format.eq_ignore_ascii_case("json") && header.version == 1,
        Err(_) => false,
    }
}

#[derive(Default)]
struct Header {
    format: String,
    version: i64,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a segment header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        while let Some(key) = map.next_key::<String>()? {
            if key.eq_ignore_ascii_case("format") {
                if let HeaderValue::Text(format) = map.next_value()? {
                    header.format = format;
                }
            } else if key.eq_ignore_ascii_case("version") {
                if let HeaderValue::Integer(version) = map.next_value()? {
                    header.version = version;
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(header)
    }
}

/// A value of the header: the two types that matter, and every other one, read past.
enum HeaderValue {
    Text(String),
    Integer(i64),
    Other,
}

impl<'de> Deserialize<'de> for HeaderValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = HeaderValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<HeaderValue, E> {
        Ok(HeaderValue::Text(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<HeaderValue, E> {
        Ok(i64::try_from(number).map_or(HeaderValue::Other, HeaderValue::Integer))
    }

    fn visit_i64<E>(self, number: i64) -> Result<HeaderValue, E> {
        Ok(HeaderValue::Integer(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<HeaderValue, E> {
        Ok(HeaderValue::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<HeaderValue, E> {
        Ok(HeaderValue::Other)
    }

    fn visit_unit<E>(self) -> Result<HeaderValue, E> {
        Ok(HeaderValue::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<HeaderValue, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(HeaderValue::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderValue, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(HeaderValue::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_header(header: &[u8], accepted: bool) {
        let mut datagram = header.to_vec();
        datagram.extend_from_slice(b"\n{}");
        let expected = if accepted {
            Ok(&b"{}"[..])
        } else {
            Err(MalformedDatagram::Header)
        };
        let shown = String::from_utf8_lossy(header);
        assert_eq!(document(&datagram), expected, "header {shown:?}");
    }

    #[test]
    fn accepts_what_the_official_daemon_accepts() {
        for header in [
            r#"{"format":"json","version":1}"#,
            r#"{"format": "json", "version": 1}"#,
            r#"{"version":1,"format":"json"}"#,
            r#"{"format":"json","version":1,"extra":[{"a":null}]}"#,
            " \t{\"format\":\"json\",\"version\":1} \t",
            "{\"format\":\"json\",\"version\":1}\r",
            r#"{"format":"JSON","version":1}"#,
            r#"{"Format":"json","VERSION":1}"#,
            r#"{"format":"\u006ason","version":1}"#,
            r#"{"format":"json","version":2,"version":1}"#,
            r#"{"format":"json","version":1,"version":null}"#,
            r#"{"format":"json","version":1,"version":1.0}"#,
            r#"{"format":"json","format":7,"version":1}"#,
            r#"{"format":"json","format":{"a":[1]},"version":1}"#,
            r#"{"format":"json","version":1,"x":"\ud800"}"#,
        ] {
            check_header(header.as_bytes(), true);
        }
        check_header(
            b"{\"format\":\"json\",\"version\":1,\"x\":\"\xff\xfe\"}",
            true,
        );
    }

    #[test]
    fn rejects_what_the_official_daemon_rejects() {
        for header in [
            r#"{"format":"json","version":1.0}"#,
            r#"{"format":"json","version":1e0}"#,
            r#"{"format":"json","version":"1"}"#,
            r#"{"format":"json","version":2}"#,
            r#"{"format":"json","version":-1}"#,
            r#"{"format":"json"}"#,
            r#"{"format":"json","version":01}"#,
            r#"{"format":"json","version":18446744073709551617}"#,
            r#"{"format":"json","version":1,"format":"xml"}"#,
            r#"{"version":1}"#,
            "null",
            "[]",
            "1",
            "\u{feff}{\"format\":\"json\",\"version\":1}",
            "{'format':'json','version':1}",
            r#"{"format":"json","version":1,}"#,
            r#"{"format":"json","version":1}{}"#,
            r#"{"format":"json","version":1}x"#,
            r#"{"format":"json","version":1"#,
            "",
        ] {
            check_header(header.as_bytes(), false);
        }
    }

    #[test]
    fn the_document_is_everything_after_the_first_newline() {
        let datagram = b"{\"format\":\"json\",\"version\":1}\n{\"a\":1}\n\n";
        assert_eq!(document(datagram), Ok(&b"{\"a\":1}\n\n"[..]));
        for datagram in [
            &b""[..],
            b"{\"format\":\"json\",\"version\":1}",
            b"{\"format\":\"json\",\"version\":1}\n",
            br#"{"format": "json", "version": 1}\n{"a":1}"#,
        ] {
            assert_eq!(document(datagram), Err(MalformedDatagram::NoDocument));
        }
    }
}
