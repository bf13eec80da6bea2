//! Traces for developers, with or without AWS: drawn as waterfalls in the terminal (`--exporter
//! console`), printed as lines of JSON (`--exporter json`), and kept for the page.
//!
//! All but `printer`, `feed` and `shared` is pure: documents and a clock in, text out. Documents may
//! come from an attacker, so their text reaches the terminal only through `terminal::text::Text` or
//! as JSON.

pub mod api;
mod document;
mod feed;
mod json;
mod line;
mod model;
mod otlp;
pub mod page;
pub mod printer;
mod shared;
pub mod store;
mod terminal;

pub(crate) use feed::Feed;
pub use line::{json_line, otlp_line};
pub(crate) use otlp::{OtlpError, plain_body};
pub use shared::SharedStore;
pub(crate) use terminal::terminal_columns;
pub use terminal::{Console, Options};

#[cfg(test)]
mod tests;
