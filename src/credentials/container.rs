//! The container credentials endpoint: ECS task roles, EKS Pod Identity, and whatever else
//! listens where `AWS_CONTAINER_CREDENTIALS_*` points.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use aws_credential_types::Credentials;
use ureq::http::Uri;

use super::environment::set;
use super::metadata::{Failed, Request, attempts, exchange};
use super::{Source, SourceError, Timing, json};

/// The ECS agent, on every ECS host and on Fargate.
const ECS: &str = "http://169.254.170.2";
const RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

/// What the environment says about the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
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
pub fn settings(env: &dyn Fn(&str) -> Option<String>) -> Option<Settings> {
    let url = match set(env, RELATIVE_URI) {
        Some(path) => format!("{ECS}{path}"),
        None => set(env, FULL_URI)?,
    };
    // Not trimmed: the token is sent to the letter or, with a line end in it, not at all.
    let given = |name| env(name).filter(|value| !value.is_empty());
    let authorization = match given("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(path) => Authorization::File(path.into()),
        None => given("AWS_CONTAINER_AUTHORIZATION_TOKEN")
            .map_or(Authorization::None, Authorization::Value),
    };
    Some(Settings { url, authorization })
}

/// The endpoint as a source.
pub struct Container {
    settings: Settings,
    agent: ureq::Agent,
    timing: Timing,
}

impl Container {
    /// `agent` must use no proxy: the endpoint is on this host.
    pub fn new(settings: Settings, agent: ureq::Agent, timing: Timing) -> Self {
        Self {
            settings,
            agent,
            timing,
        }
    }

    fn once(&self, target: &Target) -> Result<Credentials, Failed> {
        let final_ = |error| Failed {
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
        let request = Request {
            method: "GET",
            url: &target.url,
            headers: &headers,
            body: None,
            connect: Duration::from_secs(2),
            total: Duration::from_secs(5),
        };
        let answer = exchange(&self.agent, &request).map_err(|failure| Failed {
            again: true,
            error: SourceError::Unreachable {
                from: target.shown.clone(),
                why: failure.why,
            },
        })?;
        if !answer.is_success() {
            let secrets = [token.as_deref().unwrap_or_default()];
            return Err(Failed {
                again: answer.is_transient(),
                error: answer.refusal(&target.shown, &secrets),
            });
        }
        json::credentials(&answer.body, "container").map_err(|why| Failed {
            // A body that is cut off, or not yet whole, is another one a moment later.
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
                let token = super::read_small(path).map_err(|why| {
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
        let target = target(&self.settings.url, &|host, port| {
            let found = (host, port).to_socket_addrs().map_err(|e| e.to_string())?;
            Ok(found.map(|address| address.ip()).collect())
        })?;
        let longest = Duration::from_secs(2);
        attempts(&self.timing, 3, longest, &mut || self.once(&target))
    }
}

/// Where to send a request.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    url: String,
    /// The `Host` header, when the URL has an address in place of the name.
    host: Option<String>,
    /// For error messages: scheme, host and port.
    shown: String,
}

/// A name and a port to addresses.
type Resolve<'a> = dyn Fn(&str, u16) -> Result<Vec<IpAddr>, String> + 'a;

/// Checks that the keys will not cross a network in the clear: plain HTTP only to this host's
/// own addresses. A name is allowed when all its addresses are; the request then goes to one of
/// those, so that a second answer of the name server changes nothing.
fn target(url: &str, resolve: &Resolve<'_>) -> Result<Target, SourceError> {
    let wrong = |why: &str| Err(SourceError::Setting(format!("{FULL_URI} {why}")));
    let uri = match Uri::try_from(url) {
        Ok(uri) => uri,
        Err(error) => return wrong(&format!("is not a URL: {error}")),
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return wrong("must be a whole URL, such as http://127.0.0.1:8080/path");
    };
    let host = authority.host();
    if host.is_empty() {
        return wrong("names no host");
    }
    let shown = shown(&uri);
    let direct = |shown| {
        Ok(Target {
            url: url.to_owned(),
            host: None,
            shown,
        })
    };
    match scheme {
        "https" => return direct(shown),
        "http" => {}
        other => return wrong(&format!("has the scheme {other}; http or https is needed")),
    }
    let refused = |what: &str| {
        wrong(&format!(
            "points to {what}: keys are asked for over plain http only from this host \
             (loopback, 169.254.170.2, 169.254.170.23, fd00:ec2::23); use https"
        ))
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return if is_local(address) {
            direct(shown)
        } else {
            refused(bare)
        };
    }
    let addresses = if host.eq_ignore_ascii_case("localhost") {
        vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]
    } else {
        match resolve(host, authority.port_u16().unwrap_or(80)) {
            Ok(addresses) => addresses,
            Err(why) => {
                return Err(SourceError::Unreachable {
                    from: shown,
                    why: format!("cannot resolve the name: {why}"),
                });
            }
        }
    };
    if let Some(other) = addresses.iter().find(|address| !is_local(**address)) {
        return refused(&format!("{host} ({other})"));
    }
    let Some(first) = addresses.first() else {
        return refused(&format!("{host}, which has no address"));
    };
    let address = match first {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    let port = authority
        .port_u16()
        .map_or(String::new(), |p| format!(":{p}"));
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    Ok(Target {
        url: format!("http://{address}{port}{path}"),
        host: Some(format!("{host}{port}")),
        shown,
    })
}

fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4 == Ipv4Addr::new(169, 254, 170, 2)
                || v4 == Ipv4Addr::new(169, 254, 170, 23)
        }
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)
        }
    }
}

/// Scheme, host and port: a path can be a secret, and so can what stands before an `@`.
fn shown(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let host = uri.host().unwrap_or_default();
    match uri.port_u16() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
