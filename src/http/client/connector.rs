//! Opens the connections of an agent: name, address, proxy and TLS, all within one limit.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver as UreqResolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout, ShutdownHandle};

use super::connect::{self, Failures};
use super::stream::{Stream, Tcp, TimeLimits};
use super::transport::HttpTransport;
use super::{tls, tunnel};
use crate::http::dns::Resolver;
use crate::http::error::{TransportError, TransportErrorKind};
use crate::http::url;

/// At most this many addresses are named in an error.
const MAX_TOLD: usize = 3;

/// ureq looks the host up for every request, even if it then uses an open connection. So this does
/// nothing, and [`HttpConnector`] looks the host up when it opens a connection.
#[derive(Debug)]
pub(super) struct LookUpLater;

impl UreqResolver for LookUpLater {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// Decides by the result of a connection which of a service's two names to use.
#[derive(Debug)]
pub(super) enum RouteFlag {
    /// Sets the flag when this host has no route to any address of the name.
    SetWithoutRoute(Arc<AtomicBool>),
    /// Takes it back at any failure.
    ClearAtFailure(Arc<AtomicBool>),
}

#[derive(Debug)]
pub(super) struct HttpConnector {
    pub(super) resolver: Resolver,
    /// Without it, `https` is an error.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) user_agent: String,
    /// For name, address, proxy and TLS together.
    pub(super) limit: Duration,
    pub(super) route_flag: Option<RouteFlag>,
}

impl Connector<()> for HttpConnector {
    type Out = HttpTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<HttpTransport>, ureq::Error> {
        let result = self.open(details);
        if let Err(error) = &result {
            let kind = TransportError::kind_of(error);
            match &self.route_flag {
                Some(RouteFlag::SetWithoutRoute(flag))
                    if kind == Some(TransportErrorKind::NoRoute) =>
                {
                    flag.store(true, Ordering::Relaxed);
                }
                Some(RouteFlag::ClearAtFailure(flag)) => flag.store(false, Ordering::Relaxed),
                _ => {}
            }
        }
        result.map(Some)
    }
}

/// The peer of a connection.
struct Peer<'a> {
    host: &'a str,
    port: u16,
    /// Its name in messages.
    name: String,
}

impl<'a> Peer<'a> {
    fn new(url: &'a Uri, what: &str) -> Self {
        let (host, port) = (url.host().unwrap_or_default(), url::port(url));
        let name = format!("{what}{host}:{port}");
        Peer { host, port, name }
    }
}

impl HttpConnector {
    fn open(&self, details: &ConnectionDetails<'_>) -> Result<HttpTransport, ureq::Error> {
        let limit = self.limit.min(*details.timeout.after);
        let end = Instant::now() + limit;
        let target = Peer::new(details.uri, "");
        let proxy = details.config.proxy();
        let peer = match proxy {
            Some(proxy) => Peer::new(proxy.uri(), "the proxy "),
            None => Peer::new(details.uri, ""),
        };
        let found = self.resolver.addresses(peer.host, peer.port, limit);
        let addresses = found.map_err(|why| {
            let text = format!("unknown host {} ({why})", peer.name);
            TransportError::new(TransportErrorKind::UnknownHost, text)
        })?;
        let connected = connect::connect(&addresses, end)
            .map_err(|failures| self.failed(&peer, &failures, limit))?;
        let record = |address, good| self.resolver.record(peer.host, address, good);
        connected
            .failed
            .iter()
            .for_each(|address| record(*address, false));

        let tcp = Tcp::new(connected.stream, TimeLimits::to_connect(end));
        let handle: Weak<dyn ShutdownHandle> = Arc::<TcpStream>::downgrade(tcp.stream());
        (details.register_shutdown)(Weak::clone(&handle))?;
        let ready = self.make_ready(Stream::Tcp(tcp), details, &target);
        // A peer that accepts the connection and sends nothing counts as failed.
        let is_silent = |e: &TransportError| e.kind == TransportErrorKind::ConnectTimeout;
        record(connected.address, !ready.as_ref().is_err_and(is_silent));
        let output = details.config.output_buffer_size();
        Ok(HttpTransport::new(
            ready?,
            handle,
            details.needs_tls(),
            &target.name,
            output,
        ))
    }

    /// Connects through the proxy, if there is one, and starts TLS, if the URL asks for it.
    fn make_ready(
        &self,
        mut stream: Stream,
        details: &ConnectionDetails<'_>,
        target: &Peer<'_>,
    ) -> Result<Stream, TransportError> {
        if let Some(proxy) = details.config.proxy() {
            if proxy.protocol() == ureq::ProxyProtocol::Https {
                stream = self.wrap(&Peer::new(proxy.uri(), "the proxy "), stream)?;
            }
            tunnel::open(&mut stream, proxy, &target.name, &self.user_agent)?;
        }
        match details.needs_tls() {
            true => self.wrap(target, stream),
            false => Ok(stream),
        }
    }

    fn wrap(&self, peer: &Peer<'_>, stream: Stream) -> Result<Stream, TransportError> {
        let config = self.tls.as_ref().ok_or_else(|| {
            let text = format!("{} can be reached without TLS only", peer.name);
            TransportError::new(TransportErrorKind::Tls, text)
        })?;
        tls::handshake(config, peer.host, &peer.name, stream)
    }

    fn failed(&self, peer: &Peer<'_>, failures: &Failures, limit: Duration) -> TransportError {
        for (address, _) in failures {
            self.resolver.record(peer.host, *address, false);
        }
        explain(&peer.name, failures, limit)
    }
}

/// Why no address answered, in words.
fn explain(peer: &str, failures: &Failures, limit: Duration) -> TransportError {
    use TransportErrorKind as Kind;
    use std::io::ErrorKind as Io;
    let kind_of = |error: &std::io::Error| match error.kind() {
        Io::ConnectionRefused => Kind::Refused,
        Io::HostUnreachable
        | Io::NetworkUnreachable
        | Io::NetworkDown
        | Io::AddrNotAvailable
        | Io::PermissionDenied => Kind::NoRoute,
        Io::TimedOut => Kind::ConnectTimeout,
        _ => Kind::Other,
    };
    // A time-out is more important than a refusal, and a refusal more than a missing route: a host
    // without IPv6 has no route to half of the addresses.
    let weight = |kind| match kind {
        Kind::NoRoute => 0,
        Kind::Refused => 1,
        Kind::Other => 2,
        _ => 3,
    };
    let worst = failures
        .iter()
        .max_by_key(|(_, error)| weight(kind_of(error)));
    let Some((_, error)) = worst else {
        return TransportError::new(Kind::UnknownHost, format!("unknown host {peer}"));
    };
    let tried = tried(failures);
    let kind = kind_of(error);
    let text = match kind {
        Kind::Refused => format!("connection refused by {peer}{tried}"),
        Kind::NoRoute => format!("no route to {peer}{tried}: {error}"),
        Kind::ConnectTimeout => format!("no connection to {peer} within {limit:.0?}{tried}"),
        _ => format!("no connection to {peer}{tried}: {error}"),
    };
    TransportError::new(kind, text)
}

/// The addresses, where they are not the name itself.
fn tried(failures: &Failures) -> String {
    let addresses: Vec<_> = failures
        .iter()
        .take(MAX_TOLD)
        .map(|(address, _): &(SocketAddr, _)| address.ip().to_string())
        .collect();
    let more = if failures.len() > MAX_TOLD {
        ", …"
    } else {
        ""
    };
    format!(" (tried {}{more})", addresses.join(", "))
}
