//! Traces for developers, with or without AWS: drawn as waterfalls in the terminal (`--exporter
//! console`), printed as lines of JSON (`--exporter json`), and kept for the page.
//!
//! All of it is pure: documents and a clock in, text out. Documents may come from an attacker, so
//! their text reaches the terminal only through `terminal::text::Text` or as JSON.

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

pub use feed::{Feed, FeedReceiver};
pub use line::{json_line, otlp_line};
pub(crate) use otlp::plain_body;
pub use otlp::{OtlpError, request_body};
pub use shared::SharedStore;
pub use terminal::{Console, Options, terminal_columns};

#[cfg(test)]
mod tests;
