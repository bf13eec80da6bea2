//! What waits to be sent, and its way through the uploader.

use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::copies::CopyRef;
use super::packer::Packer;
use super::sender::Payload;
use super::spans::SpanRequest;
use crate::batch::compressed::CompressedBody;
use crate::batch::{Batch, FULL_BYTES, MAX_DOCUMENTS};
use crate::spool::{BodyKind, XRayApi};

/// A body and its history.
#[derive(Debug)]
pub(super) struct Item {
    pub body: Body,
    /// When the uploader got its oldest document.
    pub queued_at: Instant,
    /// Set once X-Ray has refused it or part of it.
    pub history: Option<History>,
    /// When its oldest document was received, if that is not known by `queued_at`: it was read from the
    /// spool.
    pub received_at: Option<SystemTime>,
    /// Set where it has a copy in the spool, or one on its way there.
    pub copy: Option<CopyRef>,
}

/// The body of a request, in the form in which it is held.
#[derive(Debug, Clone)]
pub(super) enum Body {
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

impl Body {
    /// Bytes of memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Body::Batch(batch) => batch.body().len(),
            Body::Otlp(request) => request.body.len(),
            Body::Compressed { body, .. } => body.bytes().len(),
        }
    }

    /// Bytes of the request.
    pub(super) fn opened_bytes(&self) -> usize {
        match self {
            Body::Batch(batch) => batch.body().len(),
            Body::Otlp(request) => request.body.len(),
            Body::Compressed { body, .. } => body.body_len(),
        }
    }

    /// Number of documents or spans.
    pub(super) fn documents(&self) -> usize {
        match self {
            Body::Batch(batch) => batch.len(),
            Body::Otlp(request) => request.spans,
            Body::Compressed { body, .. } => body.count(),
        }
    }

    pub(super) fn kind(&self) -> BodyKind {
        match self {
            Body::Batch(_) => BodyKind::Segments,
            Body::Otlp(request) => request.kind(),
            Body::Compressed { kind, .. } => *kind,
        }
    }

    /// Where it is to be sent.
    pub(super) fn api(&self) -> XRayApi {
        self.kind().destination()
    }

    /// Whether it cannot be made shorter.
    pub(super) fn is_compressed(&self) -> bool {
        match self {
            Body::Batch(_) => false,
            Body::Otlp(request) => request.is_gzip,
            Body::Compressed { .. } => true,
        }
    }

    /// Brings it into the form in which it waits and is stored: compressed, unless a client has done so.
    pub(super) fn compress(&mut self, packer: &mut Packer) {
        let kind = self.kind();
        let compressed = match self {
            Body::Batch(batch) => batch.compress(&mut packer.compressor),
            Body::Otlp(request) => request.compress(&mut packer.compressor),
            Body::Compressed { .. } => return,
        };
        let body = Arc::new(compressed);
        let before = std::mem::replace(self, Body::Compressed { body, kind });
        if let Body::Batch(batch) = before {
            packer.freed.push(batch);
        }
    }

    /// Brings it into the form in which it is sent.
    pub(super) fn open(&mut self) {
        if let Body::Compressed { body, kind } = self {
            *self = opened(body, *kind);
        }
    }

    /// The request that carries it.
    pub(super) fn into_payload(self) -> Payload {
        match self {
            Body::Batch(batch) => Payload::Segments(batch),
            Body::Otlp(request) => Payload::Otlp(request),
            Body::Compressed { body, kind } => opened(&body, kind).into_payload(),
        }
    }

    /// Gives back the memory that it does not need.
    pub(super) fn shrink(&mut self) {
        if let Body::Batch(batch) = self {
            batch.shrink();
        }
    }

    /// The documents, where they can be told apart.
    pub(super) fn batch(&self) -> Option<&Batch> {
        match self {
            Body::Batch(batch) => Some(batch),
            Body::Otlp(_) | Body::Compressed { .. } => None,
        }
    }
}

fn opened(body: &CompressedBody, kind: BodyKind) -> Body {
    match kind {
        BodyKind::Segments => Body::Batch(
            Batch::from_compressed(body).expect("a body that waits compressed was a batch before"),
        ),
        BodyKind::Otlp { json, gzip } => Body::Otlp(SpanRequest {
            body: body.open().into_boxed_slice(),
            is_json: json,
            is_gzip: gzip,
            spans: body.count(),
        }),
    }
}

