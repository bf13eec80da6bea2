//! Builds the HTTP agents. No other module does, so that proxy, trust roots, timeouts and buffers
//! are decided in one place.
//!
//! A connection in use keeps its address until it is closed by the peer or has been idle for
//! `IDLE_AGE`.

pub mod certificate;
mod connect;
mod connector;
mod proxy;
mod service;
mod stream;
mod tls;
mod transport;
pub mod trust;
mod tunnel;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use ureq::Agent;
use ureq::http::Uri;

use crate::env::Lookup;
use crate::http::dns::Resolver;
use crate::http::url;
use connector::{HttpConnector, LookUpLater, RouteFlag};
use proxy::ProxySettings;
pub use service::ServiceClient;
pub(crate) use service::ServiceEndpoint;
pub use service::ServiceUrls;

/// Metadata answers come from this host or its hypervisor in milliseconds; no answer in a second is
/// no answer (off EC2 the address is a black hole).
const METADATA_CONNECT: Duration = Duration::from_secs(1);
/// One metadata call whole, body included: the SDKs' limit for an operation on IMDS.
const METADATA_TOTAL: Duration = Duration::from_secs(5);
/// Calls have limits of their own, of which none is longer.
const LONGEST_METADATA_CALL: Duration = Duration::from_secs(3600);
/// Name, proxy, TCP and TLS handshakes together: several round trips to the far side of the world.
const SERVICE_CONNECT: Duration = Duration::from_secs(3);
/// One request whole, name look-up to last byte: a sender must come back while its batch is worth a
/// retry, and a stop must not wait longer than an orchestrator's grace.
const SERVICE_TOTAL: Duration = Duration::from_secs(10);
/// Within it, the longest silence. Being constant, it also spares the system call that would set
/// the time that is left before every read and write.
const SERVICE_IO: Duration = Duration::from_secs(6);
/// A quiet application still polls its sampling targets every 10 s, which this keeps on one warm
/// connection.
const IDLE_AGE: Duration = Duration::from_secs(15);
/// What is encrypted at once is one record of TLS at most; TLS itself keeps four of them until they
/// leave together.
const TLS_OUTPUT: usize = 16 * 1024;
/// A batch of usual documents goes out in one write.
const PLAIN_OUTPUT: usize = 64 * 1024;
/// A token of up to half of it fits.
const METADATA_OUTPUT: usize = 16 * 1024;
/// Longer headers of an answer are an error.
const RESPONSE_HEADER: usize = 8 * 1024;

/// What decides how X-Ray and STS are reached.
pub struct HttpClientConfig<'a> {
    /// Looks the names up.
    pub resolver: Resolver,
    /// Proxy of the command line or cfg.yaml; blank means none. It wins over `HTTPS_PROXY`, and
    /// is used for loopback targets too. `NO_PROXY` applies to both.
    pub proxy_address: &'a str,
    /// Accept any server certificate.
    pub no_verify_ssl: bool,
    /// `ca_bundle` of the AWS profile; `AWS_CA_BUNDLE` wins over it.
    pub profile_ca_bundle: Option<&'a str>,
    /// Idle connections that an agent keeps: as many as requests run at once.
    pub connections: usize,
    /// `User-Agent` of requests, and of CONNECT.
    pub user_agent: &'a str,
    /// The environment.
    pub env: &'a Lookup<'a>,
}

