//! The thread that does all the disk I/O.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use super::state::Spool;
use super::{SpoolEvent, SpoolMessage, SpoolSettings};

/// Handles messages until all senders are dropped. `events` must not block, because it is called on
/// this thread.
pub(crate) fn run(
    settings: SpoolSettings,
    messages: &Receiver<SpoolMessage>,
    events: impl Fn(SpoolEvent),
) {
    let mut spool = Spool::new(settings);
    loop {
        let message = match spool.next_deadline() {
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => messages.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match message {
            Ok(message) => spool.handle(message, Instant::now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let now = Instant::now();
                spool.synchronise(now);
                spool.report.log_losses(now, true);
                return;
            }
        }
        spool.tick(Instant::now());
        spool.take_events().into_iter().for_each(&events);
    }
}
