//! The `xray` daemon: X-Ray segments in by UDP, signed batches out.
//!
//! Modules use only modules that stand below them in this list.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(unreachable_pub)]
// `make doc` builds the documentation of private items too.
#![allow(rustdoc::private_intra_doc_links)]

pub mod app;
pub mod proxy;
pub mod otlp;
pub mod admin;
pub mod view;
pub mod ingest;
pub mod upload;
pub mod spool;
pub mod batch;
pub mod credentials;
pub mod aws;
pub mod http;
pub mod config;
pub mod logging;
pub mod cgroup;
mod protobuf;
pub(crate) mod env;

pub use app::command::main;