/// Builds agents for X-Ray, STS and the like: the trust roots are read once and shared, the proxy
/// is decided for each target.
pub struct HttpClientFactory {
    resolver: Resolver,
    proxy: ProxySettings,
    tls: Arc<ClientConfig>,
    connections: usize,
    user_agent: String,
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
/// every status is an answer, 1 s to connect and 5 s in all. Calls may set other times.
pub fn metadata_agent(resolver: &Resolver) -> Agent {
    let config = Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_connect(Some(METADATA_CONNECT))
        .timeout_global(Some(METADATA_TOTAL))
        .accept_encoding("")
        .max_response_header_size(RESPONSE_HEADER)
        .output_buffer_size(METADATA_OUTPUT)
        // Asked every few minutes at most: nothing to keep warm.
        .max_idle_connections(0)
        .build();
    let connector = HttpConnector {
        resolver: resolver.clone(),
        tls: None,
        user_agent: String::new(),
        limit: LONGEST_METADATA_CALL,
        route_flag: None,
    };
    Agent::with_parts(config, connector, LookUpLater)
}

impl HttpClientFactory {
    /// Reads the proxy settings and the trust roots.
    ///
    /// # Errors
    /// When the proxy cannot be parsed, or a named bundle cannot be read or holds no certificate.
    pub fn new(config: HttpClientConfig<'_>) -> Result<Self, AgentError> {
        let roots = match config.no_verify_ssl {
            true => None,
            false => Some(trust::roots(
                config.env,
                config.profile_ca_bundle,
                &trust::HOST_PATHS,
            )?),
        };
        Ok(Self {
            resolver: config.resolver,
            proxy: ProxySettings::new(config.proxy_address, config.env)?,
            tls: tls::client_config(roots),
            connections: config.connections,
            user_agent: config.user_agent.to_owned(),
        })
    }

    /// The agent for `target`, an absolute URL. Every status is an answer, redirects are answers,
    /// nothing is decompressed, no header is added but `Host`, `User-Agent` and `Content-Length`;
    /// 3 s to connect, 6 s of silence and 10 s in all. Keep it: the connections are in it.
    ///
    /// # Errors
    /// When `target` has no scheme or host.
    pub(crate) fn agent(&self, target: &str) -> Result<Agent, AgentError> {
        self.agent_with(target, None)
    }

    fn agent_with(&self, target: &str, flag: Option<RouteFlag>) -> Result<Agent, AgentError> {
        let (uri, proxy) = self.proxy_for(target)?;
        let is_plain = uri.scheme_str() == Some("http");
        let config = Agent::config_builder()
            .proxy(proxy)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(SERVICE_TOTAL))
            .timeout_per_read(Some(SERVICE_IO))
            .timeout_per_write(Some(SERVICE_IO))
            .user_agent(&self.user_agent)
            .accept("")
            .accept_encoding("")
            .allow_non_standard_methods(true)
            .max_response_header_size(RESPONSE_HEADER)
            .output_buffer_size(if is_plain { PLAIN_OUTPUT } else { TLS_OUTPUT })
            .max_idle_connections(self.connections)
            .max_idle_connections_per_host(self.connections)
            .max_idle_age(IDLE_AGE)
            .build();
        let connector = HttpConnector {
            resolver: self.resolver.clone(),
            tls: Some(Arc::clone(&self.tls)),
            user_agent: self.user_agent.clone(),
            limit: SERVICE_CONNECT,
            route_flag: flag,
        };
        Ok(Agent::with_parts(config, connector, LookUpLater))
    }

    /// Whether requests to `target` go through the proxy, for the line that is logged at start:
    /// its host and port, never its credentials.
    ///
    /// # Errors
    /// When `target` has no scheme or host.
    pub(crate) fn proxy_name(&self, target: &str) -> Result<Option<String>, AgentError> {
        let (_, proxy) = self.proxy_for(target)?;
        Ok(proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port())))
    }

    fn proxy_for(&self, target: &str) -> Result<(Uri, Option<ureq::Proxy>), AgentError> {
        let bad = || AgentError::Target(url::without_credentials(target).to_owned());
        let uri: Uri = target.parse().map_err(|_| bad())?;
        uri.scheme().ok_or_else(bad)?;
        let host = uri.host().filter(|h| !h.is_empty()).ok_or_else(bad)?;
        let proxy = self.proxy.for_target(&uri, host).cloned();
        Ok((uri, proxy))
    }
}

#[cfg(test)]
mod tests;
