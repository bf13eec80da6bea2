//! Spans of OpenTelemetry: whether a request is taken, and what a finished one does to them.

use std::time::Instant;

use super::spooling::Spooling;
use super::{Now, Uploader};
use crate::spool::XRayApi;
use crate::upload::item::{ITEM_MEMORY, Item, ItemBody};
use crate::upload::report;
use crate::upload::response::XRayResponse;
use crate::upload::sender::Finished;
use crate::upload::spans::{Fates, SpanAmount, SpanCounts, SpanReply, SpanRequest, SpanVerdict};

impl Uploader {
    /// A client offers a request. Spans take at most half of the buffer, and nothing that was taken
    /// before is dropped for them: while there is no room, the client keeps them.
    pub(super) fn offered(&mut self, request: SpanRequest, reply: SpanReply, now: Instant) {
        let bytes = request.body.len();
        let limit = self.longest_span_request();
        let verdict = if bytes > limit {
            SpanVerdict::TooLong(limit)
        } else if self.has_room_for_spans(bytes) {
            SpanVerdict::Taken
        } else {
            SpanVerdict::Full
        };
        reply.give(verdict);
        if verdict == SpanVerdict::Taken {
            self.accepted(request, now);
        }
    }

    /// A request is held from now on.
    pub(super) fn accepted(&mut self, request: SpanRequest, now: Instant) {
        let amount = SpanAmount::one(request.spans, request.body.len());
        self.span_counts.count(|fates| &mut fates.accepted, amount);
        let item = Item::of_body(ItemBody::Otlp(request), now);
        self.destinations.otlp.push(item);
        self.report_waiting(now);
    }

    /// Whether there is memory for a request of this many bytes, now and when it is sent.
    pub(super) fn has_room_for_spans(&self, bytes: usize) -> bool {
        // A compressed item takes more memory when it is sent, and that must fit too.
        let waiting = self.destinations.otlp.largest_growth();
        let growth = waiting.max(self.spans_at_the_spool_growth());
        let memory = bytes + ITEM_MEMORY;
        self.memory_of(XRayApi::Otlp) + growth + memory <= self.span_limit()
            && self.buffer_used() + memory <= self.limits.buffer
    }

    /// Bytes of memory of the spans that clients may hand over without waiting for an answer: half of what is
    /// left of half of the buffer, so that it fits, whatever readers hand over meanwhile. During the shutdown, and
    /// while spans wait, each client waits for its own answer.
    pub(super) fn span_credit(&self) -> usize {
        let waits =
            !self.destinations.otlp.is_empty() || self.spans_at_the_spool().next().is_some();
        if waits || self.shutdown.is_some() {
            return 0;
        }
        let in_channel = self.channel.waiting_of(XRayApi::Otlp);
        let of_all = (self.limits.buffer / 2 + in_channel).saturating_sub(self.buffer_used());
        let of_spans =
            (self.span_limit() + in_channel).saturating_sub(self.memory_of(XRayApi::Otlp));
        of_all.min(of_spans) / 2
    }

    /// The most additional bytes of memory that an item on its way to the spool takes when it is
    /// opened.
    pub(super) fn spans_at_the_spool_growth(&self) -> usize {
        let waiting = self.spans_at_the_spool();
        waiting.map(Item::growth).max().unwrap_or(0)
    }

    /// Requests that are held until the spool answers.
    fn spans_at_the_spool(&self) -> impl Iterator<Item = &Item> {
        let waiting = self.spooling.iter().flat_map(Spooling::waiting);
        waiting.filter(|item| item.body.api() == XRayApi::Otlp)
    }

    /// X-Ray has taken a request, but for the spans that it counts.
    pub(super) fn spans_delivered(
        &mut self,
        item: Item,
        response: &XRayResponse,
        finished: &Finished,
        now: Now,
    ) {
        let total = item.documents();
        let partial = response.export.clone().unwrap_or_default();
        let refused = usize::try_from(partial.rejected)
            .unwrap_or(total)
            .min(total);
        let amount = SpanAmount::one(total - refused, item.body.opened_bytes());
        self.span_counts.count(|fates| &mut fates.delivered, amount);
        self.span_counts.spans.refused += refused as u64;
        self.destinations.otlp.delivered(now.instant);
        report::spans_delivered(total, refused, &partial.message, finished.took);
        self.end_copy(item.copy);
    }

    /// X-Ray will never take a request.
    pub(super) fn spans_refused(&mut self, item: &Item) {
        let amount = SpanAmount::one(item.documents(), item.body.opened_bytes());
        self.span_counts.count(|fates| &mut fates.refused, amount);
    }

    /// The end: of the spans that are still held the spool has `kept`. The others are counted and
    /// logged as lost.
    pub(super) fn end_spans(&mut self, held: SpanAmount, kept: SpanAmount) {
        let left = held.without(kept);
        let kept = held.without(left);
        self.span_counts.count(|fates| &mut fates.spooled, kept);
        if left.requests > 0 {
            log::error!(
                "{} spans could not be delivered before the daemon had to stop",
                left.spans
            );
            self.span_counts.count(|fates| &mut fates.dropped, left);
        }
        if self.span_counts != SpanCounts::default() {
            let kept = match self.span_counts.spans.spooled {
                0 => String::new(),
                spans => format!("; {spans} kept for the next start"),
            };
            log::info!("Spans: {}{kept}", self.span_counts);
        }
    }

    /// Spans by fate.
    pub(super) fn span_counts(&self) -> SpanCounts {
        let mut counts = self.span_counts;
        counts.count(|fates: &mut Fates| &mut fates.held, self.spans_held());
        counts
    }

    /// What waits or is in flight.
    pub(super) fn spans_held(&self) -> SpanAmount {
        let mut held = self.destinations.otlp.amount();
        for one in self.senders.in_flight() {
            if one.payload.api() == Some(XRayApi::Otlp) {
                held += SpanAmount::one(one.payload.documents(), one.payload.document_bytes());
            }
        }
        for item in self.spans_at_the_spool() {
            held += SpanAmount::one(item.documents(), item.body.opened_bytes());
        }
        held
    }

    /// The longest request with spans for which there may be room.
    pub(super) fn longest_span_request(&self) -> usize {
        self.span_limit().saturating_sub(ITEM_MEMORY)
    }

    /// Most bytes of memory that spans may take.
    pub(super) fn span_limit(&self) -> usize {
        self.limits.buffer / 2
    }

    /// Bytes of memory that are reserved for segments: spans that X-Ray does not accept must not
    /// affect segments.
    pub(super) fn segment_limit(&self) -> usize {
        self.limits
            .buffer
            .saturating_sub(self.memory_of(XRayApi::Otlp))
    }
}
