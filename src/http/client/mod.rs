//! Builds the HTTP agents. No other module does, so that proxy, trust roots, timeouts and buffers
//! are decided in one place.
//!
//! A name is looked up again after half a minute; a connection in use keeps its address until it is
//! closed by the peer or has been idle for `IDLE_AGE`.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::DefaultConnector;

use crate::aws::endpoint::{default_port, without_credentials};
use crate::http::call::FollowedConnector;
use crate::http::dns::Remembering;
use crate::http::no_proxy;
use crate::http::wire::{Limits, Wire};

/// Metadata answers come from this host or its hypervisor in milliseconds; no answer in a second is
/// no answer (off EC2 the address is a black hole).
const METADATA_CONNECT: Duration = Duration::from_secs(1);
/// One metadata call whole, body included: the SDKs' limit for an operation on IMDS.
const METADATA_WHOLE: Duration = Duration::from_secs(5);
/// Proxy, TCP and TLS handshakes together: several round trips to the far side of the world. ureq
/// counts it anew for each step of a CONNECT.
const SERVICE_CONNECT: Duration = Duration::from_secs(3);
/// One request whole, name lookup to last byte: a lane must come back while its batch is worth a
/// retry, and a stop must not wait longer than an orchestrator's grace.
const SERVICE_WHOLE: Duration = Duration::from_secs(10);
/// Within it, the longest silence. Being constant, it also spares the system call that would set
/// the time that is left before every read and write.
const SERVICE_SILENCE: Duration = Duration::from_secs(6);
/// A quiet application still polls its sampling targets every 10 s, which this keeps on one warm
/// connection.
const IDLE_AGE: Duration = Duration::from_secs(15);
/// ureq holds two input and two output buffers of this size for each TLS connection, zeroed and so
/// resident. 16 KiB is one TLS record. Measured as a static binary: an idle connection takes 110 KB
/// with it and 560 KB with ureq's 128 KiB, for a fifth more CPU per byte sent; 8 KiB would save
/// another 24 KB and cost half as much CPU again.
const BUFFER: usize = 16 * 1024;
/// A plain connection has only one pair of buffers, and no records: a batch of usual documents goes
/// out in one write.
const PLAIN_OUTPUT: usize = 64 * 1024;
/// Must be smaller than [`BUFFER`], in which a response's header has to fit whole.
const RESPONSE_HEADER: usize = 8 * 1024;
/// Metadata answers are a few hundred bytes, their headers less; plain connections hold two of these.
const METADATA_BUFFER: usize = 8 * 1024;
/// A bundle with every public root is 220 KB; a named pipe or /dev/zero must not fill the memory.
const BUNDLE: u64 = 4 * 1024 * 1024;
/// Where a container's owner mounts private roots, as with the official image.
const DEFAULT_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What decides how X-Ray and STS are reached.
pub struct ServiceConfig<'a> {
    /// Proxy of the command line or cfg.yaml; blank means none. It wins over `HTTPS_PROXY`, and
    /// is used for loopback targets too. `NO_PROXY` applies to both.
    pub proxy_address: &'a str,
    /// Accept any server certificate.
    pub no_verify_ssl: bool,
    /// `ca_bundle` of the AWS profile; `AWS_CA_BUNDLE` wins over it.
    pub profile_ca_bundle: Option<&'a str>,
    /// Idle connections to keep for one host, and in all: as many as requests run at once.
    pub connections: usize,
    /// `User-Agent` of requests, and of CONNECT.
    pub user_agent: &'a str,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// Builds agents for X-Ray and STS: the trust roots are read once, the proxy is decided for each
/// target.
pub struct Service {
    proxy: Option<NamedProxy>,
    no_proxy: String,
    tls: TlsConfig,
    connections: usize,
    user_agent: String,
}

struct NamedProxy {
    proxy: ureq::Proxy,
    from_env: bool,
}

/// Why no agent could be built. Never carries a proxy's user or password.
#[derive(Debug)]
pub enum AgentError {
    /// The proxy's address cannot be used.
    Proxy {
        /// The option or variable that named it.
        source: &'static str,
        /// The address without its credentials.
        address: String,
    },
    /// The certificate bundle cannot be used.
    Bundle {
        /// The option or variable that named it.
        source: &'static str,
        /// Its path.
        path: String,
        /// What was wrong with it.
        reason: String,
    },
    /// The target is not an absolute URL.
    Target(String),
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy { source, address } => write!(
                f,
                "{source}: {address:?} is not a proxy this daemon can use; \
                 write http://[user:password@]host:port (https:// for TLS to the proxy)"
            ),
            Self::Bundle {
                source,
                path,
                reason,
            } => write!(
                f,
                "{source}: the certificate bundle {path:?} {reason}; \
                 mount a PEM file there or unset {source}"
            ),
            Self::Target(url) => write!(f, "{url:?} is not a URL with scheme and host"),
        }
    }
}

