//! Decides what is sent, when, and on which sender.

use std::sync::Arc;
use std::time::Instant;

use super::{Action, Now, Uploader};
use crate::spool::XRayApi;
use crate::upload::item::{Item, RequestRoom};
use crate::upload::sender::Payload;
use crate::upload::sender_pool::{Choice, InFlight, Load};

impl Uploader {
    /// Sends everything that may be sent now.
    pub(super) fn dispatch(&mut self, now: Now) {
        // Unsent items go to the spool then.
        if self.spooling.is_some()
            && self
                .shutdown
                .is_some_and(|shutdown| now.instant >= shutdown.deadline)
        {
            return;
        }
        while let Some((at, api)) = self.next_request(now.instant)
            && at <= now.instant
            && let Some(sender) = self.chosen_sender(api, now.instant)
            && let Some((credentials, generation)) = self.usable_credentials()
        {
            let credentials = credentials.clone();
            let telemetry = match self.may_send_telemetry() {
                true => self.telemetry_body.take(),
                false => None,
            };
            let (load, payload) = match telemetry {
                Some(body) => (Load::Telemetry, Payload::Telemetry(body)),
                None => match self.next_item(api, now.instant) {
                    Some((item, growth)) => (
                        Load::Documents {
                            item: item.with_body(()),
                            growth,
                        },
                        item.body.into_payload(),
                    ),
                    None => return,
                },
            };
            let payload = Arc::new(payload);
            let in_flight = InFlight {
                load,
                payload: Arc::clone(&payload),
                epoch: self.destinations.of(api).back_off.epoch(),
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

    /// What goes out next to this API, while it fits: requests in flight take at most half of the
    /// buffer, and nothing is dropped so that a further request can be opened. And the bytes of memory that
    /// it takes more than before.
    fn next_item(&mut self, api: XRayApi, now: Instant) -> Option<(Item, usize)> {
        let in_flight = self.bytes_in_flight();
        let free = self.limits.buffer.saturating_sub(self.buffer_used());
        let room = RequestRoom {
            request: (self.limits.buffer / 2).saturating_sub(in_flight),
            growth: match api {
                XRayApi::Segments => free,
                XRayApi::Otlp => free.min(
                    self.span_limit()
                        .saturating_sub(self.memory_of(XRayApi::Otlp)),
                ),
            },
            // A request that hangs at one API must not keep those of another.
            is_idle: self.requests_in_flight(api) == 0,
        };
        let destination = self.destinations.of_mut(api);
        let waited = destination.bytes();
        if let Some(item) = destination.pop(room, now) {
            let growth = (destination.bytes() + item.bytes()).saturating_sub(waited);
            return Some((item, growth));
        }
        let is_due = self.next_overdue(api).is_some_and(|at| at <= now);
        let copies = &mut self.spooling.as_mut().filter(|_| is_due)?.copies;
        let item = copies.pop(api)?;
        if room.fits(&item) {
            let growth = item.growth();
            return Some((item, growth));
        }
        copies.put_away(item);
        None
    }

    /// When the next request may go out, if a sender is free, and to which API. `None`: not before
    /// something happens.
    pub(super) fn next_request(&self, now: Instant) -> Option<(Instant, XRayApi)> {
        if !self.can_sign() {
            return None;
        }
        if self.may_send_telemetry() {
            return Some((self.renewal_wait.unwrap_or(now), XRayApi::Segments));
        }
        let next = |api| {
            let in_flight = self.requests_in_flight(api);
            if in_flight >= self.limits.in_flight(api) {
                return None;
            }
            let at = self.destinations.of(api).next_time(in_flight, now);
            let overdue = self.next_overdue(api).map(|at| at.max(now));
            Some((at.into_iter().chain(overdue).min()?, in_flight, api))
        };
        // Where both may go, the one with fewer requests out.
        let (at, _, api) = XRayApi::ALL.into_iter().filter_map(next).min()?;
        Some((self.renewal_wait.map_or(at, |end| at.max(end)), api))
    }

    /// Whether a telemetry call is the next request. It counts as one with segments, and is never sent as
    /// a probe.
    fn may_send_telemetry(&self) -> bool {
        let api = XRayApi::Segments;
        self.telemetry_body.is_some()
            && self.destinations.of(api).back_off.is_healthy()
            && self.requests_in_flight(api) < self.limits.in_flight(api)
    }

    /// When an item may go out that waits until the spool has stored it.
    fn next_overdue(&self, api: XRayApi) -> Option<Instant> {
        let spooling = self.spooling.as_ref()?;
        if self.cannot_send(api) {
            return None;
        }
        spooling.copies.overdue(api, self.shutdown.is_some())
    }

    /// Requests in flight to this API. Telemetry counts as segments.
    pub(super) fn requests_in_flight(&self, api: XRayApi) -> usize {
        let in_flight = self.senders.in_flight();
        in_flight
            .filter(|one| one.payload.api().unwrap_or(XRayApi::Segments) == api)
            .count()
    }

    /// The sender of the next request, which goes to this API.
    pub(super) fn chosen_sender(&self, api: XRayApi, now: Instant) -> Option<Choice> {
        if self.requests_in_flight(api) >= self.limits.in_flight(api) {
            return None;
        }
        // While the requests to one API take long, those to another have a sender of their own.
        let is_crowded = self.telemetry_body.is_some()
            || self.requests_in_flight(api) == 0
            || self
                .destinations
                .iter()
                .any(|destination| destination.is_crowded());
        self.senders.choose(is_crowded, now)
    }

    /// Drops the oldest segments while more is held than may be. What a request in flight takes more
    /// since it was opened is forgiven: one request may always go out, and must cost no other. What comes
    /// back from there is compressed again instead.
    pub(super) fn drop_oldest(&mut self) {
        let mut dropped = 0;
        let limit = self.limits.buffer + self.growth_in_flight();
        while self.buffer_used() > limit {
            if self.compress_front() {
                continue;
            }
            let Some(item) = self.destinations.segments.pop_oldest() else {
                break;
            };
            dropped += item.documents();
            self.end_copy(item.copy);
        }
        if dropped > 0 {
            self.counts.spilled += dropped as u64;
            self.destinations.segments.outage.spilled();
        }
    }

    /// Makes room by compressing one of the oldest bodies. Returns whether one was plain.
    fn compress_front(&mut self) -> bool {
        let packer = self.packer.get_or_insert_default();
        let mut destinations = self.destinations.iter_mut();
        destinations.any(|destination| destination.compress_front(packer))
    }

    /// Bytes that requests in flight take more than they took compressed.
    pub(super) fn growth_in_flight(&self) -> usize {
        let growth = self.senders.in_flight().map(|one| match one.load {
            Load::Documents { growth, .. } => growth,
            Load::Telemetry => 0,
        });
        growth.sum()
    }

    /// Compresses bodies that have to wait, oldest first: those of an API that takes nothing at this
    /// moment, and all when half of their part of the buffer is used. Nothing else is done meanwhile, so only some
    /// are compressed at a time; more of them come with every event than new ones do.
    pub(super) fn compress_waiting(&mut self) {
        let keep = KEPT_PLAIN.min(self.limits.buffer / 8);
        let mut left = COMPRESSED_AT_ONCE;
        let mut has_to_wait = false;
        for api in XRayApi::ALL {
            let is_scarce = self.memory_of(api) > self.memory_limit_of(api) / 2;
            let has_to_wait_now = is_scarce || self.cannot_send(api);
            let destination = self.destinations.of_mut(api);
            if destination.is_empty() || !has_to_wait_now {
                continue;
            }
            has_to_wait = true;
            let packer = self.packer.get_or_insert_default();
            while left > 0 && destination.compress_oldest(keep, packer) {
                left -= 1;
            }
        }
        if !has_to_wait {
            self.packer = None;
        }
    }
}

/// Bytes of the newest bodies that stay as they are although they have to wait: new documents join
/// them.
const KEPT_PLAIN: usize = 256 * 1024;

/// Most bodies that are compressed at a time: about half a millisecond.
const COMPRESSED_AT_ONCE: usize = 8;
