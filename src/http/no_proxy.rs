//! Decides whether `NO_PROXY` exempts a host from the proxy. Pure: no lookups, no environment.
//!
//! The grammar is Go's (`golang.org/x/net/http/httpproxy`), which operators of the official daemon
//! already write: entries separated by commas or blanks, each one of
//! - `*`: every host;
//! - `example.com`: that name and every name under it;
//! - `.example.com` or `*.example.com`: only the names under it;
//! - `10.0.0.7`, `fd00::7`, `[fd00::7]`: that address;
//! - `10.0.0.0/8`, `fd00::/8`: that network, for hosts written as addresses (names are not resolved);
//! - any of the names and addresses with `:port`: only that port.

use std::net::IpAddr;

/// Whether `list` (the value of `NO_PROXY`) exempts `host`:`port`. `host` may carry the brackets of
/// an IPv6 literal and a trailing dot; entries that make no sense match nothing.
pub fn exempts(list: &str, host: &str, port: u16) -> bool {
    let host = bare(host);
    let address = address(host);
    list.split([',', ' ', '\t'])
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .any(|entry| entry_matches(entry, host, address, port))
}

/// Whether `host` is this machine: `localhost`, a name under it, or a loopback address.
pub fn is_loopback(host: &str) -> bool {
    let host = bare(host);
    match address(host) {
        Some(ip) => ip.is_loopback(),
        None => name_matches("localhost", host),
    }
}

fn entry_matches(entry: &str, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        return match (address(network), bits.parse(), ip) {
            (Some(network), Ok(bits), Some(ip)) => in_network(ip, network, bits),
            _ => false,
        };
    }
    let (name, entry_port) = split_port(entry);
    if entry_port.is_some_and(|p| p.parse() != Ok(port)) {
        return false;
    }
    match (address(name), ip) {
        (Some(entry), Some(ip)) => entry == ip,
        (None, None) => name_matches(name, host),
        _ => false,
    }
}

/// Splits `name:port`, `[v6]:port` and `[v6]`; a bare IPv6 address has colons but no port.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if let Some(rest) = entry.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((v6, "")) => (v6, None),
            Some((v6, port)) => (v6, Some(port.strip_prefix(':').unwrap_or(port))),
            None => (entry, None),
        };
    }
    match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, Some(port)),
        _ => (entry, None),
    }
}

fn name_matches(entry: &str, host: &str) -> bool {
    let entry = entry.strip_suffix('.').unwrap_or(entry);
    let dotted = entry.strip_prefix('*').unwrap_or(entry);
    let (suffix, itself) = match dotted.strip_prefix('.') {
        Some(suffix) => (suffix, false),
        None => (entry, true),
    };
    if suffix.is_empty() {
        return false;
    }
    if host.len() == suffix.len() {
        return itself && host.eq_ignore_ascii_case(suffix);
    }
    host.len()
        .checked_sub(suffix.len())
        .and_then(|at| host.split_at_checked(at))
        .is_some_and(|(head, tail)| head.ends_with('.') && tail.eq_ignore_ascii_case(suffix))
}

fn in_network(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) if bits <= 32 => {
            let differs = u32::from(ip) ^ u32::from(network);
            differs.checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) if bits <= 128 => {
            let differs = u128::from(ip) ^ u128::from(network);
            differs.checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Without the brackets of an IPv6 literal and the dot of a fully qualified name.
fn bare(host: &str) -> &str {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host)
}