impl std::error::Error for AgentError {}

/// The agent for metadata endpoints (IMDS, ECS, EKS): never through a proxy, follows no redirect,
/// every status is an answer, 1 s to connect and 5 s in all. Calls may set shorter times.
pub fn metadata() -> Agent {
    Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_connect(Some(METADATA_CONNECT))
        .timeout_global(Some(METADATA_WHOLE))
        .accept_encoding("")
        .max_response_header_size(METADATA_BUFFER / 2)
        .input_buffer_size(METADATA_BUFFER)
        .output_buffer_size(METADATA_BUFFER)
        // Asked every few minutes at most: nothing to keep warm.
        .max_idle_connections(0)
        .build()
        .new_agent()
}

impl Service {
    /// Reads the proxy settings and the trust roots: the bundle named by `AWS_CA_BUNDLE`, by the
    /// profile or by `SSL_CERT_FILE`; else the one mounted where the official image has it; else
    /// the roots of Mozilla that are built in.
    ///
    /// # Errors
    /// When the proxy cannot be parsed, or a named bundle cannot be read or holds no certificate.
    pub fn new(config: &ServiceConfig<'_>) -> Result<Self, AgentError> {
        let roots = if config.no_verify_ssl {
            RootCerts::WebPki
        } else {
            roots(config, Path::new(DEFAULT_BUNDLE))?
        };
        Ok(Self {
            proxy: proxy(config)?,
            no_proxy: first(config.env, &["NO_PROXY", "no_proxy"])
                .map(|(_, list)| list)
                .unwrap_or_default(),
            tls: TlsConfig::builder()
                .root_certs(roots)
                .disable_verification(config.no_verify_ssl)
                .build(),
            connections: config.connections,
            user_agent: config.user_agent.to_owned(),
        })
    }

    /// The agent for `target`, an absolute URL. Every status is an answer, redirects are answers,
    /// nothing is decompressed; 3 s to connect and 10 s in all. Keep it: the connections are in it.
    ///
    /// # Errors
    /// When `target` has no scheme or host.
    pub fn agent(&self, target: &str) -> Result<Agent, AgentError> {
        let (_, config) = self.config(target)?;
        let resolver = Remembering::default();
        let connector = FollowedConnector::new(DefaultConnector::new());
        Ok(Agent::with_parts(config, connector, resolver))
    }

    /// The same for requests that are only posted, and many of them.
    ///
    /// # Errors
    /// When `target` has no scheme or host.
    pub fn wire(&self, target: &str) -> Result<Wire, AgentError> {
        let (endpoint, config) = self.config(target)?;
        let limits = Limits {
            connect: SERVICE_CONNECT,
            whole: SERVICE_WHOLE,
            silence: SERVICE_SILENCE,
            idle: IDLE_AGE,
        };
        let user_agent = self.user_agent.clone();
        Ok(Wire::new(
            endpoint,
            config,
            limits,
            user_agent,
            self.connections,
        ))
    }

    fn config(&self, target: &str) -> Result<(Uri, Config), AgentError> {
        let (uri, proxy) = self.proxy_for(target)?;
        let is_plain = uri.scheme_str() == Some("http");
        let config = Agent::config_builder()
            .proxy(proxy)
            .tls_config(self.tls.clone())
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(SERVICE_CONNECT))
            .timeout_global(Some(SERVICE_WHOLE))
            .timeout_per_read(Some(SERVICE_SILENCE))
            .timeout_per_write(Some(SERVICE_SILENCE))
            .user_agent(&self.user_agent)
            .accept_encoding("")
            .max_response_header_size(RESPONSE_HEADER)
            .input_buffer_size(BUFFER)
            .output_buffer_size(if is_plain { PLAIN_OUTPUT } else { BUFFER })
            .max_idle_connections(self.connections)
            .max_idle_connections_per_host(self.connections)
            .max_idle_age(IDLE_AGE)
            .build();
        Ok((uri, config))
    }

    /// Whether requests to `target` go through the proxy, for the line that is logged at start:
    /// its host and port, never its credentials.
    ///
    /// # Errors
    /// When `target` has no scheme or host.
    pub fn proxy_name(&self, target: &str) -> Result<Option<String>, AgentError> {
        let (_, proxy) = self.proxy_for(target)?;
        Ok(proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port())))
    }

    fn proxy_for(&self, target: &str) -> Result<(Uri, Option<ureq::Proxy>), AgentError> {
        let bad = || AgentError::Target(without_credentials(target).to_owned());
        let uri: Uri = target.parse().map_err(|_| bad())?;
        uri.scheme().ok_or_else(bad)?;
        let host = uri.host().filter(|h| !h.is_empty()).ok_or_else(bad)?;
        let port = uri.port_u16().unwrap_or(default_port(&uri));
        let proxy = self
            .proxy
            .as_ref()
            // The variable is meant for the world outside; a proxy given by name is meant for this.
            .filter(|named| !(named.from_env && no_proxy::is_loopback(host)))
            .filter(|_| !no_proxy::exempts(&self.no_proxy, host, port))
            .map(|named| named.proxy.clone());
        Ok((uri, proxy))
    }
}

