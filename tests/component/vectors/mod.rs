//! Runs the AWS SDKs' published test vectors, vendored in `data/` (see its README).

mod clock_skew;
mod profile;
mod sigv4;
