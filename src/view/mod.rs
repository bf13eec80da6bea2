//! Traces for a human who develops, without AWS or beside it: drawn as waterfalls in the terminal
//! (`--exporter console`), printed as lines of JSON (`--exporter json`), and kept for the page.
//!
//! All of it is pure: documents and a clock in, text out. Documents come from anyone who can send
//! a datagram, so nothing of them reaches the terminal but through `terminal::text::Text` or as
//! JSON.

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

pub use feed::{Feed, Feeder};
pub use line::{json_line, otlp_line};
pub use otlp::{OtlpError, request_body};
pub use shared::SharedStore;
pub use terminal::{Console, Options, terminal_columns};

#[cfg(test)]
mod tests;
