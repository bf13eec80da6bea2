//! What operators ask the daemon on its TCP port.

pub mod endpoints;
pub mod metrics;
pub mod process;
pub mod request_counts;
