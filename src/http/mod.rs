//! HTTP: the client with its trust roots, names and proxies, and the framing of the server side.

pub(crate) mod call;
pub mod client;
pub mod dns;
pub mod error;
pub mod no_proxy;
pub mod server;
pub(crate) mod url;
