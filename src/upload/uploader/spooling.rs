//! `--spool`: what goes to the spool, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::spool_shutdown::SPOOL_WAIT;
use super::{Action, Now, Uploader};
use crate::credentials::target::Target;
use crate::logging::RateLimit;
use crate::spool::{RecordAmount, RecordId, SpoolIdentity, SpoolItem, SpoolMessage, XRayApi};
use crate::upload::copies::{CopyRef, PutAway, SpoolCopies};
use crate::upload::item::{ITEM_MEMORY, Item, ItemBody};
use crate::upload::metrics::SpoolMetrics;

/// Items that have been queued for this long go to the spool, whether X-Ray refuses everything or
/// is only too slow.
const STORE_AGE: Duration = Duration::from_secs(1);

/// Otherwise a service that is sometimes too slow would fill the log.
static TO_DISK: RateLimit = RateLimit::new(1, Duration::from_secs(60));

/// Most items that are sent to the spool at a time, since each may have to be compressed.
const STORED_AT_ONCE: usize = 8;

/// The uploader's side of the spool.
#[derive(Debug)]
pub(super) struct Spooling {
    /// The role that is assumed. Empty where there is none.
    role: String,
    /// Whether the spool knows the target.
    pub(super) is_open: bool,
    pub(super) copies: SpoolCopies,
    /// Items that are to be in the spool only, until it says that it has them.
    pub(super) releasing: BTreeMap<RecordId, Item>,
    /// Spans that were read when there was no room for them, and go back. They are in the spool only.
    pub(super) returning: BTreeMap<RecordId, RecordAmount>,
    /// Nothing is stored for the API before this time: the spool has refused something.
    pub(super) store_at: BTreeMap<XRayApi, Instant>,
    /// For which API the last `Read` was.
    pub(super) last_read: XRayApi,
    /// Nothing is read for the API before this time.
    pub(super) read_at: BTreeMap<XRayApi, Instant>,
    /// Whether anything was stored.
    pub(super) has_written: bool,
    pub(super) flush: Flush,
    /// Why the spool does not work.
    pub(super) problem: Option<String>,
    pub(super) metrics: SpoolMetrics,
    /// Whether the log says that something is on disk, and not yet that all of it is back.
    is_said: bool,
}

/// Whether all that is stored survives the end of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    NotAsked,
    Asked(Instant),
    Done,
}

impl Spooling {
    pub(super) fn new(role: String, buffer: usize) -> Self {
        Spooling {
            role,
            is_open: false,
            copies: SpoolCopies::new(buffer),
            releasing: BTreeMap::new(),
            returning: BTreeMap::new(),
            store_at: BTreeMap::new(),
            last_read: XRayApi::Otlp,
            read_at: BTreeMap::new(),
            has_written: false,
            flush: Flush::NotAsked,
            problem: None,
            metrics: SpoolMetrics::default(),
            is_said: false,
        }
    }

    /// Items that are held here: on their way to the spool, in one direction or the other.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Item> {
        self.copies.waiting().chain(self.releasing.values())
    }

    /// Bytes of memory of those for one API.
    pub(super) fn bytes_of(&self, api: XRayApi) -> usize {
        let of_api = |item: &&Item| item.body.api() == api;
        self.waiting().filter(of_api).map(Item::bytes).sum()
    }

    pub(super) fn may_store(&self, api: XRayApi, now: Instant) -> bool {
        self.is_open && self.store_at.get(&api).is_none_or(|at| *at <= now)
    }

    /// When something that is due at this time may be stored.
    pub(super) fn store_time(&self, api: XRayApi, due: Instant) -> Instant {
        let paused = self.store_at.get(&api);
        paused.map_or(due, |until| due.max(*until))
    }

    /// The message that stores a copy of an item that stays in memory, to which `copy` ties it then.
    /// `None` while the spool can take no more.
    pub(super) fn store_copy(
        &mut self,
        item: SpoolItem,
        copy: &mut Option<CopyRef>,
        now: Instant,
    ) -> Option<SpoolMessage> {
        let bytes = item.body.bytes().len() + ITEM_MEMORY;
        if !self.copies.has_room(bytes) {
            return None;
        }
        let (id, reference) = self.copies.store_copy(&item, now);
        *copy = Some(reference);
        Some(SpoolMessage::Store { id, item })
    }
}

