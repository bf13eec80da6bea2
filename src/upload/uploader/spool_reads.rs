//! When the spool is read, for which API, and how much of it.

use std::time::{Duration, Instant};

use super::spooling::Spooling;
use super::{Now, Uploader};
use crate::spool::{SpoolMessage, XRayApi};

/// Compressed bytes that were read from the spool and wait to be sent: enough for all senders.
const RESTORE_WINDOW: usize = 1024 * 1024;

/// After a read has found nothing, or there was no room for what was read, the spool is read again
/// after this time.
const READ_PAUSE: Duration = Duration::from_secs(1);

impl Spooling {
    /// Nothing is read for this API for a moment.
    pub(super) fn pause_reads(&mut self, api: XRayApi, now: Instant) {
        self.read_at.insert(api, now + READ_PAUSE);
    }
}

impl Uploader {
    fn restore_window(&self) -> usize {
        RESTORE_WINDOW.min(self.limits.buffer / 8)
    }

    /// When the spool may be read, for which API, and how many bytes of it. `None`: not before
    /// something happens. There is one `Read` at a time; where both may be read, they take turns.
    pub(super) fn next_read(&self, now: Instant) -> Option<(Instant, XRayApi, usize)> {
        let spooling = self.spooling.as_ref()?;
        let may_read = self.shutdown.is_none() && !spooling.copies.is_reading() && self.can_sign();
        let apis = match spooling.last_read {
            XRayApi::Segments => [XRayApi::Otlp, XRayApi::Segments],
            XRayApi::Otlp => [XRayApi::Segments, XRayApi::Otlp],
        };
        let next = |api| {
            let (at, max_bytes) = self.next_read_of(spooling, api, now)?;
            Some((at.max(now), api, max_bytes))
        };
        let reads = apis.into_iter().filter_map(next);
        reads.min_by_key(|(at, ..)| *at).filter(|_| may_read)
    }

    fn next_read_of(
        &self,
        spooling: &Spooling,
        api: XRayApi,
        now: Instant,
    ) -> Option<(Instant, usize)> {
        if !self.is_any_spooled(api) {
            return None;
        }
        let not_before = spooling.read_at.get(&api).copied().unwrap_or(now);
        let destination = self.destinations.of(api);
        if destination.back_off.is_healthy() {
            let (window, waits) = (self.restore_window(), destination.restored_bytes());
            let has_room =
                waits <= window / 2 && self.memory_of(api) <= self.memory_limit_of(api) / 2;
            return has_room.then(|| (not_before, window - waits));
        }
        // Where nothing else waits, one record is the next probe.
        let is_alone = destination.is_empty() && self.requests_in_flight(api) == 0;
        let probe = destination.back_off.next(0, now).filter(|_| is_alone)?;
        Some((probe.max(not_before), 1))
    }

    /// Reads from the spool as long as X-Ray accepts requests, in addition to new items.
    pub(super) fn read_spool(&mut self, now: Now) {
        let next = self.next_read(now.instant);
        let Some((_, api, max_bytes)) = next.filter(|(at, ..)| *at <= now.instant) else {
            return;
        };
        if let Some(spooling) = &mut self.spooling {
            spooling.last_read = api;
            spooling.copies.read_begins();
            self.tell_spool(SpoolMessage::Read {
                destination: api,
                max_bytes,
                not_before: now.wall - api.max_age(),
            });
        }
    }
}
