//! One API of X-Ray with its queue and its back-off, and what its refusals mean for the documents.

use std::time::{Duration, Instant};

use super::back_off::BackOff;
use super::item::{History, Item, RequestRoom, RetryCause, Split};
use super::now::Now;
use super::outage_log::OutageLog;
use super::packer::Packer;
use super::queue::Queue;
use super::retries::Retries;
use super::sizes::Sizes;
use super::spans::SpanAmount;
use crate::spool::XRayApi;

/// If this many whole batches in a row are refused and no document is accepted in between, it is an
/// outage rather than bad documents.
const SEVERAL: u32 = 3;

/// After an outage in which everything is refused for this long, refused documents are rejected all
/// the same: one broken SDK on a host with little traffic looks like an outage.
const PATIENCE: Duration = Duration::from_secs(600);

/// After so many failed probes in a row, what the last one carried steps aside.
const SEVERAL_PROBES: u32 = 4;

/// A document alone is sent so often before it is rejected.
const MAX_ATTEMPTS: u32 = 8;

/// What became of a refused item.
#[derive(Debug)]
pub(super) enum RefusedItem {
    /// It waits to be sent again, whole or in halves.
    Held,
    /// It waits, because the service refuses everything.
    AllRefused,
    /// It is one document, which the service will never take.
    Rejected(Item),
}

#[derive(Debug)]
pub(super) struct Destination {
    queue: Queue,
    retries: Retries,
    /// What was read from the spool and was not refused yet.
    restored: Queue,
    /// Whether the next request is one for `restored`, if something else waits too.
    prefers_restored: bool,
    pub(crate) back_off: BackOff,
    pub outage: OutageLog,
    /// Requests of which at least one document was taken.
    deliveries: u64,
    /// Whole batches refused since then.
    refused_in_a_row: u32,
    all_refused_since: Option<Instant>,
    /// After a failure the next probe carries another batch.
    prefers_queue: bool,
    /// Probes at which the service failed, one after the other.
    failed_probes: u32,
}

impl Destination {
    /// With nothing waiting.
    pub(super) fn new(api: XRayApi) -> Self {
        Destination {
            queue: Queue::default(),
            retries: Retries::default(),
            restored: Queue::default(),
            back_off: BackOff::default(),
            outage: OutageLog::new(api),
            deliveries: 0,
            refused_in_a_row: 0,
            all_refused_since: None,
            prefers_queue: false,
            prefers_restored: false,
            failed_probes: 0,
        }
    }

    pub(super) fn push(&mut self, item: Item) {
        self.queue.push(item);
    }

    /// Adds what was read from the spool.
    pub(super) fn restore(&mut self, mut item: Item) {
        match item.history.as_mut() {
            Some(history) => {
                history.first_refusal = self.deliveries;
                history.last_refusal = self.deliveries;
                let history = *history;
                self.retries.push(item, history);
            }
            None => self.restored.push(item),
        }
    }

    /// When the next request may go out, with `in_flight` already out. `None`: nothing waits, or
    /// not before a request comes back.
    pub(super) fn next_time(&self, in_flight: usize, now: Instant) -> Option<Instant> {
        let allowed = self.back_off.next(in_flight, now)?;
        let waits = !self.queue.is_empty() || !self.restored.is_empty();
        let queue = waits.then_some(allowed);
        let retry = self.retries.next_time().map(|at| at.max(allowed));
        queue.into_iter().chain(retry).min()
    }

    /// The next item, in the form in which it is sent. `None` if nothing waits, or there is no room
    /// for the next item.
    pub(super) fn pop(&mut self, room: RequestRoom, now: Instant) -> Option<Item> {
        let queue_first = !self.back_off.is_healthy() && self.prefers_queue;
        if queue_first && let Some(item) = self.pop_queued(room) {
            return Some(item);
        }
        let is_alone = self.queue.is_empty() && self.restored.is_empty();
        self.retries
            .pop(self.deliveries, is_alone, room, now)
            .or_else(|| self.pop_queued(room))
    }

    /// The next item that was not refused yet: new items and items from the spool take turns.
    fn pop_queued(&mut self, room: RequestRoom) -> Option<Item> {
        let [first, second] = if self.prefers_restored {
            [&mut self.restored, &mut self.queue]
        } else {
            [&mut self.queue, &mut self.restored]
        };
        let item = first.pop(room).or_else(|| second.pop(room))?;
        self.prefers_restored = !self.prefers_restored;
        Some(item)
    }

    /// Takes an item that waits since before this time, as it is: the oldest new one, or in an outage one
    /// that stepped aside. What X-Ray refused stays, since it is known how often that happened.
    pub(super) fn pop_older(&mut self, than: Instant) -> Option<Item> {
        if self
            .queue
            .front()
            .is_some_and(|item| item.queued_at <= than)
        {
            return self.queue.pop_front();
        }
        match self.back_off.is_healthy() {
            true => None,
            false => self.retries.pop_failed(than),
        }
    }

