//! Spans in JSON. All other values are skipped; serde_json does that without recursion, so that
//! deep nesting needs one bit of memory for each level and no stack.

use std::fmt;
use std::io::{BufRead, Read};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::NotOtlp;

/// The nested lists that lead to the spans. The elements of the last one are the spans.
const LISTS: [&str; 3] = ["resourceSpans", "scopeSpans", "spans"];

/// The spans of a request.
pub(in crate::otlp) fn spans(source: &mut dyn BufRead) -> Result<usize, NotOtlp> {
    let mut count = 0;
    let mut json = serde_json::Deserializer::from_reader(source as &mut dyn Read);
    let request = Level {
        lists: &LISTS,
        count: &mut count,
    };
    request.deserialize(&mut json).map_err(|_| NotOtlp)?;
    json.end().map_err(|_| NotOtlp)?;
    Ok(count)
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
