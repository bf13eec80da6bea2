//! The `xray` daemon: X-Ray segments in by UDP, signed batches out.
//!
//! The modules stand in the order in which a segment meets them.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

// What was asked for, and what is said of it.
pub mod cli;
pub mod config;
pub mod logging;
pub mod books;
pub mod metrics;
pub mod memory;

// From the datagram to the queue.
pub mod socket;
pub mod reader;
pub mod intake;
pub mod segment;
pub mod batch;
pub mod event;
pub mod pending;

// To whom, and with whose permission.
pub mod clock;
pub mod profile;
pub mod region;
pub mod endpoint;
pub mod no_proxy;
pub mod resolver;
pub mod agent;
pub mod credentials;
pub mod sign;
pub mod target;

// From the queue to X-Ray.
pub mod retry;
pub mod back_off;
pub mod wire;
pub mod lane;
pub mod uploader;
pub mod telemetry;

// The signing proxy.
pub mod http1;
pub mod proxy;

// The view without AWS.
pub mod view;
pub mod printer;

// All of it together.
pub mod daemon;
pub mod operator;
pub mod health;
pub mod command;

pub use command::main;
