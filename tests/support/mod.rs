//! What the integration tests stand on: a fake AWS, the real daemon as a process, and load.

pub mod backend;
pub mod behaviour;
pub mod books;
pub mod daemon;
pub mod ecs;
pub mod fake_xray;
pub mod http;
pub mod judge;
pub mod keys;
pub mod load;
pub mod metadata;
pub mod sigv4;
pub mod sts;
pub mod tls;
pub mod watch;

pub use watch::DEADLINE;
