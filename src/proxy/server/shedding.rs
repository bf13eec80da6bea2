//! Chooses the connection to close when there is no room for another.

use std::time::{Duration, Instant};

use super::connection::{ClientConnection, ConnectionPhase};
use crate::proxy::exchange::Stage;

/// A normal client sends its whole request, or reads its answer, within this time.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// A normal client is never silent for so long while it sends.
const SILENT: Duration = Duration::from_millis(100);

/// The order in which connections are closed: the first of these first, and among equals the one
/// that has been in its state longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It has been refused already.
    Draining,
    /// It sends its request slowly.
    SlowRequest,
    /// It has never sent a request.
    NeverAsked,
    Idle,
    /// It takes its answer slowly.
    SlowAnswer,
}

/// The index of the connection to close first, of those that have been in their state for at least
/// `age`. `None` when all of them are in normal use.
pub(super) fn first_to_go(
    connections: &[ClientConnection],
    age: Duration,
    now: Instant,
) -> Option<usize> {
    let candidates = connections.iter().enumerate().filter_map(|(index, c)| {
        let (rank, since) = rank(c, now)?;
        (now.saturating_duration_since(since) >= age).then_some((rank, since, index))
    });
    candidates.min().map(|(_, _, index)| index)
}

/// The index of the slowest connection that holds memory for an incomplete request.
pub(super) fn slowest_request(connections: &[ClientConnection], now: Instant) -> Option<usize> {
    let slow = connections.iter().enumerate().filter(|(_, c)| {
        let silent = now.saturating_duration_since(c.last_byte) >= SLOW;
        matches!(c.phase, ConnectionPhase::Receiving) && silent
    });
    slow.min_by_key(|(_, c)| c.last_byte)
        .map(|(index, _)| index)
}

/// The index of the one that takes its answer slowest.
pub(super) fn slowest_answer(connections: &[ClientConnection], now: Instant) -> Option<usize> {
    let slow = connections.iter().enumerate().filter_map(|(index, c)| {
        let (rank, since) = rank(c, now)?;
        (rank == Rank::SlowAnswer).then_some((since, index))
    });
    slow.min().map(|(_, index)| index)
}

fn rank(connection: &ClientConnection, now: Instant) -> Option<(Rank, Instant)> {
    let since = connection.since;
    let is_slow = |since: Instant| now.saturating_duration_since(since) >= SLOW;
    match &connection.phase {
        ConnectionPhase::Draining => Some((Rank::Draining, since)),
        ConnectionPhase::Receiving => {
            let silence = now.saturating_duration_since(connection.last_byte);
            (is_slow(since) || silence >= SILENT).then_some((Rank::SlowRequest, since))
        }
        ConnectionPhase::Idle if connection.has_asked => Some((Rank::Idle, since)),
        ConnectionPhase::Idle => Some((Rank::NeverAsked, since)),
        ConnectionPhase::Busy(progress) => match progress.stage() {
            Stage::Writing(began) => is_slow(began).then_some((Rank::SlowAnswer, began)),
            Stage::Asking | Stage::Live => None,
        },
        ConnectionPhase::Waiting(_) => None,
    }
}