impl Uploader {
    /// Region, endpoint and role are known: the spool may begin.
    pub(super) fn open_spool(&mut self, target: &Target) {
        if let Some(spooling) = &mut self.spooling
            && !std::mem::replace(&mut spooling.is_open, true)
        {
            let endpoint = target.uploads.usual_url();
            let identity = SpoolIdentity::new(&target.region, endpoint, &spooling.role);
            self.tell_spool(SpoolMessage::Open(identity));
        }
    }

    pub(super) fn tell_spool(&mut self, message: SpoolMessage) {
        self.actions.push(Action::Spool(message));
    }

    /// An item, or this part of it, has ended: X-Ray has it or refuses it.
    pub(super) fn end_copy(&mut self, copy: Option<CopyRef>) {
        if let Some(spooling) = &mut self.spooling
            && let Some(record) = spooling.copies.ended(copy)
        {
            self.tell_spool(SpoolMessage::Settled(record));
        }
    }

    /// Sends items to the spool that should be there, and reads items that can be sent again.
    pub(super) fn spool_tick(&mut self, now: Now) {
        if self.spooling.is_none() {
            return;
        }
        for api in XRayApi::ALL {
            let mut left = STORED_AT_ONCE;
            self.release_restored(api, now);
            self.store_unsent(api, &mut left, now);
            self.store_overflow(api, &mut left, now);
        }
        self.read_spool(now);
        self.say_where_it_waits(now.instant);
    }

    /// Says once that something goes to the disk, and once that it is back.
    fn say_where_it_waits(&mut self, now: Instant) {
        let is_spooled = XRayApi::ALL.into_iter().any(|api| self.is_any_spooled(api));
        let is_back = !is_spooled
            && XRayApi::ALL.into_iter().all(|api| {
                !self.cannot_send(api) && self.destinations.of(api).restored_bytes() == 0
            });
        let Some(spooling) = &mut self.spooling else {
            return;
        };
        if is_spooled
            && spooling.has_written
            && !spooling.is_said
            && let Some(held_back) = TO_DISK.allow(now)
        {
            spooling.is_said = true;
            log::info!("what cannot be sent in time goes to the spool now{held_back}");
        } else if is_back && spooling.is_said {
            spooling.is_said = false;
            log::info!("the spool is empty again: all of it was read to be sent");
        }
    }

    /// Whether nothing can be sent to this API now.
    pub(super) fn cannot_send(&self, api: XRayApi) -> bool {
        let is_healthy = self.destinations.of(api).back_off.is_healthy();
        !is_healthy || !self.can_sign()
    }

    /// Whether something waits that may be sent now, with nothing else in flight.
    fn may_go_now(&self, api: XRayApi, now: Instant) -> bool {
        let next = self.destinations.of(api).next_time(0, now);
        self.requests_in_flight(api) == 0 && self.can_sign() && next.is_some_and(|at| at <= now)
    }

    /// Items that were read and cannot be sent go back.
    fn release_restored(&mut self, api: XRayApi, now: Now) {
        let before = match self.shutdown {
            Some(_) => Some(now.instant),
            None if self.cannot_send(api) => now.instant.checked_sub(STORE_AGE),
            None => None,
        };
        while let Some(before) = before
            && let Some(item) = self.destinations.of_mut(api).pop_restored(before)
        {
            if !self.put_away(item, now) {
                return;
            }
        }
    }

