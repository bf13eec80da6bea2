//! What the integration tests stand on: a fake X-Ray, the real daemon as a process, and load.

pub mod backend;
pub mod behaviour;
pub mod books;
pub mod daemon;
pub mod ecs;
pub mod fake_xray;
pub mod http;
pub mod load;
pub mod metadata;
pub mod sigv4;
pub mod tls;
pub mod watch;

use std::time::Duration;

/// How long a test waits for an event before it fails. An event that comes is never waited for
/// any longer, so this is only as generous as the slowest, busiest machine needs.
pub const DEADLINE: Duration = Duration::from_secs(60);
