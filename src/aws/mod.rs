//! What AWS defines for all its clients: regions, endpoints, signatures, profile files, error codes.

pub mod clock;
pub mod endpoint;
pub(crate) mod error_codes;
pub(crate) mod jitter;
pub mod profile;
pub mod region;
pub mod sigv4;
