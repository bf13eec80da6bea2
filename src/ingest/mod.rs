//! Reads UDP datagrams and puts their documents into batches.

pub(crate) mod address;
pub mod header;
mod open_batch;
mod pace;
mod reader;
mod readers;
pub mod socket;

pub use open_batch::OpenBatch;
pub(crate) use readers::{ReaderParts, Readers};
