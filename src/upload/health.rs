//! Whether uploads go on.

/// The uploader's answer to a health check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why the daemon should be started anew. `None`: it works. An outage of X-Ray, missing keys or
    /// a name that cannot be looked up are no reason: a restart would lose the segments that wait.
    pub problem: Option<String>,
    /// What an operator should know all the same.
    pub notes: Vec<String>,
}
