//! Access control. Traces show what an application does, and any web site can make a browser send
//! requests to any address. So only clients on this machine are answered, and a browser only if the
//! page itself sends the request.

use std::net::IpAddr;

use super::ApiRequest;

/// Where a connection came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectedAddress {
    /// The address that the client connected to, from the socket, because a client may write
    /// anything into the header `Host`.
    pub address: IpAddr,
    /// Whether the operator opened the page for any address and any `Host`.
    pub any: bool,
}

/// Why a request is not answered; `None` when it is.
pub(super) fn refusal(request: &ApiRequest<'_>, path: &str) -> Option<&'static str> {
    let ConnectedAddress { address, any } = request.destination;
    if !any && !address.to_canonical().is_loopback() {
        return Some(
            "traces are shown on this machine only: connect to a loopback address, or start the \
             daemon with --view-any-host",
        );
    }
    let host = request.host.unwrap_or_default();
    if !any && !is_loopback(host) {
        return Some(
            "traces are shown on this machine only: ask for localhost, or start the daemon with \
             --view-any-host",
        );
    }
    if let Some(origin) = request.origin {
        let asked = origin
            .strip_prefix("http://")
            .or(origin.strip_prefix("https://"));
        if host.is_empty() || !asked.is_some_and(|asked| asked.eq_ignore_ascii_case(host)) {
            return Some("another site may not read traces");
        }
    }
    // Links to the page work from anywhere: the site with the link cannot read the answer.
    let navigation = path == "/" && request.fetch_mode == Some("navigate");
    match request.fetch_site {
        None | Some("same-origin" | "none") => None,
        Some(_) if navigation => None,
        Some(_) => Some("another site may not read traces"),
    }
}

/// Whether a `Host`, with or without a port, is this machine by name or address.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if is_port(port) => address,
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, _)) if !is_port(&host[name.len()..]) => return false,
            Some((name, _)) => name,
            None => host,
        },
    };
    if name.eq_ignore_ascii_case("localhost") {
        return !host.starts_with('[');
    }
    match name.parse::<IpAddr>() {
        Ok(address) => {
            address.is_ipv6() == host.starts_with('[') && address.to_canonical().is_loopback()
        }
        Err(_) => false,
    }
}

/// Whether this is nothing, or a colon and a number.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()),
        None => text.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: ApiRequest<'_> = ApiRequest {
        method: "GET",
        target: "/api/traces",
        host: Some("127.0.0.1:2000"),
        origin: None,
        fetch_site: None,
        fetch_mode: None,
        if_none_match: None,
        destination: ConnectedAddress {
            address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            any: false,
        },
    };

    fn allowed(request: ApiRequest<'_>) -> bool {
        refusal(&request, request.target).is_none()
    }

    #[test]
    fn only_connections_to_this_machine_are_answered() {
        for (address, local) in [
            ("127.0.0.1", true),
            ("127.8.9.10", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("fe80::1", false),
            ("0.0.0.0", false),
        ] {
            let mut destination = ConnectedAddress {
                address: address.parse().unwrap(),
                any: false,
            };
            let request = ApiRequest {
                destination,
                ..REQUEST
            };
            assert_eq!(allowed(request), local, "{address}");
            destination.any = true;
            assert!(allowed(ApiRequest {
                destination,
                ..REQUEST
            }));
        }
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for (host, local) in [
            (Some("localhost"), true),
            (Some("LocalHost:2000"), true),
            (Some("127.0.0.1:"), true),
            (Some("127.1.2.3:80"), true),
            (Some("[::1]:2000"), true),
            (Some("[::1]"), true),
            (Some("[::ffff:127.0.0.1]"), true),
            (None, false),
            (Some(""), false),
            (Some("evil.example:2000"), false),
            (Some("localhost.evil.example"), false),
            (Some("127.0.0.1.evil.example"), false),
            (Some("127.0.0.1@evil.example"), false),
            (Some("localhost:2000:x"), false),
            (Some("[::1]evil.example"), false),
            (Some("[localhost]"), false),
            (Some("[127.0.0.1]"), false),
            (Some("::1"), false),
            (Some("10.0.0.1"), false),
            (Some("2130706433"), false),
        ] {
            assert_eq!(allowed(ApiRequest { host, ..REQUEST }), local, "{host:?}");
            let destination = ConnectedAddress {
                any: true,
                ..REQUEST.destination
            };
            assert!(
                allowed(ApiRequest {
                    host,
                    destination,
                    ..REQUEST
                }),
                "{host:?}"
            );
        }
    }

    #[test]
    fn other_sites_are_not_answered() {
        for (origin, own) in [
            ("http://127.0.0.1:2000", true),
            ("https://127.0.0.1:2000", true),
            ("http://127.0.0.1", false),
            ("http://localhost:2000", false),
            ("http://evil.example", false),
            ("null", false),
            ("", false),
        ] {
            let origin = Some(origin);
            assert_eq!(allowed(ApiRequest { origin, ..REQUEST }), own, "{origin:?}");
            let destination = ConnectedAddress {
                any: true,
                ..REQUEST.destination
            };
            assert_eq!(
                allowed(ApiRequest {
                    origin,
                    destination,
                    ..REQUEST
                }),
                own
            );
        }
        let (origin, host) = (Some("http://"), None);
        let destination = ConnectedAddress {
            any: true,
            ..REQUEST.destination
        };
        assert!(!allowed(ApiRequest {
            origin,
            host,
            destination,
            ..REQUEST
        }));
        for (site, mode, target, own) in [
            ("same-origin", "cors", "/api/traces", true),
            ("none", "navigate", "/api/traces", true),
            ("same-site", "cors", "/api/traces", false),
            ("cross-site", "no-cors", "/api/traces", false),
            ("cross-site", "navigate", "/api/traces", false),
            ("cross-site", "navigate", "/", true),
            ("cross-site", "no-cors", "/", false),
            ("", "cors", "/", false),
        ] {
            let request = ApiRequest {
                fetch_site: Some(site),
                fetch_mode: Some(mode),
                target,
                ..REQUEST
            };
            assert_eq!(allowed(request), own, "{site} {mode} {target}");
        }
    }
}
