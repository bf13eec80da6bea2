//! Requests with spans of OpenTelemetry: what a client hands over, and how each of them ends.

use std::fmt;
use std::ops::AddAssign;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::aws::sigv4::BodyToSign;
use crate::batch::compressed::{CompressedBody, Compressor};
use crate::spool::{self, BodyKind};

/// A request with spans, byte for byte as it was received.
#[derive(Clone, PartialEq, Eq)]
pub struct SpanRequest {
    /// The body, shared with the request that it came in.
    pub body: Arc<Vec<u8>>,
    /// Whether it is JSON rather than protobuf.
    pub is_json: bool,
    /// Whether it is compressed by gzip.
    pub(crate) is_gzip: bool,
    /// Its spans.
    pub spans: usize,
    /// The SHA-256 of the body. The thread that has received a body hashes it at the least cost: it is in
    /// the cache of its processor. `None` for a body that has waited, compressed.
    pub(crate) hash: Option<[u8; 32]>,
}

impl SpanRequest {
    pub(super) fn kind(&self) -> BodyKind {
        BodyKind::Otlp {
            json: self.is_json,
            gzip: self.is_gzip,
        }
    }

    /// The body in the form in which it waits and is stored. What gzip has compressed stays as it is.
    pub(super) fn compress(&mut self, compressor: &mut Compressor) -> CompressedBody {
        match self.is_gzip {
            true => {
                let body = Arc::unwrap_or_clone(std::mem::take(&mut self.body));
                CompressedBody::uncompressed(body.into_boxed_slice(), self.spans)
            }
            false => compressor.compress(&self.body, self.spans),
        }
    }

    /// What a signature covers.
    pub(super) fn body_to_sign(&self) -> BodyToSign<'_> {
        match self.hash {
            Some(hash) => BodyToSign::Hash(hash),
            None => BodyToSign::Bytes(&self.body),
        }
    }

    /// The `Content-Type`.
    pub(crate) fn content_type(&self) -> &'static str {
        match self.is_json {
            true => "application/json",
            false => "application/x-protobuf",
        }
    }
}

impl fmt::Debug for SpanRequest {
    /// Without the bytes, which hold traces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (spans, bytes) = (self.spans, self.body.len());
        write!(f, "SpanRequest({spans} spans, {bytes} bytes)")
    }
}

/// A request for which a client waits. Whoever takes it out first decides: the uploader, which answers then,
/// or the client, which has waited long enough and sends it again.
pub struct SpanOffer {
    request: Arc<Mutex<Option<SpanRequest>>>,
    verdict: SyncSender<SpanVerdict>,
}

impl SpanOffer {
    /// Offers a request; with the wait for the answer.
    pub(crate) fn new(request: SpanRequest) -> (SpanOffer, SpanWait) {
        let (verdict, answer) = sync_channel(1);
        let request = Arc::new(Mutex::new(Some(request)));
        let offer = SpanOffer {
            request: Arc::clone(&request),
            verdict,
        };
        (offer, SpanWait { request, answer })
    }

    /// Takes the request, which has to be answered at once: its client cannot give up any more. `None`: it has
    /// given up.
    pub fn take(self) -> Option<(SpanRequest, SpanReply)> {
        let request = take(&self.request)?;
        Some((request, SpanReply(self.verdict)))
    }
}

fn take(request: &Mutex<Option<SpanRequest>>) -> Option<SpanRequest> {
    // It is locked for an assignment only, so it cannot be left half changed.
    let mut request = request.lock().unwrap_or_else(PoisonError::into_inner);
    request.take()
}

/// For the answer to a request that was taken out of its offer.
pub struct SpanReply(SyncSender<SpanVerdict>);

impl SpanReply {
    /// Answers.
    pub fn give(self, verdict: SpanVerdict) {
        // There is room for the one answer, and the client waits for it.
        let _ = self.0.try_send(verdict);
    }
}

/// The client's side of an offer.
pub(crate) struct SpanWait {
    request: Arc<Mutex<Option<SpanRequest>>>,
    answer: Receiver<SpanVerdict>,
}

impl SpanWait {
    /// The answer. `None`: there was none within `patience`, and there will be none.
    pub(crate) fn within(self, patience: Duration) -> Option<SpanVerdict> {
        match self.answer.recv_timeout(patience) {
            Ok(verdict) => Some(verdict),
            // The memory of what has waited for so long is free now, too.
            Err(_) if take(&self.request).is_some() => None,
            // The uploader is about to answer.
            Err(_) => self.answer.recv().ok(),
        }
    }
}

