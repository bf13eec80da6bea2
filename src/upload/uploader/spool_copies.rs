//! Copies in the spool of what stays in memory: what is in flight for long, and what X-Ray has refused
//! and is asked again for. `kill -9` must not cost them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Action, Now, Uploader};
use crate::batch::compressed::CompressedBody;
use crate::spool::BodyKind;
use crate::upload::copies::SpoolCopies;
use crate::upload::item::Item;
use crate::upload::sender_pool::{InFlight, Load};

/// What is out for `COPY_TIME`, and was queued `COPY_AGE` ago, is copied to the spool; and so is what was
/// refused and was queued `COPY_AGE` ago.
const COPY_TIME: Duration = Duration::from_secs(1);
const COPY_AGE: Duration = Duration::from_secs(2);

/// When a request in flight is to be copied to the spool. `None`: it has a copy, or needs none.
fn in_flight_due(one: &InFlight, copies: &SpoolCopies) -> Option<Instant> {
    match &one.load {
        Load::Documents { item, .. } if !copies.has(item.copy.as_ref()) => {
            Some((one.since + COPY_TIME).max(item.queued_at + COPY_AGE))
        }
        _ => None,
    }
}

/// When a refused item is to be copied to the spool. `None`: it has a copy.
fn refused_due(item: &Item, copies: &SpoolCopies) -> Option<Instant> {
    (!copies.has(item.copy.as_ref())).then_some(item.queued_at + COPY_AGE)
}

impl Uploader {
    /// When the next copy is due.
    pub(super) fn next_copy(&self) -> Option<Instant> {
        let spooling = self.spooling.as_ref().filter(|one| one.is_open)?;
        let in_flight = self.senders.in_flight().filter_map(|one| {
            let due = in_flight_due(one, &spooling.copies)?;
            Some(spooling.store_time(one.payload.api()?, due))
        });
        let refused = self.destinations.iter().flat_map(|one| one.refused_items());
        let refused = refused.filter_map(|item| {
            let due = refused_due(item, &spooling.copies)?;
            Some(spooling.store_time(item.body.api(), due))
        });
        in_flight.chain(refused).min()
    }

    /// Stores a copy of what may never be taken by X-Ray. In the last seconds of the shutdown that is all
    /// that is in flight.
    pub(super) fn make_copies(&mut self, now: Now) {
        let is_last_phase = self.is_last_phase(now.instant);
        let Some(spooling) = &mut self.spooling else {
            return;
        };
        for one in self.senders.in_flight_mut() {
            let due = in_flight_due(one, &spooling.copies);
            let is_due = due.is_some_and(|due| is_last_phase || due <= now.instant);
            let Load::Documents { item, .. } = &mut one.load else {
                continue;
            };
            let may_store = |kind: &BodyKind| spooling.may_store(kind.destination(), now.instant);
            let Some(kind) = one.payload.kind().filter(|kind| is_due && may_store(kind)) else {
                continue;
            };
            let documents = one.payload.documents();
            let body = match kind {
                BodyKind::Otlp { gzip: true, .. } => {
                    CompressedBody::uncompressed(one.payload.body().into(), documents)
                }
                _ => {
                    let packer = self.packer.get_or_insert_default();
                    packer.compressor.compress(one.payload.body(), documents)
                }
            };
            let copied = item.to_spool(Arc::new(body), kind, now);
            let Some(message) = spooling.store_copy(copied, &mut item.copy, now.instant) else {
                return;
            };
            self.actions.push(Action::Spool(message));
        }
        let destinations = self.destinations.iter_mut();
        let refused = destinations.flat_map(|one| one.refused_items_mut());
        for item in refused {
            let due = refused_due(item, &spooling.copies);
            let is_due = due.is_some_and(|due| due <= now.instant);
            if !is_due || !spooling.may_store(item.body.api(), now.instant) {
                continue;
            }
            let body = item.body.compressed(self.packer.get_or_insert_default());
            let copied = item.to_spool(body, item.body.kind(), now);
            let Some(message) = spooling.store_copy(copied, &mut item.copy, now.instant) else {
                return;
            };
            self.actions.push(Action::Spool(message));
        }
    }
}
