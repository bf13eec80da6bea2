//! JSON as real clients write it.
//!
//! `serde_json` refuses documents that X-Ray's SDKs do send: Python writes `NaN` and `Infinity`,
//! Node cuts a string in the middle of an emoji and leaves half of a surrogate pair, and segments
//! nest deeper than its 128 levels. This reader takes them, needs no stack for the depth, and
//! keeps the place of each value in the text, so that a part of a document can be copied as it is.

mod parse;
mod value;
mod write;

pub(super) use parse::SyntaxError;
pub(crate) use parse::parse;
pub(crate) use value::JsonValue;
pub(crate) use write::{compact, quote};
