//! The page that shows traces: whether it is on, how much it may keep, and its address.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::ingest::address;
use crate::view::SharedStore;
use crate::view::store::DaemonInfo;

/// Most bytes that the page takes.
const MAX_PAGE: usize = 32 * 1024 * 1024;

/// Most bytes that wait to be kept, where traces go to X-Ray too.
const MAX_FEED: usize = 2 * 1024 * 1024;

/// Bytes that the page may take, of the `limit` of the buffer: half of it, at most 32 MB.
pub(super) fn page_limit(limit: usize) -> usize {
    (limit / 2).min(MAX_PAGE)
}

/// How many of these may wait to be kept: a quarter, at most 2 MB.
pub(super) fn feed_limit(limit: usize) -> usize {
    (page_limit(limit) / 4).min(MAX_FEED)
}

/// The traces of the page, which may take `bytes`. `udp` is where segments are taken, `exporter` where
/// they go.
pub(super) fn store(
    bytes: usize,
    udp: Option<SocketAddr>,
    exporter: &'static str,
) -> Arc<SharedStore> {
    let daemon = DaemonInfo {
        version: env!("CARGO_PKG_VERSION"),
        udp: udp.map_or_else(String::new, |address| address.to_string()),
        exporter,
    };
    Arc::new(SharedStore::new(bytes, daemon))
}

/// Tells where the page is, once it is there.
pub(super) fn announce(tcp: SocketAddr, any_host: bool) {
    match reachable(tcp, any_host) {
        Some(address) => log::info!("Open http://{address}/ to look at the traces"),
        None => log::warn!(
            "the page with the traces is shown at loopback addresses only, and {tcp} is none: use \
             -t 127.0.0.1:2000, or --view-any-host"
        ),
    }
}

/// The address of the page for a browser on this machine; `None` when it is not served there.
fn reachable(tcp: SocketAddr, any_host: bool) -> Option<SocketAddr> {
    let address = address::reachable(tcp);
    (any_host || address.ip().to_canonical().is_loopback()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_page_is_one_to_open() {
        for (bound, any_host, opened) in [
            ("127.0.0.1:2000", false, Some("127.0.0.1:2000")),
            ("0.0.0.0:2000", false, Some("127.0.0.1:2000")),
            ("[::]:3000", true, Some("127.0.0.1:3000")),
            ("192.0.2.7:2000", true, Some("192.0.2.7:2000")),
            ("192.0.2.7:2000", false, None),
        ] {
            let opened = opened.map(|address: &str| address.parse().unwrap());
            assert_eq!(
                reachable(bound.parse().unwrap(), any_host),
                opened,
                "{bound}"
            );
        }
    }

    #[test]
    fn the_page_takes_half_of_the_buffer_at_most() {
        assert_eq!(page_limit(3 << 20), 3 << 19);
        assert_eq!(page_limit(1 << 30), MAX_PAGE);
        assert_eq!(feed_limit(3 << 20), 3 << 17);
        assert_eq!(feed_limit(1 << 30), MAX_FEED);
    }
}