/// An IPv4-mapped IPv6 address counts as the IPv4 address in it.
fn address(host: &str) -> Option<IpAddr> {
    host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        let xray = "xray.us-east-1.amazonaws.com";
        for (list, host, port, expected) in [
            ("", xray, 443, false),
            (" , ,", xray, 443, false),
            ("*", xray, 443, true),
            ("localhost, *", "10.1.2.3", 443, true),
            // names
            ("amazonaws.com", xray, 443, true),
            ("AmazonAWS.com", "XRAY.us-east-1.amazonaws.COM", 443, true),
            ("amazonaws.com", "amazonaws.com", 443, true),
            ("amazonaws.com", "notamazonaws.com", 443, false),
            ("amazonaws.com", "amazonaws.com.evil.org", 443, false),
            (".amazonaws.com", xray, 443, true),
            (".amazonaws.com", "amazonaws.com", 443, false),
            ("*.amazonaws.com", xray, 443, true),
            ("*.amazonaws.com", "amazonaws.com", 443, false),
            (xray, xray, 443, true),
            ("xray.us-east-1.amazonaws.com.", xray, 443, true),
            (xray, "xray.us-east-1.amazonaws.com.", 443, true),
            ("xray", xray, 443, false),
            ("a.org b.org", "b.org", 443, true),
            ("a.org,\tb.org", "c.b.org", 443, true),
            // ports
            ("amazonaws.com:443", xray, 443, true),
            ("amazonaws.com:8443", xray, 443, false),
            ("amazonaws.com:", xray, 443, false),
            ("amazonaws.com:http", xray, 443, false),
            ("10.0.0.7:2000", "10.0.0.7", 2000, true),
            ("10.0.0.7:2000", "10.0.0.7", 2001, false),
            ("[fd00::7]:2000", "[fd00::7]", 2000, true),
            ("[fd00::7]:2000", "fd00::7", 443, false),
            // addresses
            ("10.0.0.7", "10.0.0.7", 443, true),
            ("10.0.0.7", "10.0.0.70", 443, false),
            ("0.0.7", "10.0.0.7", 443, false),
            ("fd00::7", "[fd00:0::7]", 443, true),
            ("[fd00::7]", "fd00::7", 443, true),
            ("10.0.0.7", "[::ffff:10.0.0.7]", 443, true),
            // networks
            ("10.0.0.0/8", "10.255.1.2", 443, true),
            ("10.0.0.0/8", "11.0.0.1", 443, false),
            ("10.9.9.9/8", "10.0.0.1", 443, true),
            ("0.0.0.0/0", "203.0.113.9", 443, true),
            ("10.0.0.7/32", "10.0.0.7", 443, true),
            ("10.0.0.7/32", "10.0.0.6", 443, false),
            ("fd00::/8", "[fdab::1]", 443, true),
            ("fd00::/8", "[fe80::1]", 443, false),
            ("::/0", "[2001:db8::1]", 443, true),
            ("10.0.0.0/8", xray, 443, false),
            ("10.0.0.0/8", "[fd00::1]", 443, false),
            // nonsense matches nothing
            ("10.0.0.0/33", "10.0.0.1", 443, false),
            ("10.0.0.0/-1", "10.0.0.1", 443, false),
            ("10.0.0.0/", "10.0.0.1", 443, false),
            ("amazonaws.com/8", xray, 443, false),
            (".", xray, 443, false),
            ("*.", xray, 443, false),
            ("[fd00::7", "fd00::7", 443, false),
        ] {
            assert_eq!(
                exempts(list, host, port),
                expected,
                "{list:?} {host}:{port}"
            );
        }
    }

    #[test]
    fn loopback() {
        for host in [
            "localhost",
            "LOCALHOST.",
            "x.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "128.0.0.1", "::2", "0.0.0.0", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_answer(list in "\\PC{0,80}", host in "\\PC{0,40}", port: u16) {
            exempts(&list, &host, port);
            let everything = format!("{list},*");
            prop_assert!(exempts(&everything, &host, port));
        }

        #[test]
        fn a_network_holds_what_its_mask_keeps(ip: u32, other: u32, bits in 0u32..=32) {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            let entry = format!("{}/{bits}", std::net::Ipv4Addr::from(ip));
            let host = std::net::Ipv4Addr::from(other).to_string();
            prop_assert_eq!(exempts(&entry, &host, 443), ip & mask == other & mask);
        }

        #[test]
        fn a_name_covers_itself_and_what_is_under_it(
            name in "[a-z]{1,8}(\\.[a-z]{1,8}){0,3}", label in "[a-z]{1,8}",
        ) {
            let under = format!("{label}.{name}");
            let beside = format!("{label}{name}");
            prop_assert!(exempts(&name, &name, 443));
            prop_assert!(exempts(&name, &under, 443));
            prop_assert!(!exempts(&name, &beside, 443));
            let dotted = format!(".{name}");
            prop_assert!(!exempts(&dotted, &name, 443));
            prop_assert!(exempts(&dotted, &under, 443));
        }
    }
}
