//! Which connection has to go when there is no room for another.

use std::time::{Duration, Instant};

use super::connection::{Connection, Phase};
use crate::proxy::exchange::Stage;

/// An honest client is done within this: it sends its request whole, and takes its answer.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// And while it sends, it is never silent for so long.
const SILENT: Duration = Duration::from_millis(100);

/// How soon a connection goes: the first of these first, among equals the one that is so longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It has been told already that it is closed.
    Lingering,
    /// It sends its request slowly.
    SlowRequest,
    /// It has never asked for anything.
    NeverAsked,
    Idle,
    /// It takes its answer slowly.
    SlowAnswer,
}

/// The index of the connection that goes first, of those that are as they are for at least `age`.
/// `None` when all of them do what they came for.
pub(super) fn first_to_go(
    connections: &[Connection],
    age: Duration,
    now: Instant,
) -> Option<usize> {
    let candidates = connections.iter().enumerate().filter_map(|(index, c)| {
        let (rank, since) = rank(c, now)?;
        (now.saturating_duration_since(since) >= age).then_some((rank, since, index))
    });
    candidates.min().map(|(_, _, index)| index)
}

/// The index of the slowest of those that hold memory for a request which does not come on.
pub(super) fn slowest_request(connections: &[Connection], now: Instant) -> Option<usize> {
    let slow = connections.iter().enumerate().filter(|(_, c)| {
        let silent = now.saturating_duration_since(c.last_byte) >= SLOW;
        matches!(c.phase, Phase::Receiving) && silent
    });
    slow.min_by_key(|(_, c)| c.last_byte)
        .map(|(index, _)| index)
}

/// The index of the one that takes its answer slowest.
pub(super) fn slowest_answer(connections: &[Connection], now: Instant) -> Option<usize> {
    let slow = connections.iter().enumerate().filter_map(|(index, c)| {
        let (rank, since) = rank(c, now)?;
        (rank == Rank::SlowAnswer).then_some((since, index))
    });
    slow.min().map(|(_, index)| index)
}

fn rank(connection: &Connection, now: Instant) -> Option<(Rank, Instant)> {
    let since = connection.since;
    let is_slow = |since: Instant| now.saturating_duration_since(since) >= SLOW;
    match &connection.phase {
        Phase::Lingering => Some((Rank::Lingering, since)),
        Phase::Receiving => {
            let silence = now.saturating_duration_since(connection.last_byte);
            (is_slow(since) || silence >= SILENT).then_some((Rank::SlowRequest, since))
        }
        Phase::Idle if connection.has_asked => Some((Rank::Idle, since)),
        Phase::Idle => Some((Rank::NeverAsked, since)),
        Phase::Busy(progress) => match progress.stage() {
            Stage::Writing(began) => is_slow(began).then_some((Rank::SlowAnswer, began)),
            Stage::Asking | Stage::Live => None,
        },
        Phase::Waiting(_) => None,
    }
}
