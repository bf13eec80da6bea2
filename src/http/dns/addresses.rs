//! Which of a host's addresses to try first. Pure: the time is handed in.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// An address that failed stands behind the others for this long.
const PENALTY: Duration = Duration::from_secs(30);

/// The addresses of a host, and what became of the last connection to each.
#[derive(Debug, Default)]
pub(super) struct Addresses(Vec<(SocketAddr, ConnectOutcome)>);

#[derive(Debug, Clone, Copy, PartialEq)]
enum ConnectOutcome {
    Untried,
    Connected(Instant),
    Failed(Instant),
}

impl Addresses {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the result of a new look-up. The history of addresses that are still there is kept.
    pub(super) fn replace(&mut self, found: &[SocketAddr]) {
        let old = std::mem::take(&mut self.0);
        for address in found {
            if self.0.iter().any(|(known, _)| known == address) {
                continue;
            }
            let outcome = old.iter().find(|(known, _)| known == address);
            self.0.push((
                *address,
                outcome.map_or(ConnectOutcome::Untried, |(_, o)| *o),
            ));
        }
    }

    pub(super) fn record(&mut self, address: SocketAddr, connected: bool, now: Instant) {
        if let Some((_, outcome)) = self.0.iter_mut().find(|(known, _)| *known == address) {
            *outcome = match connected {
                true => ConnectOutcome::Connected(now),
                false => ConnectOutcome::Failed(now),
            };
        }
    }

    /// First the address that was connected to last, then those that were never tried, then those
    /// that failed recently, the oldest failure first.
    pub(super) fn in_order(&self, now: Instant) -> Vec<SocketAddr> {
        let (mut good, mut untried, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for (address, outcome) in &self.0 {
            match outcome {
                ConnectOutcome::Connected(at) => good.push((*at, *address)),
                ConnectOutcome::Failed(at) if now.saturating_duration_since(*at) < PENALTY => {
                    failed.push((*at, *address));
                }
                ConnectOutcome::Untried | ConnectOutcome::Failed(_) => untried.push(*address),
            }
        }
        good.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        failed.sort_by_key(|(at, _)| *at);
        let good = good.into_iter().map(|(_, address)| address);
        let failed = failed.into_iter().map(|(_, address)| address);
        good.chain(by_turns(untried)).chain(failed).collect()
    }
}

/// Alternates IPv6 and IPv4, beginning with the family that the resolver puts first: where one
/// family has no route, all of its addresses fail.
fn by_turns(addresses: Vec<SocketAddr>) -> impl Iterator<Item = SocketAddr> {
    let six_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == six_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turn = false;
    std::iter::from_fn(move || {
        turn = !turn;
        match turn {
            true => first.next().or_else(|| second.next()),
            false => second.next().or_else(|| first.next()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 443))
    }

    fn six(last: u16) -> SocketAddr {
        SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, last], 443))
    }

    fn known(addresses: &[SocketAddr]) -> Addresses {
        let mut known = Addresses::default();
        known.replace(addresses);
        known
    }

    #[test]
    fn what_is_not_known_keeps_its_order_by_turns() {
        for (found, expected) in [
            (vec![], vec![]),
            (vec![address(2), address(1)], vec![address(2), address(1)]),
            (
                vec![six(1), six(2), six(3), address(1)],
                vec![six(1), address(1), six(2), six(3)],
            ),
            (
                vec![address(1), six(1), six(2)],
                vec![address(1), six(1), six(2)],
            ),
            (vec![address(1), address(1)], vec![address(1)]),
        ] {
            assert_eq!(known(&found).in_order(Instant::now()), expected);
        }
    }

    #[test]
    fn the_last_good_one_is_first_and_the_last_bad_one_last() {
        let now = Instant::now();
        let mut known = known(&[address(1), address(2), address(3), address(4)]);
        known.record(address(2), false, now);
        known.record(address(1), false, now + Duration::from_secs(1));
        known.record(address(4), true, now + Duration::from_secs(1));
        let at = |seconds| known.in_order(now + Duration::from_secs(seconds));
        let bad_last = [address(4), address(3), address(2), address(1)];
        assert_eq!(at(1), bad_last);
        assert_eq!(at(29), bad_last);
        let forgotten = [address(4), address(2), address(3), address(1)];
        assert_eq!(at(30), forgotten);
        assert_eq!(at(31), [address(4), address(1), address(2), address(3)]);
    }

    #[test]
    fn a_good_one_that_fails_loses_its_place_at_once() {
        let now = Instant::now();
        let mut known = known(&[address(1), address(2)]);
        known.record(address(2), true, now);
        assert_eq!(known.in_order(now), [address(2), address(1)]);
        known.record(address(2), false, now);
        assert_eq!(known.in_order(now), [address(1), address(2)]);
    }

    #[test]
    fn a_new_answer_keeps_what_is_known_of_the_addresses_that_stay() {
        let now = Instant::now();
        let mut known = known(&[address(1), address(2)]);
        known.record(address(1), false, now);
        known.record(address(9), true, now);
        known.replace(&[address(1), address(3)]);
        assert_eq!(known.in_order(now), [address(3), address(1)]);
    }
}