    /// New items are stored after waiting for a second; at the end all items are stored at once.
    fn store_unsent(&mut self, api: XRayApi, left: &mut usize, now: Now) {
        let is_end = self.shutdown.is_some() && self.cannot_send(api);
        let is_end = is_end || self.is_last_phase(now.instant);
        let than = match is_end {
            true => Some(now.instant),
            false => now.instant.checked_sub(STORE_AGE),
        };
        while let Some(than) = than
            && *left > 0
        {
            let destination = self.destinations.of_mut(api);
            let item = match is_end {
                true => destination.pop_oldest(),
                false => destination.pop_older(than),
            };
            let Some(item) = item else { return };
            *left -= 1;
            if !self.put_away(item, now) {
                return;
            }
        }
    }

    /// Makes room in memory before it runs out.
    fn store_overflow(&mut self, api: XRayApi, left: &mut usize, now: Now) {
        // A single request with spans may be so large. It is sent at once if possible, as a probe too.
        if api == XRayApi::Otlp && self.may_go_now(api, now.instant) {
            return;
        }
        let stored = |one: &Self| one.spooling.as_ref().map_or(0, |one| one.bytes_of(api));
        while *left > 0
            && self.memory_of(api) - stored(self) > self.memory_limit_of(api) / 4 * 3
            && let Some(item) = self.destinations.of_mut(api).pop_oldest()
        {
            *left -= 1;
            // It may have been read a moment ago, and would be read again as soon as it is on disk.
            if let Some(spooling) = &mut self.spooling {
                spooling.pause_reads(api, now.instant);
            }
            if !self.put_away(item, now) {
                return;
            }
        }
    }

    /// Lets an item leave the memory. Where the spool can take nothing now, it waits again, and the
    /// answer is false.
    fn put_away(&mut self, item: Item, now: Now) -> bool {
        let Some(spooling) = &mut self.spooling else {
            return false;
        };
        match spooling.copies.put_away(item) {
            PutAway::Release(record, item) => {
                spooling.releasing.insert(record, item);
                self.tell_spool(SpoolMessage::Release(record));
                true
            }
            PutAway::OnItsWay => true,
            PutAway::Store(item) => self.store(item, now),
        }
    }

    fn store(&mut self, mut item: Item, now: Now) -> bool {
        item.body.compress(self.packer.get_or_insert_default());
        let Some(spooling) = &mut self.spooling else {
            return false;
        };
        let ItemBody::Compressed { body, kind } = &item.body else {
            return false;
        };
        if !spooling.may_store(kind.destination(), now.instant)
            || !spooling.copies.has_room(item.bytes())
        {
            self.destinations.of_mut(item.body.api()).put_back(item);
            return false;
        }
        let stored = item.to_spool(Arc::clone(body), *kind, now);
        let id = spooling.copies.store(item, now.instant);
        self.tell_spool(SpoolMessage::Store { id, item: stored });
        true
    }

    /// Most bytes of memory that the items for this API may take now.
    pub(super) fn memory_limit_of(&self, api: XRayApi) -> usize {
        match api {
            XRayApi::Segments => self.segment_limit(),
            XRayApi::Otlp => self.span_limit(),
        }
    }

    /// When [`spool_tick`](Self::spool_tick) has something to do although nothing happens.
    pub(super) fn next_spool_time(&self, now: Instant) -> Option<Instant> {
        let spooling = self.spooling.as_ref()?;
        let flush = match spooling.flush {
            Flush::Asked(at) => Some(at + SPOOL_WAIT),
            Flush::NotAsked | Flush::Done => None,
        };
        let shutdown = self
            .shutdown
            .map(|one| [one.last_phase, one.deadline + SPOOL_WAIT]);
        let due = |api| {
            let destination = self.destinations.of(api);
            let restored = destination.oldest_restored();
            let restored = restored.filter(|_| self.cannot_send(api));
            let oldest = destination.oldest().into_iter().chain(restored).min()?;
            let due = spooling.store_time(api, oldest + STORE_AGE);
            spooling.is_open.then_some(due)
        };
        [flush, self.next_read(now).map(|(at, ..)| at)]
            .into_iter()
            .chain(XRayApi::ALL.map(due))
            .chain([self.next_copy()])
            .flatten()
            .chain(shutdown.into_iter().flatten())
            .filter(|at| *at > now)
            .min()
    }
}
