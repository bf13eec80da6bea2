//! What a finished request does to the documents that it carried.

use std::time::{Duration, Instant};

use super::{Action, Now, Uploader};
use crate::http::error::{TransportError, TransportErrorKind};
use crate::spool::XRayApi;
use crate::upload::destination::RefusedItem;
use crate::upload::item::{Item, ItemBody};
use crate::upload::metrics::RequestOutcome;
use crate::upload::report;
use crate::upload::response::{HoldReason, Meaning, Unprocessed, XRayResponse};
use crate::upload::sender::Finished;
use crate::upload::sender_pool::InFlight;
use crate::upload::settlement::settle;

/// After X-Ray has refused the credentials, requests wait this long for newer ones before the same
/// ones are tried again.
const RENEWAL_WAIT: Duration = Duration::from_secs(2);
const RENEWAL_WAIT_IN_SHUTDOWN: Duration = Duration::from_millis(250);

impl Uploader {
    /// A sender is back.
    pub(super) fn finished(&mut self, finished: Finished, now: Now) {
        let Some(in_flight) = self.senders.returned(finished.sender, now.instant) else {
            return;
        };
        report::request(&in_flight.payload, &finished.result, finished.took);
        let outcome = RequestOutcome::of(&finished.result);
        self.metrics.record(outcome, finished.took);
        let (epoch, generation) = (in_flight.epoch, in_flight.generation);
        match in_flight.into_item() {
            Some(item) => self.item_finished(item, (epoch, generation), &finished, now),
            None => self.telemetry_finished(outcome, &finished.result),
        }
    }

    /// A request that was not sent: what it carried waits again.
    pub(super) fn take_back(&mut self, in_flight: InFlight) {
        match in_flight.into_item() {
            Some(item) => self.destinations.of_mut(item.body.api()).requeue(item),
            None => self.telemetry.answered(false),
        }
    }

    fn item_finished(
        &mut self,
        item: Item,
        (epoch, generation): (u64, u64),
        finished: &Finished,
        now: Now,
    ) {
        let result = &finished.result;
        let api = item.body.api();
        let meaning = result
            .as_ref()
            .map(|response| report::meaning(api, response));
        match (meaning, result) {
            (Ok(Meaning::Delivered(_)), Ok(response)) if api == XRayApi::Otlp => {
                return self.spans_delivered(item, response, finished, now);
            }
            (Ok(Meaning::Delivered(entries)), _) => {
                return self.delivered(item, entries, (finished, epoch), now);
            }
            _ => {}
        }
        self.telemetry.failed(RequestOutcome::of(result));
        let retry_after = result.as_ref().ok().and_then(|r| r.retry_after);
        match meaning {
            Ok(Meaning::Hold(HoldReason::Credentials))
                if !finished.is_clock_refusal && self.can_renew(generation, now) =>
            {
                self.destinations.of_mut(api).requeue(item);
            }
            Ok(Meaning::Refused) => match self.destinations.of_mut(api).refused(item, epoch, now) {
                RefusedItem::Held => {}
                RefusedItem::AllRefused => {
                    let reason = format!(
                        "X-Ray refuses every batch, which is an outage rather than bad {api}: {}",
                        report::explain(api, result)
                    );
                    self.log_outage(api, reason, now.instant);
                }
                RefusedItem::Rejected(item) => self.rejected(item, result),
            },
            Ok(Meaning::Suspected) => {
                let destination = self.destinations.of_mut(api);
                let refusal = destination.suspected(item, epoch, retry_after, now);
                if let RefusedItem::Rejected(item) = refusal {
                    self.rejected(item, result);
                }
                self.log_outage(api, report::explain(api, result), now.instant);
            }
            // The service had closed an idle connection. This says nothing about the service, and
            // the next request uses another connection.
            Err(error) if error.kind == TransportErrorKind::ClosedIdle => {
                self.destinations.of_mut(api).requeue(item);
            }
            _ => {
                let destination = self.destinations.of_mut(api);
                let is_new = if result.as_ref().is_ok_and(XRayResponse::is_own_failure) {
                    destination.failed(item, epoch, retry_after, now)
                } else {
                    destination.hold(item, epoch, retry_after, now);
                    true
                };
                if is_new {
                    self.log_outage(api, report::explain(api, result), now.instant);
                }
            }
        }
    }