/// Whether a request was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanVerdict {
    /// It is held, and will be delivered.
    Taken,
    /// It has more bytes than all spans together may take: so many.
    TooLong(usize),
    /// There is no memory for more.
    Full,
    /// It cannot be shown.
    Unreadable,
}

/// The fates of spans, requests or bytes: `accepted + restored = delivered + shown + refused +
/// dropped + held + spooled`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Taken from clients, which were told so.
    pub accepted: u64,
    /// Taken by X-Ray.
    pub delivered: u64,
    /// Shown here instead of being sent. Not for those that are sent too.
    pub shown: u64,
    /// X-Ray will never take them.
    pub refused: u64,
    /// Lost because the time of the shutdown was over, or lost from the spool.
    pub dropped: u64,
    /// Waiting or in flight.
    pub held: u64,
    /// Of earlier processes, found in the spool.
    pub restored: u64,
    /// In the spool only.
    pub spooled: u64,
}

/// How spans ended, and the requests and bytes that they came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// Requests. One of which X-Ray took a part was delivered.
    pub requests: Fates,
    /// Spans.
    pub spans: Fates,
    /// Bytes of the bodies, as they were received.
    pub bytes: Fates,
}

impl SpanCounts {
    /// Adds `amount` to one fate of all three.
    pub(crate) fn count(&mut self, fate: fn(&mut Fates) -> &mut u64, amount: SpanAmount) {
        *fate(&mut self.requests) += amount.requests;
        *fate(&mut self.spans) += amount.spans;
        *fate(&mut self.bytes) += amount.bytes;
    }

    /// Takes `amount` away from one fate of all three, as far as there is so much. Returns what was
    /// taken away.
    pub(crate) fn take(
        &mut self,
        fate: fn(&mut Fates) -> &mut u64,
        amount: SpanAmount,
    ) -> SpanAmount {
        let take = |fates: &mut Fates, amount: u64| {
            let count = fate(fates);
            let taken = amount.min(*count);
            *count -= taken;
            taken
        };
        SpanAmount {
            requests: take(&mut self.requests, amount.requests),
            spans: take(&mut self.spans, amount.spans),
            bytes: take(&mut self.bytes, amount.bytes),
        }
    }
}

impl fmt::Display for SpanCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fates {
            accepted,
            delivered,
            shown,
            refused,
            dropped,
            held,
            restored,
            spooled,
        } = self.spans;
        let is_spool_used = restored + spooled > 0;
        write!(f, "accepted {accepted}")?;
        if is_spool_used {
            write!(f, " + restored {restored}")?;
        }
        write!(f, " = delivered {delivered}")?;
        if shown > 0 {
            write!(f, " + shown {shown}")?;
        }
        write!(f, " + refused {refused} + dropped {dropped} + held {held}")?;
        if is_spool_used {
            write!(f, " + spooled {spooled}")?;
        }
        let requests = self.requests.accepted + self.requests.restored;
        write!(f, ", in {requests} requests")
    }
}

/// Some requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpanAmount {
    pub(crate) requests: u64,
    pub(crate) spans: u64,
    pub(crate) bytes: u64,
}

impl SpanAmount {
    /// One request.
    pub(crate) fn one(spans: usize, bytes: usize) -> Self {
        SpanAmount {
            requests: 1,
            spans: spans as u64,
            bytes: bytes as u64,
        }
    }

    /// What is left without `other`.
    pub(crate) fn without(self, other: SpanAmount) -> Self {
        SpanAmount {
            requests: self.requests.saturating_sub(other.requests),
            spans: self.spans.saturating_sub(other.spans),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl From<spool::RecordAmount> for SpanAmount {
    /// Of records that hold one request each.
    fn from(amount: spool::RecordAmount) -> Self {
        SpanAmount {
            requests: amount.records,
            spans: amount.documents,
            bytes: amount.bytes,
        }
    }
}

impl AddAssign for SpanAmount {
    fn add_assign(&mut self, other: SpanAmount) {
        self.requests += other.requests;
        self.spans += other.spans;
        self.bytes += other.bytes;
    }
}
