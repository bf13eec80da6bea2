//! The `xray` daemon: X-Ray segments in by UDP, signed batches out.
//!
//! The modules stand in the order in which a segment meets them.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod sign;
pub mod view;
