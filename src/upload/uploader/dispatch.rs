//! What goes out, when, and on which sender.

use std::sync::Arc;
use std::time::Instant;

use super::{Action, Now, Uploader};
use crate::upload::item::Item;
use crate::upload::sender::Payload;
use crate::upload::sender_pool::{Choice, InFlight, Load};

impl Uploader {
    /// Sends what may go now.
    pub(super) fn dispatch(&mut self, now: Now) {
        while self
            .next_request(now.instant)
            .is_some_and(|at| at <= now.instant)
            && let Some(sender) = self.chosen_sender(now.instant)
            && let Some((credentials, generation)) = self.usable_credentials()
        {
            let credentials = credentials.clone();
            let (load, payload) = match self.telemetry_body.take() {
                Some(body) => (Load::Telemetry, Payload::Telemetry(body)),
                None => match self.next_item(now.instant) {
                    Some(item) => (
                        Load::Segments {
                            queued_at: item.queued_at,
                            history: item.history,
                        },
                        Payload::Segments(item.batch),
                    ),
                    None => return,
                },
            };
            let payload = Arc::new(payload);
            let in_flight = InFlight {
                load,
                payload: Arc::clone(&payload),
                epoch: self.segments.back_off.epoch(),
                generation,
                since: now.instant,
            };
            self.senders.send(sender, in_flight);
            self.actions.push(Action::Send {
                sender,
                payload,
                credentials,
            });
        }
    }

    /// What goes out next, while it fits: requests in flight take at most half of the buffer.
    fn next_item(&mut self, now: Instant) -> Option<Item> {
        let item = self.segments.pop(now)?;
        let in_flight = self.bytes_in_flight();
        if in_flight > 0 && in_flight + item.bytes() > self.limits.buffer / 2 {
            self.segments.requeue(item);
            return None;
        }
        Some(item)
    }

    /// When the next request may go out, if a sender is free. `None`: not before something happens.
    pub(super) fn next_request(&self, now: Instant) -> Option<Instant> {
        self.target.as_ref()?;
        self.usable_credentials()?;
        let in_flight = self.senders.in_flight().count();
        // Telemetry never goes out as a probe.
        if self.telemetry_body.is_some() && self.segments.back_off.is_healthy() {
            return Some(self.renewal_wait.unwrap_or(now));
        }
        let at = self.segments.next_time(in_flight, now)?;
        Some(self.renewal_wait.map_or(at, |end| at.max(end)))
    }

    pub(super) fn chosen_sender(&self, now: Instant) -> Option<Choice> {
        let is_crowded = self.segments.is_crowded() || self.telemetry_body.is_some();
        self.senders.choose(is_crowded, now)
    }

    pub(super) fn drop_oldest(&mut self) {
        let mut dropped = 0;
        while self.buffer_used() > self.limits.buffer
            && let Some(documents) = self.segments.drop_oldest()
        {
            dropped += documents;
        }
        if dropped > 0 {
            self.counts.spilled += dropped as u64;
            self.segments.outage.spilled(dropped);
        }
    }
}
