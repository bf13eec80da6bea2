//! What an address on the command line stands for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

/// The addresses that `HOST:PORT` stands for, in the order in which they are tried. An empty host is every
/// address.
///
/// # Errors
/// When the name cannot be resolved, or this is no address.
pub(crate) fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let with_host = match address.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => address.to_owned(),
    };
    Ok(in_order(with_host.to_socket_addrs()?.collect()))
}

/// Go prefers IPv4 where a name has both.
fn in_order(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
}

/// Where a client on this machine reaches a socket with this address. A socket on every address is reached on
/// the loopback; one of IPv6 takes IPv4, too.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_before_six_and_otherwise_as_the_system_says() {
        let addresses = ["[::1]:1", "127.0.0.2:1", "[::2]:1", "127.0.0.1:1"];
        let ordered = in_order(addresses.map(|one| one.parse().unwrap()).into());
        let ordered: Vec<String> = ordered.iter().map(SocketAddr::to_string).collect();
        assert_eq!(
            ordered,
            ["127.0.0.2:1", "127.0.0.1:1", "[::1]:1", "[::2]:1"]
        );
    }

    #[test]
    fn every_address_is_reached_on_the_loopback() {
        for (address, reached) in [
            ("0.0.0.0:2000", "127.0.0.1:2000"),
            (":2000", "127.0.0.1:2000"),
            ("[::]:2000", "127.0.0.1:2000"),
            ("[::1]:2000", "[::1]:2000"),
            ("192.0.2.7:2000", "192.0.2.7:2000"),
        ] {
            let resolved = resolve(address).unwrap();
            let resolved: Vec<String> = resolved
                .into_iter()
                .map(|one| reachable(one).to_string())
                .collect();
            assert_eq!(resolved, [reached]);
        }
        assert!(resolve("no port").is_err());
    }
}
