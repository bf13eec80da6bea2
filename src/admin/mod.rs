//! What operators ask the daemon on its TCP port.

pub mod endpoints;
pub(crate) mod metrics;
pub mod process;
pub mod request_counts;
mod span_metrics;
mod spool_metrics;
