//! AWS credentials: the sources they come from, and the thread that keeps them fresh.

pub mod chain;
pub mod date;
pub mod json;
pub(crate) mod cache;
pub(crate) mod metadata;
pub(crate) mod plan;
pub(crate) mod schedule;
pub mod sources;
pub mod target;
mod token_file;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;

use crate::aws::clock::Reading;
use crate::aws::jitter::jitter;
use crate::env::read_bounded;

pub use cache::CredentialCache;
pub(crate) use cache::{CredentialSnapshot, CredentialStatus, IssuedCredentials};

/// One place that credentials come from.
pub trait Source: Send {
    /// For the log and the metrics, in a few words, without secrets: `ECS task role`.
    fn name(&self) -> String;

    /// Asks for credentials. Blocks on I/O, for a bounded time, retries included.
    ///
    /// # Errors
    /// When the source has none at this moment. The cache asks again later.
    fn fetch(&mut self) -> Result<Credentials, SourceError>;

    /// How the credentials of the last [`fetch`](Self::fetch) are to be renewed.
    fn renewal(&self) -> Renewal {
        Renewal::Timed
    }
}

/// How credentials are renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Never: asking again gives the same ones for as long as the process lives.
    Fixed,
    /// Ahead of their expiry, or when the service refuses them.
    Timed,
    /// As `Timed`, but they are used after their expiry while there are no newer ones ("static
    /// stability"), because the EC2 metadata service may hand out expired ones that still work.
    Stable,
}

/// Why a source gave no credentials. The text never carries a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceError {
    /// A setting or file is missing or wrong. Asking again helps only once it has changed.
    Setting(String),
    /// There was no answer.
    Unreachable {
        /// Who was asked.
        from: String,
        /// The error that occurred.
        why: String,
    },
    /// The service refused.
    Refused {
        /// Who was asked.
        from: String,
        /// HTTP status.
        status: u16,
        /// Error code of the answer; may be empty.
        code: String,
        /// Text of the answer, made printable and short; may be empty.
        message: String,
    },
    /// An answer that holds no usable credentials.
    Unusable {
        /// Who was asked.
        from: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// No source is configured, and the EC2 metadata service did not answer either.
    NoneFound {
        /// The sources that were tried, and why each was not used.
        passed: Vec<String>,
        /// The error of the EC2 metadata service.
        last: Box<SourceError>,
    },
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(what) => f.write_str(what),
            Self::Unreachable { from, why } => write!(f, "no answer from {from}: {why}"),
            Self::Refused {
                from,
                status,
                code,
                message,
            } => {
                write!(f, "{from} answered {status}")?;
                for part in [code, message] {
                    if !part.is_empty() {
                        write!(f, ": {part}")?;
                    }
                }
                Ok(())
            }
            Self::Unusable { from, why } => write!(f, "unusable answer from {from}: {why}"),
            Self::NoneFound { passed, last } => {
                f.write_str("no AWS credentials found: ")?;
                for reason in passed {
                    write!(f, "{reason}; ")?;
                }
                write!(f, "{last}")
            }
        }
    }
}

impl std::error::Error for SourceError {}

/// Clocks, pauses and random numbers for the sources and the cache, so that tests need not wait.
#[derive(Clone)]
pub struct Timing {
    /// The time to compare expiries with, corrected for a wrong local clock.
    pub now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// The clocks of this host, for measuring how much time has passed.
    pub reading: Arc<dyn Fn() -> Reading + Send + Sync>,
    /// Blocks between two attempts.
    pub sleep: Arc<dyn Fn(Duration) + Send + Sync>,
    /// A number in 0..1, for jitter.
    pub random: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl Timing {
    /// The given time of day; all else is real.
    pub fn new(now: Arc<dyn Fn() -> SystemTime + Send + Sync>) -> Self {
        Self {
            now,
            reading: Arc::new(Reading::now),
            sleep: Arc::new(std::thread::sleep),
            random: Arc::new(jitter),
        }
    }
}

/// Text of an answer, fit for a log: `secrets` hidden, nothing unprintable, at most 200
/// characters. Services echo refused parameters in their messages, tokens included.
fn plain(text: &str, secrets: &[&str]) -> String {
    let mut text = text.trim().to_owned();
    for secret in secrets.iter().map(|s| s.trim()).filter(|s| !s.is_empty()) {
        text = text.replace(secret, "[hidden]");
    }
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(200).map(printable).collect();
    if text.chars().nth(200).is_some() {
        short.push('…');
    }
    short
}

/// Reads a token or cache file: UTF-8, at most 64 KiB.
fn read_small(path: &Path) -> Result<String, String> {
    let bytes = read_bounded(path, 64 * 1024).map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_printable_short_and_without_secrets() {
        assert_eq!(plain(" no\r\nway\x1b[31m ", &[]), "no  way [31m");
        assert_eq!(
            plain("bad 'eyJ0': eyJ0", &["eyJ0\n", ""]),
            "bad '[hidden]': [hidden]"
        );
        assert_eq!(plain(&"é".repeat(201), &[]).chars().count(), 201);
        assert_eq!(plain(&"é".repeat(200), &[]).chars().count(), 200);
    }

    #[test]
    fn an_error_says_who_and_what() {
        let last = SourceError::Refused {
            from: "http://169.254.169.254".into(),
            status: 404,
            code: String::new(),
            message: "no role".into(),
        };
        let all = SourceError::NoneFound {
            passed: vec!["environment: AWS_ACCESS_KEY_ID is not set".into()],
            last: Box::new(last),
        };
        assert_eq!(
            all.to_string(),
            "no AWS credentials found: environment: AWS_ACCESS_KEY_ID is not set; \
             http://169.254.169.254 answered 404: no role"
        );
    }
}
