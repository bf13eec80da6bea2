//! From the batch to X-Ray.

pub mod back_off;
pub mod counters;
pub mod message;
pub mod queue;
pub mod response;
pub mod sender;
pub mod telemetry;
pub mod uploader;
