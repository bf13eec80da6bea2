//! What the uploader reports about itself: counts, metrics and health.

use std::time::Instant;

use super::Uploader;
use super::spooling::Spooling;
use crate::spool::XRayApi;
use crate::upload::counters::SegmentCounts;
use crate::upload::health::Health;
use crate::upload::item::Item;
use crate::upload::metrics::{Snapshot, SpoolMetrics};
use crate::upload::sender_pool::InFlight;

impl Uploader {
    /// Segments by fate, without what readers have not handed over.
    pub(crate) fn counts(&self) -> SegmentCounts {
        SegmentCounts {
            held: self.held(),
            ..self.counts
        }
    }

    /// All counters and states at this moment.
    pub(crate) fn snapshot(&self, now: Instant) -> Snapshot {
        let credentials = self.credentials.as_ref();
        Snapshot {
            segments: self.counts(),
            spans: self.span_counts(),
            metrics: self.metrics.clone(),
            senders: self.senders.count(),
            buffer_used: self.buffer_used(),
            buffer_limit: self.limits.buffer,
            credentials: credentials
                .map(|snapshot| snapshot.status.clone())
                .unwrap_or_default(),
            outage: self.outage_since().map(|since| now - since),
            spool: self.spooling.as_ref().map(|spooling| SpoolMetrics {
                works: spooling.problem.is_none(),
                ..spooling.metrics
            }),
        }
    }

    /// Whether uploads go on.
    pub(crate) fn health(&self, now: Instant) -> Health {
        let mut health = Health::default();
        let waits = self.destinations.iter().any(|one| !one.is_empty());
        if waits && self.senders.all_overdue(now) {
            health.problem = Some("every request to X-Ray hangs while segments wait".to_owned());
            return health;
        }
        let outages = self.destinations.iter().map(|one| &one.outage);
        health
            .notes
            .extend(outages.filter_map(|outage| outage.note(now)));
        let status = self.credentials.as_ref().map(|snapshot| &snapshot.status);
        if let Some(status) = status
            && let (Some(since), Some(error)) = (status.missing_since, &status.error)
            && !health.notes.iter().any(|note| note.contains(error))
        {
            // With nothing to upload, calls by TCP cannot be signed all the same.
            let seconds = (now - since).as_secs_f64();
            health
                .notes
                .push(format!("no AWS credentials for {seconds:.0} s ({error})"));
        }
        if let Some(problem) = self.spooling.as_ref().and_then(|one| one.problem.as_ref()) {
            health.notes.push(problem.clone());
        }
        match self.senders.overdue(now) {
            0 => {}
            n => health.notes.push(format!("{n} requests to X-Ray hang")),
        }
        health
    }

    /// When the longest of the current outages began.
    fn outage_since(&self) -> Option<Instant> {
        let outages = self.destinations.iter().map(|one| one.outage.since());
        outages.flatten().min()
    }

    /// Segments that wait or are in flight.
    pub(super) fn held(&self) -> u64 {
        let in_flight = self.senders.in_flight();
        let in_flight: usize = in_flight
            .filter(|one| one.payload.api() == Some(XRayApi::Segments))
            .map(|one| one.payload.documents())
            .sum();
        let spooling: usize = self
            .spooling
            .iter()
            .flat_map(Spooling::waiting)
            .filter(|item| item.body.api() == XRayApi::Segments)
            .map(Item::documents)
            .sum();
        (self.destinations.segments.documents() + in_flight + spooling) as u64
    }

    pub(super) fn bytes_in_flight(&self) -> usize {
        self.senders.in_flight().map(InFlight::memory).sum()
    }

    /// Bytes of memory of what is held for this API: in the channel, waiting, in flight, or on its way to or
    /// from the spool.
    pub(super) fn memory_of(&self, api: XRayApi) -> usize {
        let in_flight = self.senders.in_flight();
        let in_flight = in_flight.filter(|one| one.payload.api() == Some(api));
        let in_flight: usize = in_flight.map(InFlight::memory).sum();
        let spooling = self.spooling.as_ref().map_or(0, |one| one.bytes_of(api));
        self.channel.waiting_of(api) + self.destinations.of(api).bytes() + in_flight + spooling
    }

    pub(super) fn buffer_used(&self) -> usize {
        XRayApi::ALL
            .into_iter()
            .map(|api| self.memory_of(api))
            .sum()
    }

    /// Segments or spans that wait or are in flight.
    pub(super) fn held_of(&self, api: XRayApi) -> u64 {
        match api {
            XRayApi::Segments => self.held(),
            XRayApi::Otlp => self.spans_held().spans,
        }
    }
}
