//! What waits to be sent, and its way through the uploader.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::copies::CopyRef;
use super::now::Now;
use super::packer::Packer;
use super::sender::Payload;
use super::spans::SpanRequest;
use crate::batch::compressed::CompressedBody;
use crate::batch::{Batch, FULL_BYTES, MAX_DOCUMENTS};
use crate::spool::{BodyKind, SpoolItem, XRayApi};

/// A body and its history. While a request is in flight, its body is the sender's: `Item<()>`.
#[derive(Debug)]
pub(super) struct Item<B = ItemBody> {
    pub body: B,
    /// When the uploader got its oldest document.
    pub(crate) queued_at: Instant,
    /// Set once X-Ray has refused it or part of it.
    pub(crate) history: Option<History>,
    /// For an item from the spool: when its oldest document was received.
    pub received_at: Option<SystemTime>,
    /// Set where it has a copy in the spool, or one on its way there.
    pub(crate) copy: Option<CopyRef>,
}

/// The body of a request, in the form in which it is held.
#[derive(Debug, Clone)]
pub(super) enum ItemBody {
    /// Segments, as they are sent.
    Batch(Batch),
    /// Spans, as they are sent.
    Otlp(SpanRequest),
    /// A body of any kind that has to wait. It is opened before it is sent.
    Compressed {
        body: Arc<CompressedBody>,
        kind: BodyKind,
    },
}

/// What an item takes besides its body, in bytes: its place in a queue that has just grown, and the allocator's
/// own. Without it, requests of a few bytes would take far more memory than they count as.
pub(super) const ITEM_MEMORY: usize = 512;

impl ItemBody {
    /// Bytes of the body in the form in which it is held.
    pub(super) fn bytes(&self) -> usize {
        match self {
            ItemBody::Batch(batch) => batch.body().len(),
            ItemBody::Otlp(request) => request.body.len(),
            ItemBody::Compressed { body, .. } => body.bytes().len(),
        }
    }

    /// Bytes of the request.
    pub(super) fn opened_bytes(&self) -> usize {
        match self {
            ItemBody::Batch(batch) => batch.body().len(),
            ItemBody::Otlp(request) => request.body.len(),
            ItemBody::Compressed { body, .. } => body.body_len(),
        }
    }

    /// Number of documents or spans.
    pub(super) fn documents(&self) -> usize {
        match self {
            ItemBody::Batch(batch) => batch.len(),
            ItemBody::Otlp(request) => request.spans,
            ItemBody::Compressed { body, .. } => body.count(),
        }
    }

    pub(super) fn kind(&self) -> BodyKind {
        match self {
            ItemBody::Batch(_) => BodyKind::Segments,
            ItemBody::Otlp(request) => request.kind(),
            ItemBody::Compressed { kind, .. } => *kind,
        }
    }

    /// Where it is to be sent.
    pub(super) fn api(&self) -> XRayApi {
        self.kind().destination()
    }

    /// Whether it is compressed already.
    pub(super) fn is_compressed(&self) -> bool {
        match self {
            ItemBody::Batch(_) => false,
            ItemBody::Otlp(request) => request.is_gzip,
            ItemBody::Compressed { .. } => true,
        }
    }

    /// The form in which it waits and is stored: compressed, unless a client has done so.
    pub(super) fn compressed(&self, packer: &mut Packer) -> Arc<CompressedBody> {
        match self {
            ItemBody::Batch(batch) => Arc::new(batch.compress(&mut packer.compressor)),
            ItemBody::Otlp(request) => Arc::new(request.clone().compress(&mut packer.compressor)),
            ItemBody::Compressed { body, .. } => Arc::clone(body),
        }
    }

    /// Brings it into the form in which it waits and is stored.
    pub(super) fn compress(&mut self, packer: &mut Packer) {
        let kind = self.kind();
        let body = match self {
            ItemBody::Batch(_) => self.compressed(packer),
            // Without a copy of what gzip has compressed.
            ItemBody::Otlp(request) => Arc::new(request.compress(&mut packer.compressor)),
            ItemBody::Compressed { .. } => return,
        };
        let before = std::mem::replace(self, ItemBody::Compressed { body, kind });
        if let ItemBody::Batch(batch) = before {
            packer.freed.push(batch);
        }
    }

    /// Converts it to the form in which it is sent.
    pub(super) fn open(&mut self) {
        if let ItemBody::Compressed { body, kind } = self {
            *self = opened(body, *kind);
        }
    }

    /// The request that carries it.
    pub(super) fn into_payload(self) -> Payload {
        match self {
            ItemBody::Batch(batch) => Payload::Segments(batch),
            ItemBody::Otlp(request) => Payload::Otlp(request),
            ItemBody::Compressed { body, kind } => opened(&body, kind).into_payload(),
        }
    }

    /// Releases memory that it does not need.
    pub(super) fn shrink(&mut self) {
        if let ItemBody::Batch(batch) = self {
            batch.shrink();
        }
    }

    /// The documents, where they can be told apart.
    pub(super) fn batch(&self) -> Option<&Batch> {
        match self {
            ItemBody::Batch(batch) => Some(batch),
            ItemBody::Otlp(_) | ItemBody::Compressed { .. } => None,
        }
    }
}

