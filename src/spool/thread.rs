//! The thread that does all the disk I/O.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use super::state::Spool;
use super::{SpoolEvent, SpoolMessage, SpoolSettings};

/// Does what the messages say until nobody can send any more. `events` must not block: it is called
/// between two of them.
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
                spool.synchronise(Instant::now());
                spool.report.log_all_losses();
                return;
            }
        }
        spool.tick(Instant::now());
        spool.take_events().into_iter().for_each(&events);
    }
}
