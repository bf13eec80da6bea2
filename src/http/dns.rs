//! Name lookups for the HTTP agents, remembered for a short while.
//!
//! ureq looks the host up for every request, whether or not it then uses a kept connection, and
//! starts a thread for each lookup. That would cost more than the rest of a request, and would
//! stop a working connection whenever the name server does not answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::aws::endpoint::default_port;

/// A name is looked up again after this long. AWS changes the addresses of its endpoints by
/// records that live for a minute.
const FRESH: Duration = Duration::from_secs(30);

/// An agent talks to one or two hosts; more are not remembered.
const MAX_NAMES: usize = 4;

/// The system's resolver behind a small memory.
#[derive(Debug, Default)]
pub struct Remembering {
    system: DefaultResolver,
    known: Mutex<Vec<Known>>,
}

#[derive(Debug)]
struct Known {
    authority: String,
    asked: Instant,
    addresses: Vec<SocketAddr>,
}

impl Remembering {
    fn recall(&self, authority: &str) -> Option<(Instant, ResolvedSocketAddrs)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.iter().find(|known| known.authority == authority)?;
        Some((known.asked, self.list(&known.addresses)))
    }

    fn remember(&self, authority: &str, addresses: &[SocketAddr]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.authority != authority);
        known.truncate(MAX_NAMES - 1);
        known.insert(
            0,
            Known {
                authority: authority.to_owned(),
                asked: Instant::now(),
                addresses: addresses.to_vec(),
            },
        );
    }

    fn list(&self, addresses: &[SocketAddr]) -> ResolvedSocketAddrs {
        let mut list = self.empty();
        for address in addresses {
            list.push(*address);
        }
        list
    }
}

impl Resolver for Remembering {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        if let Some(address) = literal(uri) {
            return Ok(self.list(&[address]));
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let known = self.recall(authority);
        match known {
            Some((asked, addresses)) if asked.elapsed() < FRESH => return Ok(addresses),
            _ => {}
        }
        match self.system.resolve(uri, config, timeout) {
            Ok(addresses) => {
                self.remember(authority, &addresses);
                Ok(addresses)
            }
            // The name server is down: the last addresses are the best guess, and connections to
            // them may still stand.
            Err(_) if let Some((_, addresses)) = known => Ok(addresses),
            // getaddrinfo says it as an I/O error of no kind.
            Err(Error::Io(_)) => Err(Error::HostNotFound),
            Err(error) => Err(error),
        }
    }
}

/// The address, where the host of `uri` is one.
fn literal(uri: &Uri) -> Option<SocketAddr> {
    let host = uri.host()?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let ip: IpAddr = host.parse().ok()?;
    let port = uri.port_u16().unwrap_or(default_port(uri));
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_no_lookup() {
        for (uri, expected) in [
            ("http://127.0.0.1:8080/x", Some("127.0.0.1:8080")),
            ("https://127.0.0.1", Some("127.0.0.1:443")),
            ("http://[fd00:ec2::23]/v1", Some("[fd00:ec2::23]:80")),
            ("https://xray.us-east-1.amazonaws.com", None),
        ] {
            let found = literal(&uri.parse().unwrap());
            assert_eq!(
                found,
                expected.map(|address| address.parse().unwrap()),
                "{uri}"
            );
        }
    }

    #[test]
    fn a_name_is_remembered_and_few_are() {
        let resolver = Remembering::default();
        for port in 1..=9 {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            resolver.remember(&format!("host:{port}"), &[address]);
        }
        assert_eq!(resolver.known.lock().unwrap().len(), MAX_NAMES);
        let (_, addresses) = resolver.recall("host:9").unwrap();
        assert_eq!(&addresses[..], [SocketAddr::from(([127, 0, 0, 1], 9))]);
        assert!(resolver.recall("host:1").is_none());
    }
}
