//! Spans in JSON. All other values are skipped, without recursion and without a copy.

use std::fmt;
use std::io::{self, BufRead, ErrorKind, Read};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::NotOtlp;

/// The nested lists that lead to the spans. The elements of the last one are the spans.
const LISTS: [&str; 3] = ["resourceSpans", "scopeSpans", "spans"];

/// The deepest nesting that is read: serde_json keeps a byte for each open bracket. A span has about
/// twelve levels, and protobuf's own readers of JSON stop at a hundred.
const MAX_DEPTH: usize = 1024;

/// The longest string on the way to the spans, in bytes: a key, which serde_json copies, or the URL of
/// a schema. Strings inside of a span may have any length.
const MAX_STRING: usize = 4 * 1024;

/// The brackets that are open in an object that holds `spans`, and in those around it, at most.
const DEPTH_OF_SPANS: usize = 2 * LISTS.len() - 1;

/// The spans of a request.
pub(in crate::otlp) fn spans(source: &mut dyn BufRead) -> Result<usize, NotOtlp> {
    let mut count = 0;
    let mut json = serde_json::Deserializer::from_reader(ShortMemory::new(source));
    let request = Level {
        lists: &LISTS,
        count: &mut count,
    };
    request.deserialize(&mut json).map_err(|_| NotOtlp)?;
    json.end().map_err(|_| NotOtlp)?;
    Ok(count)
}

/// Reads JSON, and fails where serde_json would have to remember much of it.
struct ShortMemory<'a> {
    source: &'a mut dyn BufRead,
    /// Brackets that are open.
    depth: usize,
    /// The bytes of the string that is being read.
    string: Option<usize>,
    /// The byte before began an escape sequence.
    is_escaped: bool,
}

impl<'a> ShortMemory<'a> {
    fn new(source: &'a mut dyn BufRead) -> Self {
        ShortMemory {
            source,
            depth: 0,
            string: None,
            is_escaped: false,
        }
    }

    /// Whether this byte leaves everything within the limits.
    fn fits(&mut self, byte: u8) -> bool {
        let Some(length) = &mut self.string else {
            match byte {
                b'"' => self.string = Some(0),
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            return self.depth <= MAX_DEPTH;
        };
        *length += 1;
        let is_short = *length <= MAX_STRING || self.depth > DEPTH_OF_SPANS;
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = true,
            b'"' => self.string = None,
            _ => {}
        }
        is_short
    }
}

impl Read for ShortMemory<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(out)?;
        match out[..read].iter().all(|byte| self.fits(*byte)) {
            true => Ok(read),
            false => Err(ErrorKind::InvalidData.into()),
        }
    }
}

/// An object that holds the first of these lists.
struct Level<'a> {
    lists: &'a [&'static str],
    count: &'a mut usize,
}

/// The value of the first of these lists.
struct List<'a>(Level<'a>);

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(is_list) = map.next_key_seed(IsKey(self.lists.first().copied()))? {
            match is_list {
                true => map.next_value_seed(List(Level {
                    lists: self.lists,
                    count: &mut *self.count,
                }))?,
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    /// In protobuf's JSON, null means that the field is absent.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Level { lists, count } = self.0;
        match lists.get(1..) {
            Some(lists @ [_, ..]) => {
                while let Some(()) = elements.next_element_seed(Level {
                    lists,
                    count: &mut *count,
                })? {}
            }
            _ => {
                while elements.next_element::<IgnoredAny>()?.is_some() {
                    *count += 1;
                }
            }
        }
        Ok(())
    }
}

/// Whether a key is this one.
struct IsKey(Option<&'static str>);

impl<'de> DeserializeSeed<'de> for IsKey {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(self.0 == Some(key))
    }
}