/// How an item has fared so far. Deliveries are counted by the destination: whether others passed
/// since a refusal tells a bad document from a service that takes nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct History {
    pub cause: RetryCause,
    /// Refusals of exactly these documents.
    pub attempts: u32,
    /// Deliveries before the first of them.
    pub first_refusal: u64,
    /// Deliveries before the last of them.
    pub last_refusal: u64,
    /// Not to be sent before this time.
    pub not_before: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryCause {
    /// The answer to it was 400 or 413 and did not say why.
    Suspected,
    /// A part of a batch that was refused.
    Split,
    /// X-Ray asked to send these documents of a request again.
    Unprocessed,
    /// The service failed at it several times in a row, and others wait.
    Failed,
}

impl History {
    /// Of documents that were not refused alone yet. `deliveries` is the count of now.
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
        Self::of_body(Body::Batch(batch), now)
    }

    pub(super) fn of_body(body: Body, now: Instant) -> Self {
        Item {
            body,
            queued_at: now,
            history: None,
            received_at: None,
            copy: None,
        }
    }

    /// The same with other documents.
    pub(super) fn with_body(&self, body: Body) -> Self {
        Item {
            body,
            queued_at: self.queued_at,
            history: self.history,
            received_at: self.received_at,
            copy: self.copy.clone(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.body.bytes()
    }

    pub(super) fn documents(&self) -> usize {
        self.body.documents()
    }

    /// Bytes of memory that it takes more when it is sent.
    pub(super) fn growth(&self) -> usize {
        self.body.opened_bytes() - self.bytes()
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
                Split::Halves([first, second].map(|half| self.with_body(Body::Batch(half))))
            }
            None => Split::Whole(self),
        }
    }

    /// Whether one request can carry the documents of both.
    pub(super) fn can_join(&self, next: &Item) -> bool {
        let is_new = |item: &Item| item.copy.is_none() && item.received_at.is_none();
        let kinds = [&self.body, &next.body].map(Body::kind);
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
        if let (Body::Batch(first), Body::Batch(second)) = (&mut self.body, &next.body) {
            first.append(second);
        }
    }
}

/// What becomes of an item that is to be split.
#[derive(Debug)]
pub(super) enum Split {
    Halves([Item; 2]),
    Whole(Item),
}

/// How much several items take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Bytes of memory.
    pub bytes: usize,
    /// Those of them that are not compressed.
    pub plain: usize,
    pub documents: usize,
    pub items: usize,
    /// Bytes of the requests.
    pub opened: usize,
}

impl Sizes {
    fn of(item: &Item) -> Self {
        let bytes = item.bytes();
        Sizes {
            bytes,
            plain: if item.body.is_compressed() { 0 } else { bytes },
            documents: item.documents(),
            items: 1,
            opened: item.body.opened_bytes(),
        }
    }
}

impl AddAssign<&Item> for Sizes {
    fn add_assign(&mut self, item: &Item) {
        let one = Sizes::of(item);
        self.bytes += one.bytes;
        self.plain += one.plain;
        self.documents += one.documents;
        self.items += one.items;
        self.opened += one.opened;
    }
}

impl SubAssign<&Item> for Sizes {
    fn sub_assign(&mut self, item: &Item) {
        let one = Sizes::of(item);
        self.bytes -= one.bytes;
        self.plain -= one.plain;
        self.documents -= one.documents;
        self.items -= one.items;
        self.opened -= one.opened;
    }
}

/// How much the next request may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Bytes of its body.
    pub request: usize,
    /// Bytes of memory above those that it has taken while it waited.
    pub growth: usize,
    /// Whether one item goes out whatever it takes, because no request is out.
    pub is_idle: bool,
}

impl Room {
    pub(super) fn fits(&self, item: &Item) -> bool {
        let request = item.body.opened_bytes();
        self.is_idle || request <= self.request && item.growth() <= self.growth
    }

    /// What is left for others that are joined with the item.
    pub(super) fn without(&self, item: &Item) -> Room {
        let request = item.body.opened_bytes();
        Room {
            request: self.request.saturating_sub(request),
            growth: self.growth.saturating_sub(item.growth()),
            is_idle: false,
        }
    }
}
