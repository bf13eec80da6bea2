//! The header check: agrees with a model that keeps the members of the header as they are written
//! and decides afterwards; the document is the rest of the datagram, untouched.
#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use xray::batch::ids;
use xray::ingest::header::{MalformedDatagram, document};

/// The members of a JSON object, in order, repeated ones too, values as they are written.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// `None`: the model does not know, because serde_json reads a number that Go does not, or a half
/// of a surrogate pair that Go does.
fn is_header(line: &[u8]) -> Option<bool> {
    let Ok(Members(members)) = serde_json::from_str(&String::from_utf8_lossy(line)) else {
        return Some(false);
    };
    let (mut json, mut one) = (false, false);
    for (key, value) in members {
        let value = value.get();
        let is_text = value.starts_with('"');
        match key.to_ascii_lowercase().as_str() {
            "format" if is_text => {
                let text: String = serde_json::from_str(value).ok()?;
                json = text.to_ascii_lowercase() == "json";
            }
            "version" if value == "-0" => return None,
            "version" => {
                if let Ok(number) = value.parse::<i64>() {
                    one = number == 1;
                }
            }
            "format" => {}
            _ => continue,
        }
        // Here a value of the wrong type must at least be one that can be read.
        serde_json::from_str::<serde_json::Value>(value).ok()?;
    }
    Some(json && one)
}

fn cut(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = datagram.splitn(2, |&b| b == b'\n');
    Some((parts.next()?, parts.next()?))
}

fuzz_target!(|datagram: &[u8]| {
    let expected = match cut(datagram) {
        None | Some((_, [])) => Err(MalformedDatagram::NoDocument),
        Some((header, rest)) => match is_header(header) {
            Some(true) => Ok(rest),
            Some(false) => Err(MalformedDatagram::Header),
            None => return,
        },
    };
    assert_eq!(document(datagram), expected);
    // What is said of a document in the log comes out of the document.
    let text = String::from_utf8_lossy(datagram);
    let found = ids(&text);
    if !text.contains('\\') {
        for id in [found.trace_id, found.id].into_iter().flatten() {
            assert!(text.contains(&id));
        }
    }
});
