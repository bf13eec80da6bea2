//! Whether uploads go on.

/// The uploader's answer to a health check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why the daemon should be restarted. `None`: it works. An outage of X-Ray, missing keys or a
    /// name that cannot be looked up are no reason: a restart would lose the waiting segments.
    pub problem: Option<String>,
    /// Problems that an operator should know, although a restart would not help.
    pub notes: Vec<String>,
}
