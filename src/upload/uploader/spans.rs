//! Spans of OpenTelemetry: whether a request is taken, and what a finished one does to them.

use std::time::Instant;

use super::{Now, Uploader};
use crate::spool::XRayApi;
use crate::upload::item::{Body, Item};
use crate::upload::report;
use crate::upload::response::XRayResponse;
use crate::upload::sender::Finished;
use crate::upload::spans::{Amount, Fates, SpanCounts, SpanOffer, SpanVerdict};

impl Uploader {
    /// A client offers a request. Spans take at most half of the buffer, and nothing that was taken
    /// before is dropped for them: while there is no room, the client keeps them.
    pub(super) fn offered(&mut self, offer: SpanOffer, now: Instant) {
        let SpanOffer { request, reply } = offer;
        let bytes = request.body.len();
        let limit = self.span_limit();
        // What waits is shorter than when it is sent, which must fit too.
        let growth = self.destinations.otlp.largest_growth();
        let verdict = if bytes > limit {
            SpanVerdict::TooLong(limit)
        } else if self.span_memory() + growth + bytes > limit
            || self.buffer_used() + self.span_reserve() + bytes > self.limits.buffer
        {
            SpanVerdict::Full
        } else {
            SpanVerdict::Taken
        };
        // Whoever does not learn that it was taken sends it again.
        if reply.try_send(verdict).is_err() || verdict != SpanVerdict::Taken {
            return;
        }
        let amount = Amount::one(request.spans, bytes);
        self.span_counts.count(|fates| &mut fates.accepted, amount);
        let item = Item::of_body(Body::Otlp(request), now);
        self.destinations.otlp.push(item);
        self.report_waiting(now);
    }

    /// X-Ray has taken a request, but for the spans that it counts.
    pub(super) fn spans_delivered(
        &mut self,
        item: &Item,
        response: &XRayResponse,
        finished: &Finished,
        now: Now,
    ) {
        let total = item.documents();
        let partial = response.export.clone().unwrap_or_default();
        let refused = usize::try_from(partial.rejected)
            .unwrap_or(total)
            .min(total);
        let amount = Amount::one(total - refused, item.body.opened_bytes());
        self.span_counts.count(|fates| &mut fates.delivered, amount);
        self.span_counts.spans.refused += refused as u64;
        self.destinations.otlp.delivered(now.instant);
        report::spans_delivered(total, refused, &partial.message, finished.took);
    }

    /// X-Ray will never take a request.
    pub(super) fn spans_refused(&mut self, item: &Item) {
        let amount = Amount::one(item.documents(), item.body.opened_bytes());
        self.span_counts.count(|fates| &mut fates.refused, amount);
    }

    /// The end: spans that are still held are lost, and said to be.
    pub(super) fn drop_spans(&mut self) {
        let left = self.spans_held();
        if left.requests > 0 {
            log::error!(
                "{} spans could not be delivered before the daemon had to stop",
                left.spans
            );
            self.span_counts.count(|fates| &mut fates.dropped, left);
        }
        if self.span_counts != SpanCounts::default() {
            log::info!("Spans: {}", self.span_counts);
        }
    }

    /// Spans by fate.
    pub(super) fn span_counts(&self) -> SpanCounts {
        let mut counts = self.span_counts;
        counts.count(|fates: &mut Fates| &mut fates.held, self.spans_held());
        counts
    }

    /// What waits or is in flight.
    pub(super) fn spans_held(&self) -> Amount {
        let mut held = self.destinations.otlp.amount();
        for one in self.senders.in_flight() {
            if one.payload.api() == Some(XRayApi::Otlp) {
                held += Amount::one(one.payload.documents(), one.payload.document_bytes());
            }
        }
        held
    }

    /// Most bytes of memory that spans may take.
    pub(super) fn span_limit(&self) -> usize {
        self.limits.buffer / 2
    }

    /// Bytes of memory that spans leave to segments: spans that nobody takes must not change what is
    /// done with segments.
    pub(super) fn segment_limit(&self) -> usize {
        self.limits.buffer.saturating_sub(self.span_memory())
    }

    /// Bytes of memory of segments.
    pub(super) fn segment_memory(&self) -> usize {
        self.buffer_used().saturating_sub(self.span_memory())
    }

    /// Bytes of memory of what waits or is in flight.
    pub(super) fn span_memory(&self) -> usize {
        let in_flight = self.senders.in_flight();
        let in_flight = in_flight.filter(|one| one.payload.api() == Some(XRayApi::Otlp));
        let in_flight: usize = in_flight.map(|one| one.payload.document_bytes()).sum();
        self.destinations.otlp.bytes() + in_flight
    }
}
