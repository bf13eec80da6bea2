//! Questions about URLs that more than one module asks. Pure.

use std::net::{IpAddr, Ipv6Addr};

use ureq::http::Uri;

/// The port of a URL: the one that is written, else the one that the scheme has by itself.
pub(crate) fn port(url: &Uri) -> u16 {
    url.port_u16().unwrap_or(default_port(url))
}

/// The port that the scheme has by itself.
pub(crate) fn default_port(url: &Uri) -> u16 {
    match url.scheme_str() {
        Some("http") => 80,
        _ => 443,
    }
}

/// What follows the last `@` of a URL, so that it can be shown: a password may itself hold one.
pub(crate) fn without_credentials(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

/// What stands for the host in a URL, for messages.
pub(crate) fn host(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    without_credentials(authority)
}

/// Whether a URL's host can be looked up or is an address. The parser of URLs lets percent signs
/// and other characters through that stand in no name.
pub(crate) fn is_host(host: &str) -> bool {
    if let Some(v6) = bracketed(host) {
        return v6.parse::<Ipv6Addr>().is_ok();
    }
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=253).contains(&host.len()) && host.bytes().all(is_allowed) && !host.starts_with('.')
}

/// The address, where `host` is one.
pub(crate) fn address(host: &str) -> Option<IpAddr> {
    bracketed(host).unwrap_or(host).parse().ok()
}

fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for (url, expected) in [
            ("http://a/", 80),
            ("https://a/", 443),
            ("http://a:443/", 443),
            ("https://[::1]:8443", 8443),
        ] {
            assert_eq!(port(&url.parse().unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        for (url, expected) in [
            ("http://u:p@corp:1", "corp:1"),
            ("http://u:p@ss@corp", "corp"),
            ("http://corp", "http://corp"),
        ] {
            assert_eq!(without_credentials(url), expected);
        }
    }

    #[test]
    fn hosts_for_messages() {
        for (url, expected) in [
            (
                "https://xray.us-east-1.amazonaws.com/TraceSegments",
                "xray.us-east-1.amazonaws.com",
            ),
            ("http://u:p@h:1?x=y@z", "h:1"),
            ("http://[::1]:80/a", "[::1]:80"),
            ("h", "h"),
            ("", ""),
        ] {
            assert_eq!(host(url), expected);
        }
    }

    #[test]
    fn hosts() {
        let long = "a".repeat(254);
        for (host, expected) in [
            ("xray.us-east-1.amazonaws.com", true),
            ("xray.us-east-1.amazonaws.com.", true),
            ("my_proxy", true),
            ("10.0.0.7", true),
            ("[::1]", true),
            ("[fd00:ec2::254]", true),
            ("[%10::1]", false),
            ("[fe80::1%25eth0]", false),
            ("[::1", false),
            ("::1", false),
            ("[]", false),
            ("%41.example", false),
            ("a b", false),
            ("a,b", false),
            (".example", false),
            ("", false),
            (&long, false),
        ] {
            assert_eq!(is_host(host), expected, "{host}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(address("[::1]"), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(address("::1"), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(address("127.0.0.1"), Some([127, 0, 0, 1].into()));
        assert_eq!(address("localhost"), None);
    }
}
