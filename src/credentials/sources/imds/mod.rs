//! The EC2 instance metadata service (IMDS), version 2 with the SDKs' rules for falling back to
//! version 1. Also read for the region and the host's names.

mod settings;

use std::time::{Duration, Instant};

use crate::credentials::metadata::{
    AttemptError, ExchangeError, ExchangeErrorKind, MetadataRequest, MetadataResponse, attempts,
    exchange,
};
use crate::credentials::{SourceError, Timing};

pub use settings::{ImdsSettings, settings};

/// Six hours, the longest that the service grants.
const TOKEN_LIFE: u64 = 21600;
/// A token is replaced this long before its end, so that it does not end in flight.
const TOKEN_MARGIN: Duration = Duration::from_secs(120);
/// How long version 1 is used after a token request that got no answer, before the next one.
const TOKEN_SILENCE: Duration = Duration::from_secs(60);

/// A client. Keeps the session token between requests.
pub struct ImdsClient {
    settings: ImdsSettings,
    agent: ureq::Agent,
    timing: Timing,
    session: ImdsSession,
}

/// How requests are authenticated.
enum ImdsSession {
    /// Not known yet.
    Unknown,
    /// By a token that is valid until this time.
    Token(String, Instant),
    /// Not at all (version 1), until this time; `None`: until the service asks for a token.
    Version1(Option<Instant>),
}

/// What one operation has used of its time and attempts.
struct Spent {
    tries: u32,
    tokens_refused: u32,
    began: Instant,
}

/// The longest pause between two tries.
const PAUSE: Duration = Duration::from_secs(1);

impl ImdsClient {
    /// `agent` must use no proxy and follow no redirect: see [`crate::http::client::metadata_agent`].
    pub fn new(settings: ImdsSettings, agent: ureq::Agent, timing: Timing) -> Self {
        Self {
            settings,
            agent,
            timing,
            session: ImdsSession::Unknown,
        }
    }

    /// The text at `path` below `/latest/`, such as `meta-data/instance-id`. Takes at most five
    /// time-outs, and only one if there is no service.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`] when nobody answers, as everywhere but on EC2;
    /// [`SourceError::Refused`] with the status otherwise, 404 for what is not there.
    pub fn get(&mut self, path: &str) -> Result<String, SourceError> {
        let timing = self.timing.clone();
        let mut spent = Spent {
            tries: 0,
            tokens_refused: 0,
            began: (timing.reading)().monotonic,
        };
        attempts(&timing, self.settings.tries, PAUSE, &mut || {
            spent.tries += 1;
            self.once(path, &mut spent).map_err(|mut failed| {
                // Enough must be left for a token and the page.
                failed.again &= self.left(&spent) >= PAUSE + self.settings.timeout * 2;
                failed
            })
        })
    }

    /// What is left of the operation's time.
    fn left(&self, spent: &Spent) -> Duration {
        let passed = (self.timing.reading)()
            .monotonic
            .saturating_duration_since(spent.began);
        (self.settings.timeout * 5).saturating_sub(passed)
    }

    fn once(&mut self, path: &str, spent: &mut Spent) -> Result<String, AttemptError> {
        let token = self.token(spent)?;
        let mut headers = Vec::new();
        if let Some(token) = &token {
            headers.push(("x-aws-ec2-metadata-token", token.as_str()));
        }
        let answer = self
            .ask("GET", path, &headers, self.left(spent))
            .map_err(|failure| AttemptError {
                again: failure.kind == ExchangeErrorKind::Broken,
                error: self.unreachable(failure),
            })?;
        let unusable = |why: &str| AttemptError {
            again: true,
            error: SourceError::Unusable {
                from: self.from(),
                why: why.to_owned(),
            },
        };
        match answer.status {
            200 if answer.body.trim_ascii().is_empty() => Err(unusable("empty")),
            200 => String::from_utf8(answer.body).map_err(|_| unusable("not text")),
            401 => {
                // The token has expired early, or version 1 is not allowed here. Only one new token
                // is requested, because otherwise this would never end where tokens do not arrive.
                self.session = ImdsSession::Unknown;
                spent.tokens_refused += 1;
                Err(AttemptError {
                    again: spent.tokens_refused == 1,
                    error: answer.refusal(&self.from(), &[token.as_deref().unwrap_or_default()]),
                })
            }
            _ => Err(AttemptError {
                again: answer.is_transient(),
                error: answer.refusal(&self.from(), &[token.as_deref().unwrap_or_default()]),
            }),
        }
    }