fn proxy(config: &ServiceConfig<'_>) -> Result<Option<NamedProxy>, AgentError> {
    let from_env = config.proxy_address.trim().is_empty();
    let named = if from_env {
        first(config.env, &["HTTPS_PROXY", "https_proxy"])
    } else {
        Some(("-p (ProxyAddress)", config.proxy_address.to_owned()))
    };
    let Some((source, address)) = named else {
        return Ok(None);
    };
    // Of the schemes only these two are compiled in: SOCKS would fail at the first request.
    let proxy = ureq::Proxy::new(address.trim())
        .ok()
        .filter(|p| {
            matches!(
                p.protocol(),
                ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https
            )
        })
        .filter(|p| !p.host().is_empty())
        .ok_or_else(|| AgentError::Proxy {
            source,
            address: without_credentials(&address).to_owned(),
        })?;
    Ok(Some(NamedProxy { proxy, from_env }))
}

fn first(
    env: &dyn Fn(&str) -> Option<String>,
    names: &[&'static str],
) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| {
        env(name)
            .filter(|value| !value.trim().is_empty())
            .map(|value| (*name, value))
    })
}

fn roots(config: &ServiceConfig<'_>, default: &Path) -> Result<RootCerts, AgentError> {
    let named = first(config.env, &["AWS_CA_BUNDLE"])
        .or_else(|| Some(("ca_bundle", config.profile_ca_bundle?.to_owned())))
        .or_else(|| first(config.env, &["SSL_CERT_FILE"]));
    if let Some((source, path)) = named {
        return match certificates(Path::new(&path)) {
            Ok(certificates) => Ok(certificates.into()),
            Err(reason) => Err(AgentError::Bundle {
                source,
                path,
                reason,
            }),
        };
    }
    match default.try_exists() {
        Ok(false) => Ok(RootCerts::WebPki),
        _ => Ok(match certificates(default) {
            Ok(certificates) => certificates.into(),
            Err(reason) => {
                log::warn!(
                    "the certificate bundle {} {reason}; using the built-in roots",
                    default.display()
                );
                RootCerts::WebPki
            }
        }),
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let pem = read(path).map_err(|e| format!("cannot be read ({e})"))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(c)) if is_der_sequence(c.der()) => certificates.push(c),
            Ok(PemItem::Certificate(_)) | Err(_) => {
                return Err(format!(
                    "is damaged after {} certificates",
                    certificates.len()
                ));
            }
            Ok(_) => {}
        }
    }
    if certificates.is_empty() {
        return Err("holds no certificate".to_owned());
    }
    certificates.shrink_to_fit();
    Ok(certificates)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    if File::open(path)?.take(BUNDLE + 1).read_to_end(&mut pem)? as u64 > BUNDLE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "larger than 4 MiB",
        ));
    }
    Ok(pem)
}

/// Whether `der` is one SEQUENCE of its own length, as a certificate is. The TLS library drops
/// what it cannot parse without a word, and then trusts nobody.
fn is_der_sequence(der: &[u8]) -> bool {
    let (length, header) = match der {
        [0x30, short, ..] if *short < 0x80 => (usize::from(*short), 2),
        [0x30, 0x81, a, ..] => (usize::from(*a), 3),
        [0x30, 0x82, a, b, ..] => (usize::from(u16::from_be_bytes([*a, *b])), 4),
        _ => return false,
    };
    der.len() == header + length
}

#[cfg(test)]
mod tests;
