//! The counting of bodies that go to the spool and come back.

use super::Uploader;
use crate::spool::{RecordAmount, XRayApi};
use crate::upload::item::Item;
use crate::upload::spans::Fates;

fn spooled(fates: &mut Fates) -> &mut u64 {
    &mut fates.spooled
}

fn restored(fates: &mut Fates) -> &mut u64 {
    &mut fates.restored
}

impl Uploader {
    /// Counts the records of earlier processes in the spool.
    pub(super) fn count_found(&mut self, api: XRayApi, amount: RecordAmount) {
        match api {
            XRayApi::Segments => {
                self.counts.restored += amount.documents;
                self.counts.spooled += amount.documents;
            }
            XRayApi::Otlp => {
                self.span_counts.count(restored, amount.into());
                self.span_counts.count(spooled, amount.into());
            }
        }
    }

    /// An item is in the spool only.
    pub(super) fn count_spooled(&mut self, item: &Item) {
        let amount = RecordAmount::of(item.documents(), item.body.opened_bytes());
        match item.body.api() {
            XRayApi::Segments => self.counts.spooled += amount.documents,
            XRayApi::Otlp => self.span_counts.count(spooled, amount.into()),
        }
    }

    /// A record was read. It may be in no count, because its item was sent while it was being stored.
    pub(super) fn count_read(&mut self, api: XRayApi, amount: RecordAmount) {
        match api {
            XRayApi::Segments => {
                let counted = amount.documents.min(self.counts.spooled);
                self.counts.spooled -= counted;
                self.counts.restored += amount.documents - counted;
            }
            XRayApi::Otlp => {
                let counted = self.span_counts.take(spooled, amount.into());
                let uncounted = crate::upload::spans::SpanAmount::from(amount).without(counted);
                self.span_counts.count(restored, uncounted);
            }
        }
    }

    /// Records that were in the spool only are lost.
    pub(super) fn count_lost(&mut self, api: XRayApi, amount: RecordAmount) {
        match api {
            XRayApi::Segments => {
                let lost = amount.documents.min(self.counts.spooled);
                self.counts.spooled -= lost;
                self.counts.spilled += lost;
                if let Some(spooling) = &mut self.spooling {
                    spooling.metrics.lost += lost;
                }
            }
            XRayApi::Otlp => {
                let lost = self.span_counts.take(spooled, amount.into());
                self.span_counts.count(|fates| &mut fates.dropped, lost);
            }
        }
    }

    /// Whether the spool has something that can be read for this API.
    pub(super) fn is_any_spooled(&self, api: XRayApi) -> bool {
        match api {
            XRayApi::Segments => self.counts.spooled > 0,
            XRayApi::Otlp => self.span_counts.requests.spooled > 0,
        }
    }
}