    /// The token to send; `None` for version 1.
    fn token(&mut self, spent: &Spent) -> Result<Option<String>, AttemptError> {
        let now = (self.timing.reading)().monotonic;
        match &self.session {
            ImdsSession::Token(token, end) if now < *end => return Ok(Some(token.clone())),
            ImdsSession::Version1(None) => return Ok(None),
            ImdsSession::Version1(Some(end)) if now < *end => return Ok(None),
            _ => {}
        }
        let life = TOKEN_LIFE.to_string();
        let headers = [("x-aws-ec2-metadata-token-ttl-seconds", life.as_str())];
        let transient = |error| AttemptError { error, again: true };
        // The page must have its time, too.
        let limit = self.left(spent).saturating_sub(self.settings.timeout);
        let failed = match self.ask("PUT", "api/token", &headers, limit) {
            Ok(answer) => match answer.status {
                200 => match self.granted(&answer, now) {
                    Ok(token) => return Ok(Some(token)),
                    Err(error) => transient(error),
                },
                403..=405 if self.settings.version_1 => {
                    self.session = ImdsSession::Version1(None);
                    return Ok(None);
                }
                _ => AttemptError {
                    again: answer.is_transient(),
                    error: answer.refusal(&self.from(), &[]),
                },
            },
            Err(failure) if failure.kind == ExchangeErrorKind::Silent => {
                let error = SourceError::Unreachable {
                    from: self.from(),
                    why: format!(
                        "{}. In a container on EC2, the hop limit of metadata answers must be 2: \
                         aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2",
                        failure.why
                    ),
                };
                if self.settings.version_1 {
                    log::warn!("EC2 metadata: {error} (trying version 1)");
                    self.session = ImdsSession::Version1(Some(now + TOKEN_SILENCE));
                    return Ok(None);
                }
                AttemptError {
                    error,
                    again: false,
                }
            }
            Err(failure) => AttemptError {
                again: failure.kind == ExchangeErrorKind::Broken,
                error: self.unreachable(failure),
            },
        };
        // The last try goes without a token, but the next operation asks for one again.
        if failed.again && spent.tries == self.settings.tries && self.settings.version_1 {
            return Ok(None);
        }
        Err(failed)
    }

    fn granted(&mut self, answer: &MetadataResponse, now: Instant) -> Result<String, SourceError> {
        let token = str::from_utf8(&answer.body).unwrap_or_default().trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(SourceError::Unusable {
                from: self.from(),
                why: "a session token that cannot be sent".to_owned(),
            });
        }
        let life = answer
            .header("x-aws-ec2-metadata-token-ttl-seconds")
            .and_then(|text| text.trim().parse().ok())
            .map_or(TOKEN_LIFE, |seconds: u64| seconds.min(TOKEN_LIFE));
        let end = now + Duration::from_secs(life).saturating_sub(TOKEN_MARGIN);
        self.session = ImdsSession::Token(token.to_owned(), end);
        Ok(token.to_owned())
    }

    fn ask_there(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        limit: Duration,
    ) -> Result<MetadataResponse, ExchangeError> {
        let timeout = self.settings.timeout;
        let request = MetadataRequest {
            method,
            url: &format!("{}/latest/{path}", self.settings.url),
            headers,
            body: (method == "PUT").then_some(b""),
            connect: timeout,
            // At least one time-out: with less time an exchange could only fail.
            total: limit.clamp(timeout, timeout * 2),
        };
        exchange(&self.agent, &request)
    }

    /// Asks; where this host has no route to the service, asks where it is for hosts without IPv4.
    fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        limit: Duration,
    ) -> Result<MetadataResponse, ExchangeError> {
        let answer = self.ask_there(method, path, headers, limit);
        let Err(failure) = &answer else {
            return answer;
        };
        let other = self.settings.url_without_ipv4.clone();
        let Some(other) = other.filter(|_| failure.has_no_route) else {
            return answer;
        };
        let usual = std::mem::replace(&mut self.settings.url, other);
        let second = self.ask_there(method, path, headers, limit);
        if second.is_err() {
            self.settings.url = usual;
            return answer;
        }
        second
    }

    /// For error messages.
    pub fn from(&self) -> String {
        format!("the EC2 metadata service {}", self.settings.url)
    }

    fn unreachable(&self, failure: ExchangeError) -> SourceError {
        SourceError::Unreachable {
            from: self.from(),
            why: failure.why,
        }
    }
}
