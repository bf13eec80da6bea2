//! The container credentials endpoint: ECS task roles, EKS Pod Identity, and whatever else
//! listens where `AWS_CONTAINER_CREDENTIALS_*` points.

pub mod target;

use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::Duration;

use aws_credential_types::Credentials;
use ureq::http::Uri;

use crate::credentials::metadata::{AttemptError, MetadataRequest, attempts, exchange};
use crate::credentials::{Source, SourceError, Timing, json};
use crate::env::{Lookup, set};
use target::{ContainerEndpoint, shown, target};

/// The ECS agent, on every ECS host and on Fargate.
const ECS: &str = "http://169.254.170.2";
const RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

/// What the environment says about the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSettings {
    /// The variable that the URL is from.
    pub variable: &'static str,
    /// The whole URL. Its path may be a secret.
    pub url: String,
    /// How to get the `Authorization` header.
    pub authorization: Authorization,
}

/// Where the `Authorization` header is from.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorization {
    /// There is none.
    None,
    /// A file, read at each request because the kubelet rotates it.
    File(PathBuf),
    /// A variable's value.
    Value(String),
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Value(_) => f.write_str("Value(hidden)"),
        }
    }
}

/// Reads the environment: the relative URI before the full one, the token file before the token.
/// `None` when neither URI is set.
pub fn settings(env: &Lookup<'_>) -> Option<ContainerSettings> {
    let (variable, url) = match set(env, RELATIVE_URI) {
        Some(path) => (RELATIVE_URI, format!("{ECS}{path}")),
        None => (FULL_URI, set(env, FULL_URI)?),
    };
    // Not trimmed: the token is sent exactly as it is, or not at all if it contains a line end.
    let given = |name| env(name).filter(|value| !value.is_empty());
    let authorization = match given("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(path) => Authorization::File(path.into()),
        None => given("AWS_CONTAINER_AUTHORIZATION_TOKEN")
            .map_or(Authorization::None, Authorization::Value),
    };
    Some(ContainerSettings {
        variable,
        url,
        authorization,
    })
}

/// The endpoint as a source.
pub struct Container {
    settings: ContainerSettings,
    agent: ureq::Agent,
    timing: Timing,
}

impl Container {
    /// `agent` must use no proxy: the endpoint is on this host.
    pub fn new(settings: ContainerSettings, agent: ureq::Agent, timing: Timing) -> Self {
        Self {
            settings,
            agent,
            timing,
        }
    }

    fn once(&self, target: &ContainerEndpoint) -> Result<Credentials, AttemptError> {
        let final_ = |error| AttemptError {
            error,
            again: false,
        };
        let token = self.token().map_err(final_)?;
        let mut headers = vec![("accept", "application/json")];
        if let Some(host) = &target.host {
            headers.push(("host", host));
        }
        if let Some(token) = &token {
            headers.push(("authorization", token));
        }
        let request = MetadataRequest {
            method: "GET",
            url: &target.url,
            headers: &headers,
            body: None,
            connect: Duration::from_secs(2),
            total: Duration::from_secs(5),
        };
        let answer = exchange(&self.agent, &request).map_err(|failure| AttemptError {
            again: true,
            error: SourceError::Unreachable {
                from: target.shown.clone(),
                why: failure.why,
            },
        })?;
        if !answer.is_success() {
            let secrets = [token.as_deref().unwrap_or_default()];
            return Err(AttemptError {
                again: answer.is_transient(),
                error: answer.refusal(&target.shown, &secrets),
            });
        }
        json::credentials(&answer.body, "container").map_err(|why| AttemptError {
            // A truncated body may be complete a moment later.
            again: true,
            error: SourceError::Unusable {
                from: target.shown.clone(),
                why: why.to_string(),
            },
        })
    }

    fn token(&self) -> Result<Option<String>, SourceError> {
        let (token, place) = match &self.settings.authorization {
            Authorization::None => return Ok(None),
            Authorization::Value(token) => (token.clone(), "AWS_CONTAINER_AUTHORIZATION_TOKEN"),
            Authorization::File(path) => {
                let token = crate::credentials::read_small(path).map_err(|why| {
                    SourceError::Setting(format!(
                        "cannot read the token file {} that AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE \
                         names: {why}",
                        path.display()
                    ))
                })?;
                (token, "the file of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
            }
        };
        let problem = match &token {
            t if t.is_empty() => "is empty",
            t if t.contains(['\r', '\n']) => "holds a line end; it must be the token alone",
            t if !t.bytes().all(|b| (b' '..=b'~').contains(&b)) => {
                "holds characters that no header may"
            }
            _ => return Ok(Some(token)),
        };
        Err(SourceError::Setting(format!("{place} {problem}")))
    }
}

impl Source for Container {
    fn name(&self) -> String {
        match Uri::try_from(self.settings.url.as_str()) {
            Ok(uri) if uri.host() == Some("169.254.170.2") => "ECS task role".to_owned(),
            Ok(uri) if matches!(uri.host(), Some("169.254.170.23" | "[fd00:ec2::23]")) => {
                "EKS Pod Identity".to_owned()
            }
            Ok(uri) => format!("container endpoint {}", shown(&uri)),
            Err(_) => "container endpoint".to_owned(),
        }
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        let target = target(&self.settings, &|host, port| {
            let found = (host, port).to_socket_addrs().map_err(|e| e.to_string())?;
            Ok(found.map(|address| address.ip()).collect())
        })?;
        let longest = Duration::from_secs(2);
        attempts(&self.timing, 3, longest, &mut || self.once(&target))
    }
}

#[cfg(test)]
mod tests;