fn opened(body: &CompressedBody, kind: BodyKind) -> ItemBody {
    match kind {
        BodyKind::Segments => ItemBody::Batch(
            Batch::from_compressed(body).expect("a body that waits compressed was a batch before"),
        ),
        BodyKind::Otlp { json, gzip } => ItemBody::Otlp(SpanRequest {
            body: Arc::new(body.open()),
            is_json: json,
            is_gzip: gzip,
            spans: body.count(),
            hash: None,
        }),
    }
}

/// The refusals of an item so far. Deliveries are counted by the destination: whether others passed
/// since a refusal tells a bad document from a service that takes nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct History {
    pub(crate) cause: RetryCause,
    /// Refusals of exactly these documents.
    pub attempts: u32,
    /// Deliveries before the first of them.
    pub(crate) first_refusal: u64,
    /// Deliveries before the last of them.
    pub(crate) last_refusal: u64,
    /// Not to be sent before this time.
    pub(crate) not_before: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryCause {
    /// It was answered 400 or 413 without a reason.
    Suspected,
    /// A part of a batch that was refused.
    Split,
    /// X-Ray asked to send these documents of a request again.
    Unprocessed,
    /// The service failed at it several times in a row, and others wait.
    Failed,
}

impl History {
    /// For documents that were not refused by themselves yet. `deliveries` is the current count.
    pub(super) fn new(cause: RetryCause, deliveries: u64, not_before: Instant) -> Self {
        History {
            cause,
            attempts: 0,
            first_refusal: deliveries,
            last_refusal: deliveries,
            not_before,
        }
    }
}

impl Item {
    pub(super) fn new(batch: Batch, now: Instant) -> Self {
        Self::of_body(ItemBody::Batch(batch), now)
    }

    pub(super) fn of_body(body: ItemBody, now: Instant) -> Self {
        Item {
            body,
            queued_at: now,
            history: None,
            received_at: None,
            copy: None,
        }
    }

    /// Bytes of memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.body.bytes() + ITEM_MEMORY
    }

    pub(super) fn documents(&self) -> usize {
        self.body.documents()
    }

    /// Additional bytes of memory that it takes when it is opened to be sent.
    pub(super) fn growth(&self) -> usize {
        self.body.opened_bytes() - self.body.bytes()
    }

    /// Whether it is sent whole or not at all: one document, or a client's request with spans.
    pub(super) fn is_indivisible(&self) -> bool {
        self.documents() < 2 || self.body.kind() != BodyKind::Segments
    }

    /// The first half of the documents and the rest, or the item itself where it cannot be split.
    pub(super) fn split(mut self) -> Split {
        if self.is_indivisible() {
            return Split::Whole(self);
        }
        self.body.open();
        match self.body.batch().map(Batch::split) {
            Some((first, second)) => {
                Split::Halves([first, second].map(|half| self.with_body(ItemBody::Batch(half))))
            }
            None => Split::Whole(self),
        }
    }

    /// Whether one request can carry the documents of both.
    pub(super) fn can_join(&self, next: &Item) -> bool {
        let is_new = |item: &Item| item.copy.is_none() && item.received_at.is_none();
        let kinds = [&self.body, &next.body].map(ItemBody::kind);
        kinds == [BodyKind::Segments; 2]
            && is_new(self)
            && is_new(next)
            && self.documents() + next.documents() <= MAX_DOCUMENTS
            && self.body.opened_bytes() + next.body.opened_bytes() <= FULL_BYTES
    }

    /// Appends the documents of `next`, which is newer. The caller has asked
    /// [`can_join`](Self::can_join).
    pub(super) fn join(&mut self, mut next: Item) {
        self.body.open();
        next.body.open();
        if let (ItemBody::Batch(first), ItemBody::Batch(second)) = (&mut self.body, &next.body) {
            first.append(second);
        }
    }
}

impl<B> Item<B> {
    /// The same with another body.
    pub(super) fn with_body<C>(&self, body: C) -> Item<C> {
        Item {
            body,
            queued_at: self.queued_at,
            history: self.history,
            received_at: self.received_at,
            copy: self.copy.clone(),
        }
    }

    /// What the spool stores of it. Its body, of this kind, is passed in the form in which it is stored.
    pub(super) fn to_spool(
        &self,
        body: Arc<CompressedBody>,
        kind: BodyKind,
        now: Now,
    ) -> SpoolItem {
        // How often X-Ray has refused exactly these documents, as far as a record can say it.
        let attempts = self.history.map_or(0, |history| history.attempts);
        SpoolItem {
            body,
            kind,
            received_at: self.received_at.unwrap_or(now.wall_at(self.queued_at)),
            attempts: u16::try_from(attempts).unwrap_or(u16::MAX),
        }
    }
}

/// The result of splitting an item.
#[derive(Debug)]
pub(super) enum Split {
    Halves([Item; 2]),
    Whole(Item),
}

/// Limits for the next request.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestRoom {
    /// Bytes of its body.
    pub request: usize,
    /// Additional bytes of memory that it may take when it is opened.
    pub(crate) growth: usize,
    /// Whether one item of any size may be sent, because no request is in flight.
    pub is_idle: bool,
}

impl RequestRoom {
    pub(super) fn fits(&self, item: &Item) -> bool {
        let request = item.body.opened_bytes();
        self.is_idle || request <= self.request && item.growth() <= self.growth
    }

    /// The remaining room for others that are joined with the item.
    pub(super) fn without(&self, item: &Item) -> RequestRoom {
        let request = item.body.opened_bytes();
        RequestRoom {
            request: self.request.saturating_sub(request),
            growth: self.growth.saturating_sub(item.growth()),
            is_idle: false,
        }
    }
}
