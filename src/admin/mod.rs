//! What operators ask the daemon on its TCP port.

pub mod endpoints;
pub(crate) mod metrics;
pub mod request_counts;
