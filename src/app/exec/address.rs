//! The addresses of the daemon in the form that SDKs expect. Pure.

use std::net::SocketAddr;

use crate::ingest::address::reachable;

/// The value of `AWS_XRAY_DAEMON_ADDRESS` for a daemon that listens here. One address stands for
/// both, where it is the same: not every SDK knows the long form.
pub(super) fn for_sdks(udp: SocketAddr, tcp: SocketAddr) -> String {
    let (udp, tcp) = (reachable(udp), reachable(tcp));
    match udp == tcp {
        true => udp.to_string(),
        false => format!("tcp:{tcp} udp:{udp}"),
    }
}

/// The value of `OTEL_EXPORTER_OTLP_ENDPOINT` for a daemon that takes OTLP here.
pub(super) fn for_exporters(tcp: SocketAddr) -> String {
    format!("http://{}", reachable(tcp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_or_two() {
        for (udp, tcp, expected) in [
            ("127.0.0.1:3000", "127.0.0.1:3000", "127.0.0.1:3000"),
            ("0.0.0.0:2000", "[::]:2000", "127.0.0.1:2000"),
            (
                "127.0.0.1:3000",
                "127.0.0.1:3001",
                "tcp:127.0.0.1:3001 udp:127.0.0.1:3000",
            ),
            ("[::1]:3000", "[::1]:3000", "[::1]:3000"),
        ] {
            let value = for_sdks(udp.parse().unwrap(), tcp.parse().unwrap());
            assert_eq!(value, expected);
        }
        let endpoint = for_exporters("0.0.0.0:4318".parse().unwrap());
        assert_eq!(endpoint, "http://127.0.0.1:4318");
    }
}