    /// When the oldest item was queued that [`pop_older`](Self::pop_older) may take.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let failed = self
            .retries
            .oldest_failed()
            .filter(|_| !self.back_off.is_healthy());
        let queued = self.queue.front().map(|item| item.queued_at);
        queued.into_iter().chain(failed).min()
    }

    /// Takes the oldest item that was read from the spool before this time, as it is.
    pub(super) fn pop_restored(&mut self, before: Instant) -> Option<Item> {
        if self.restored.front()?.queued_at > before {
            return None;
        }
        self.restored.pop_front()
    }

    /// When the oldest waiting item from the spool was read.
    pub(super) fn oldest_restored(&self) -> Option<Instant> {
        Some(self.restored.front()?.queued_at)
    }

    /// Bytes of what was read from the spool and waits.
    pub(super) fn restored_bytes(&self) -> usize {
        self.restored.sizes().bytes
    }

    /// Puts an item back among the others, by its age.
    pub(super) fn put_back(&mut self, item: Item) {
        match item.history {
            Some(history) => self.retries.push(item, history),
            None if item.copy.is_some() => self.restored.insert(item),
            None => self.queue.insert(item),
        }
    }

    /// What X-Ray has refused, whole or in part, and is asked again for.
    pub(super) fn refused_items(&self) -> impl Iterator<Item = &Item> {
        self.retries.iter()
    }

    /// The same. The bodies must not be changed.
    pub(super) fn refused_items_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        self.retries.iter_mut()
    }

    /// Takes any item as it is.
    pub(super) fn pop_any(&mut self) -> Option<Item> {
        self.pop_oldest().or_else(|| self.restored.pop_front())
    }

    /// Compresses the oldest uncompressed body, if more than `keep` bytes of them wait. Returns
    /// whether there was one.
    pub(super) fn compress_oldest(&mut self, keep: usize, packer: &mut Packer) -> bool {
        self.retries.compress_oldest(packer)
            || self.restored.compress_oldest(0, packer)
            || self.queue.compress_oldest(keep, packer)
    }

    /// Compresses what would be dropped next. Answers whether there was something plain.
    pub(super) fn compress_front(&mut self, packer: &mut Packer) -> bool {
        self.retries.compress_oldest(packer)
            || self.restored.compress_front(packer)
            || self.queue.compress_front(packer)
    }

    /// A request was answered by the service and at least one of its documents was taken.
    pub(super) fn delivered(&mut self, now: Instant) {
        self.deliveries += 1;
        self.refused_in_a_row = 0;
        self.all_refused_since = None;
        self.heard(now);
    }

    /// The service works, whether or not it has accepted the documents.
    pub(super) fn heard(&mut self, now: Instant) {
        self.back_off.succeeded();
        self.failed_probes = 0;
        self.outage.over(now);
    }

    /// The service was not reached, or cannot take anything now.
    pub(super) fn hold(&mut self, item: Item, epoch: u64, retry_after: Option<Duration>, now: Now) {
        self.back_off
            .failed(epoch, now.instant, retry_after, now.jitter);
        self.requeue(item);
    }

    /// The service answered that it failed. A document may be why, although it says nothing of that: what
    /// fails again and again steps aside, and is halved once others have passed. It is never rejected.
    /// Returns whether this says anything new of the service.
    pub(super) fn failed(
        &mut self,
        item: Item,
        epoch: u64,
        retry_after: Option<Duration>,
        now: Now,
    ) -> bool {
        if epoch == self.back_off.epoch() {
            self.failed_probes += 1;
        }
        let others_wait = !self.queue.is_empty() || !self.restored.is_empty();
        let is_new = match item.history {
            None if self.failed_probes >= SEVERAL_PROBES && others_wait => true,
            Some(history) if history.cause == RetryCause::Failed => {
                self.deliveries == history.last_refusal
            }
            _ => {
                self.hold(item, epoch, retry_after, now);
                return true;
            }
        };
        self.failed_probes = 0;
        self.prefers_queue = true;
        self.back_off
            .failed(epoch, now.instant, retry_after, now.jitter);
        let next = now.instant + self.back_off.wait(u32::MAX, now.jitter);
        self.retries.push(
            item,
            History::new(RetryCause::Failed, self.deliveries, next),
        );
        is_new
    }

    /// Puts an item back that says nothing about the service.
    pub(super) fn requeue(&mut self, item: Item) {
        self.prefers_queue = item.history.is_some();
        match item.history {
            Some(history) => self.retries.push(item, history),
            None if item.copy.is_some() => self.restored.requeue_front(item),
            None => self.queue.requeue_front(item),
        }
    }

    /// The service says that the documents are at fault: a batch is halved until the bad document
    /// stands alone.
    pub(super) fn refused(&mut self, item: Item, epoch: u64, now: Now) -> RefusedItem {
        if item.history.is_none() {
            self.refused_in_a_row += 1;
        }
        if self.refused_in_a_row >= SEVERAL {
            self.all_refused_since.get_or_insert(now.instant);
        }
        let history = History::new(RetryCause::Split, self.deliveries, now.instant);
        match self.all_refused_since {
            Some(since) if now.instant < since + PATIENCE => {
                self.back_off.failed(epoch, now.instant, None, now.jitter);
                self.prefers_queue = true;
                self.retries.push(item, history);
                return RefusedItem::AllRefused;
            }
            // It still refuses everything: one request at a time, at the shortest wait.
            Some(_) => {
                self.back_off.succeeded();
                let epoch = self.back_off.epoch();
                self.back_off.failed(epoch, now.instant, None, now.jitter);
            }
            None => self.heard(now.instant),
        }
        match item.split() {
            Split::Halves(halves) => {
                for half in halves {
                    self.retries.push(half, history);
                }
                RefusedItem::Held
            }
            Split::Whole(item) => RefusedItem::Rejected(item),
        }
    }

    /// The service refused the request without a reason. A document may be at fault: then others
    /// pass. The item steps aside for them, and is halved once they have passed.
    pub(super) fn suspected(
        &mut self,
        item: Item,
        epoch: u64,
        retry_after: Option<Duration>,
        now: Now,
    ) -> RefusedItem {
        self.back_off
            .failed(epoch, now.instant, retry_after, now.jitter);
        self.prefers_queue = true;
        let attempts = 1 + item.history.map_or(0, |history| history.attempts);
        let first_refusal = match item.history {
            Some(history) if history.attempts > 0 => history.first_refusal,
            _ => self.deliveries,
        };
        let others_passed = self.deliveries > first_refusal;
        if item.is_indivisible() && attempts >= MAX_ATTEMPTS && others_passed {
            return RefusedItem::Rejected(item);
        }
        let next = now.instant + self.back_off.wait(attempts - 1, now.jitter);
        let history = History {
            attempts,
            first_refusal,
            ..History::new(RetryCause::Suspected, self.deliveries, next)
        };
        self.retries.push(item, history);
        RefusedItem::Held
    }

    /// The service asked to send these documents of a request again. Answers the item when it has been
    /// sent often enough while others passed, or for long enough while nothing did.
    pub(super) fn unprocessed(&mut self, item: Item, now: Now) -> Option<Item> {
        let earlier = item
            .history
            .filter(|history| history.cause == RetryCause::Unprocessed);
        let attempts = 1 + earlier.map_or(0, |history| history.attempts);
        let first_refusal = earlier.map_or(self.deliveries, |history| history.first_refusal);
        let is_hopeless =
            self.deliveries > first_refusal || now.instant >= item.queued_at + PATIENCE;
        if attempts > MAX_ATTEMPTS && is_hopeless {
            return Some(item);
        }
        let next = now.instant + self.back_off.wait(attempts - 1, now.jitter);
        let history = History {
            attempts,
            first_refusal,
            ..History::new(RetryCause::Unprocessed, self.deliveries, next)
        };
        self.retries.push(item, history);
        None
    }

    /// The service answered a request and took none of its documents, but may take them later. What comes
    /// next fares no better.
    pub(super) fn takes_nothing(&mut self, epoch: u64, now: Now) {
        self.back_off.failed(epoch, now.instant, None, now.jitter);
        self.prefers_queue = true;
    }

    /// Takes the oldest item as it is.
    pub(super) fn pop_oldest(&mut self) -> Option<Item> {
        self.retries.pop_front().or_else(|| self.queue.pop_front())
    }

    pub(super) fn begin_shutdown(&mut self, now: Instant) {
        self.back_off.begin_shutdown();
        self.retries.begin_shutdown(now);
    }

    /// Whether further senders would have full requests to carry.
    pub(super) fn is_crowded(&self) -> bool {
        let waits = self.queue.is_crowded() || self.restored.is_crowded();
        self.back_off.is_healthy() && waits
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.restored.is_empty() && self.retries.is_empty()
    }

    /// Bytes of memory of what waits.
    pub(super) fn bytes(&self) -> usize {
        self.all_sizes().map(|sizes| sizes.bytes).sum()
    }

    /// Bytes of memory that one of those that wait takes more when it is sent, at most.
    pub(super) fn largest_growth(&self) -> usize {
        let all = self.all_sizes().map(Sizes::largest_growth);
        all.max().unwrap_or(0)
    }

    /// Requests, documents or spans, and bytes of the requests that wait.
    pub(super) fn amount(&self) -> SpanAmount {
        let mut amount = SpanAmount::default();
        for sizes in self.all_sizes() {
            amount += SpanAmount {
                requests: sizes.items as u64,
                spans: sizes.documents as u64,
                bytes: sizes.opened as u64,
            };
        }
        amount
    }

    pub(super) fn documents(&self) -> usize {
        self.all_sizes().map(|sizes| sizes.documents).sum()
    }

    fn all_sizes(&self) -> impl Iterator<Item = &Sizes> {
        [
            self.queue.sizes(),
            self.restored.sizes(),
            self.retries.sizes(),
        ]
        .into_iter()
    }
}
