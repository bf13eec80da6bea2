//! The EC2 instance metadata service (IMDS), version 2 with the SDKs' rules for falling back to
//! version 1. Also read for the region and the host's names.

use std::time::{Duration, SystemTime};

use super::environment::set;
use super::metadata::{Answer, Failed, Failure, Lost, Request, attempts, exchange};
use super::{SourceError, Timing};

const IPV4: &str = "http://169.254.169.254";
const IPV6: &str = "http://[fd00:ec2::254]";
/// Six hours, the longest that the service grants.
const TOKEN_LIFE: u64 = 21600;
/// A token is replaced this long before its end, so that it does not end in flight.
const TOKEN_MARGIN: Duration = Duration::from_secs(120);
/// How long version 1 is used after a token request that got no answer, before the next one.
const TOKEN_SILENCE: Duration = Duration::from_secs(60);

/// Where the service is, and whether version 1 may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// URL without a slash at its end.
    pub url: String,
    /// Whether requests without a token are allowed.
    pub version_1: bool,
}

/// Reads the environment and the profile (a lookup by key). `None` when
/// `AWS_EC2_METADATA_DISABLED` is true: then nobody may be asked.
///
/// # Errors
/// When the endpoint mode is neither `IPv4` nor `IPv6`.
pub fn settings(
    env: &dyn Fn(&str) -> Option<String>,
    profile: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Settings>, SourceError> {
    let is_true = |value: Option<String>| value.is_some_and(|v| v.eq_ignore_ascii_case("true"));
    if is_true(set(env, "AWS_EC2_METADATA_DISABLED")) {
        return Ok(None);
    }
    let either = |variable, key| set(env, variable).or_else(|| set(profile, key));
    let url = either(
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "ec2_metadata_service_endpoint",
    );
    let mode = either(
        "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
        "ec2_metadata_service_endpoint_mode",
    );
    let url = match (url, mode) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(mode)) if mode.eq_ignore_ascii_case("ipv6") => IPV6.to_owned(),
        (None, Some(mode)) if !mode.eq_ignore_ascii_case("ipv4") => {
            return Err(SourceError::Setting(format!(
                "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE is {mode:?}; it must be IPv4 or IPv6"
            )));
        }
        _ => IPV4.to_owned(),
    };
    let forbidden = is_true(either(
        "AWS_EC2_METADATA_V1_DISABLED",
        "ec2_metadata_v1_disabled",
    ));
    Ok(Some(Settings {
        url,
        version_1: !forbidden,
    }))
}

/// A client. Keeps the session token between requests.
pub struct Client {
    settings: Settings,
    agent: ureq::Agent,
    timing: Timing,
    session: Session,
}

/// How requests prove that they come from this host.
enum Session {
    /// To be found out.
    Unknown,
    /// By a token, until then.
    Token(String, SystemTime),
    /// Not at all: version 1, until then; `None` until the service wants a token.
    Version1(Option<SystemTime>),
}

/// What one operation has spent.
#[derive(Default)]
struct Spent {
    tries: u32,
    tokens_refused: u32,
}

const TRIES: u32 = 3;

impl Client {
    /// `agent` must use no proxy and follow no redirect: see [`crate::agent::metadata`].
    pub fn new(settings: Settings, agent: ureq::Agent, timing: Timing) -> Self {
        Self {
            settings,
            agent,
            timing,
            session: Session::Unknown,
        }
    }

    /// The text at `path` below `/latest/`: `meta-data/instance-id`. Takes five seconds at most, two when
    /// nobody is there.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`] when nobody answers, as everywhere but on EC2;
    /// [`SourceError::Refused`] with the status otherwise, 404 for what is not there.
    pub fn get(&mut self, path: &str) -> Result<String, SourceError> {
        let mut spent = Spent::default();
        let timing = self.timing.clone();
        attempts(&timing, TRIES, Duration::from_secs(1), &mut || {
            spent.tries += 1;
            self.once(path, &mut spent)
        })
    }

    fn once(&mut self, path: &str, spent: &mut Spent) -> Result<String, Failed> {
        let token = self.token(spent)?;
        let mut headers = Vec::new();
        if let Some(token) = &token {
            headers.push(("x-aws-ec2-metadata-token", token.as_str()));
        }
        let answer = self.ask("GET", path, &headers).map_err(|failure| Failed {
            again: failure.lost == Lost::Broken,
            error: self.unreachable(failure),
        })?;
        let unusable = |why: &str| Failed {
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
                // The token has ended early, or version 1 is not allowed here. Asking twice would
                // ask for ever where tokens do not arrive.
                self.session = Session::Unknown;
                spent.tokens_refused += 1;
                Err(Failed {
                    again: spent.tokens_refused == 1,
                    error: answer.refusal(&self.from(), &[token.as_deref().unwrap_or_default()]),
                })
            }
            _ => Err(Failed {
                again: answer.is_transient(),
                error: answer.refusal(&self.from(), &[token.as_deref().unwrap_or_default()]),
            }),
        }
    }

    /// The token to send; `None` for version 1.
    fn token(&mut self, spent: &Spent) -> Result<Option<String>, Failed> {
        let now = (self.timing.now)();
        match &self.session {
            Session::Token(token, end) if now < *end => return Ok(Some(token.clone())),
            Session::Version1(None) => return Ok(None),
            Session::Version1(Some(end)) if now < *end => return Ok(None),
            _ => {}
        }
        let life = TOKEN_LIFE.to_string();
        let headers = [("x-aws-ec2-metadata-token-ttl-seconds", life.as_str())];
        let transient = |error| Failed { error, again: true };
        let failed = match self.ask("PUT", "api/token", &headers) {
            Ok(answer) => match answer.status {
                200 => match self.granted(&answer, now) {
                    Ok(token) => return Ok(Some(token)),
                    Err(error) => transient(error),
                },
                403..=405 if self.settings.version_1 => {
                    self.session = Session::Version1(None);
                    return Ok(None);
                }
                _ => Failed {
                    again: answer.is_transient(),
                    error: answer.refusal(&self.from(), &[]),
                },
            },
            Err(failure) if failure.lost == Lost::Silent => {
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
                    self.session = Session::Version1(Some(now + TOKEN_SILENCE));
                    return Ok(None);
                }
                Failed {
                    error,
                    again: false,
                }
            }
            Err(failure) => Failed {
                again: failure.lost == Lost::Broken,
                error: self.unreachable(failure),
            },
        };
        // The last try goes without a token, but the next operation asks for one again.
        if failed.again && spent.tries == TRIES && self.settings.version_1 {
            return Ok(None);
        }
        Err(failed)
    }

    fn granted(&mut self, answer: &Answer, now: SystemTime) -> Result<String, SourceError> {
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
        self.session = Session::Token(token.to_owned(), end);
        Ok(token.to_owned())
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer, Failure> {
        let request = Request {
            method,
            url: &format!("{}/latest/{path}", self.settings.url),
            headers,
            body: (method == "PUT").then_some(b""),
            connect: Duration::from_secs(1),
            total: Duration::from_secs(2),
        };
        exchange(&self.agent, &request)
    }

    /// For error messages.
    pub fn from(&self) -> String {
        format!("the EC2 metadata service {}", self.settings.url)
    }

    fn unreachable(&self, failure: Failure) -> SourceError {
        SourceError::Unreachable {
            from: self.from(),
            why: failure.why,
        }
    }
}

#[cfg(test)]
#[path = "imds_tests.rs"]
mod tests;
