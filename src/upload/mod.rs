//! Uploading batches to X-Ray: one uploader thread decides, sender threads carry the requests.
//!
//! `uploader` is the state machine without threads, sockets or clocks; `runner` is the thread
//! around it.

pub(crate) mod back_off;
mod channel;
mod copies;
pub mod counters;
mod destination;
mod destinations;
mod health;
mod item;
pub mod message;
pub mod metrics;
mod now;
mod outage_log;
mod packer;
mod queue;
mod report;
pub mod response;
mod retries;
mod runner;
mod sender;
mod sender_pool;
mod settlement;
mod sizes;
pub mod spans;
mod telemetry;
mod uploader;

pub use channel::UploadChannel;
pub use health::Health;
pub(crate) use report::explain;
pub(crate) use runner::SpoolParts;
pub(crate) use runner::{Runner, RunnerParts};
pub use telemetry::Identity;
pub(crate) use uploader::UploadLimits;