    fn delivered(
        &mut self,
        item: Item,
        entries: &[Unprocessed],
        (finished, epoch): (&Finished, u64),
        now: Now,
    ) {
        let total = item.documents();
        let batch = item.body.batch();
        let settlement = batch
            .map(|batch| settle(batch, entries))
            .unwrap_or_default();
        let mut rejected = settlement.rejected.len();
        for (ids, entry) in &settlement.rejected {
            report::unprocessed(ids.as_ref(), entry);
        }
        for entry in settlement.strangers {
            report::stranger(entry);
        }
        let retried = settlement.retry.len();
        if let Some(batch) = batch.filter(|_| retried > 0) {
            let (again, _) = batch.partition(|i| settlement.retry.contains(&i));
            let again = item.with_body(ItemBody::Batch(again));
            let destination = self.destinations.of_mut(item.body.api());
            let given_up = destination.unprocessed(again, now);
            if let Some(again) = given_up {
                rejected += again.documents();
                let transient = entries.iter().filter(|entry| entry.is_transient());
                for entry in transient.take(again.documents()) {
                    report::unprocessed(None, entry);
                }
                self.end_copy(again.copy);
            }
        }
        let sent = total - settlement.rejected.len() - retried;
        self.counts.sent += sent as u64;
        self.counts.rejected += rejected as u64;
        let api = item.body.api();
        let destination = self.destinations.of_mut(api);
        if sent > 0 {
            destination.delivered(now.instant);
        } else if retried > 0 {
            destination.takes_nothing(epoch, now);
            let reason = report::takes_nothing(entries);
            self.log_outage(api, reason, now.instant);
        } else {
            destination.heard(now.instant);
        }
        if sent > 0 || retried == 0 {
            report::delivered(total, total - sent, finished.took);
        }
        self.end_copy(item.copy);
        if let ItemBody::Batch(batch) = item.body {
            self.actions.push(Action::Recycle(batch));
        }
    }

    fn rejected(&mut self, item: Item, result: &Result<XRayResponse, TransportError>) {
        if item.body.api() == XRayApi::Otlp {
            report::spans_refused(item.documents(), result);
            self.spans_refused(&item);
            return self.end_copy(item.copy);
        }
        self.counts.rejected += item.documents() as u64;
        if let Some(batch) = item.body.batch() {
            report::refused(batch, result);
        }
        self.end_copy(item.copy);
    }

    fn log_outage(&mut self, api: XRayApi, reason: String, now: Instant) {
        let held = self.held_of(api);
        let destination = self.destinations.of_mut(api);
        destination.outage.failed(reason, held, now);
        if api == XRayApi::Segments {
            self.forget_telemetry();
        }
    }

    /// The service refused the credentials of this generation. Returns whether there are or may
    /// soon be newer ones, so that the refusal says nothing about the service.
    fn can_renew(&mut self, generation: u64, now: Now) -> bool {
        let current = self
            .credentials
            .as_ref()
            .map(|snapshot| snapshot.generation);
        if current != Some(generation) {
            return true;
        }
        // Once for each generation: keys that never change are not asked for again and again.
        if self.refused_generation == current {
            return self.renewal_wait.is_some();
        }
        self.refused_generation = current;
        let wait = match self.shutdown {
            Some(_) => RENEWAL_WAIT_IN_SHUTDOWN,
            None => RENEWAL_WAIT,
        };
        self.renewal_wait = Some(now.instant + wait);
        self.actions.push(Action::RejectCredentials(generation));
        log::info!("X-Ray refused the AWS credentials; asking for newer ones");
        true
    }

    /// Telemetry is never worth a log line above debug: its permission may be missing for ever.
    fn telemetry_finished(
        &mut self,
        outcome: RequestOutcome,
        result: &Result<XRayResponse, TransportError>,
    ) {
        let delivered = outcome == RequestOutcome::Success;
        if !delivered {
            self.telemetry.failed(outcome);
            log::debug!(
                "X-Ray did not accept telemetry: {}",
                report::explain(XRayApi::Segments, result)
            );
        }
        self.telemetry.answered(delivered);
    }
}
