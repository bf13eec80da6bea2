//! The uploader as a state machine: events and the time go in, actions come out.
//!
//! It has no thread, socket or clock, so that a test can bring it into any state. `Runner` is the
//! thread around it.

mod credentials;
mod dispatch;
mod periodic;
mod settle;
mod spans;
mod spool_copies;
mod spool_counts;
mod spool_events;
mod spool_reads;
mod spool_shutdown;
mod spooling;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;

use super::channel::ChannelBytes;
use super::counters::SegmentCounts;
use super::destinations::Destinations;
use super::item::Item;
use super::message::{Event, HandOver, SpoolAnswer};
use super::metrics::UploadMetrics;
use super::now::Now;
use super::packer::Packer;
use super::sender::{Payload, SenderId};
use super::sender_pool::{Choice, SenderPool};
use super::spans::SpanCounts;
use super::telemetry::Telemetry;
use crate::batch::Batch;
use crate::credentials::CredentialSnapshot;
use crate::credentials::target::Target;
use crate::spool::{SpoolMessage, XRayApi};
use spooling::Spooling;

/// What the uploader may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UploadLimits {
    /// Most requests in flight, of which those with spans leave one to segments. Where there is one
    /// alone, spans have a sender of their own.
    pub concurrency: usize,
    /// Most bytes of memory of segments and spans that are held: in the channel, waiting and in flight.
    pub buffer: usize,
}

impl UploadLimits {
    /// Most sender threads.
    #[must_use]
    pub(crate) fn senders(self) -> usize {
        self.concurrency.max(2)
    }

    /// Most requests in flight to one API.
    fn in_flight(self, api: XRayApi) -> usize {
        match api {
            XRayApi::Segments => self.concurrency,
            XRayApi::Otlp => self.senders() - 1,
        }
    }
}

/// What the thread around the uploader is to do.
pub(super) enum Action {
    /// Sign this and send it on that sender, which is started if it is new.
    Send {
        sender: Choice,
        payload: Arc<Payload>,
        credentials: Credentials,
    },
    /// This sender has been idle for long.
    EndSender(SenderId),
    /// The service refused the credentials of this generation.
    RejectCredentials(u64),
    /// Segments wait and there are no credentials: attempts to get some should go on.
    WantCredentials,
    /// The memory of a delivered batch can be used again.
    Recycle(Batch),
    /// Tell the spool.
    Spool(SpoolMessage),
    /// The shutdown has begun and nothing is held any more.
    Drained,
}

pub(super) struct Uploader {
    limits: UploadLimits,
    channel: Arc<ChannelBytes>,
    target: Option<Arc<Target>>,
    credentials: Option<CredentialSnapshot>,
    /// The newest generation that X-Ray has refused.
    refused_generation: Option<u64>,
    /// Until when newer credentials are waited for.
    renewal_wait: Option<Instant>,
    destinations: Destinations,
    /// Working memory, while something has to wait.
    packer: Option<Packer>,
    spooling: Option<Spooling>,
    senders: SenderPool,
    counts: SegmentCounts,
    span_counts: SpanCounts,
    metrics: UploadMetrics,
    telemetry: Telemetry,
    /// A telemetry call that waits for a sender.
    telemetry_body: Option<String>,
    telemetry_due: Option<Instant>,
    summary_due: Option<Instant>,
    shutdown: Option<Shutdown>,
    /// When [`tick`](Self::tick) was called last.
    ticked: Instant,
    actions: Vec<Action>,
}

/// The progress of the shutdown.
#[derive(Debug, Clone, Copy)]
struct Shutdown {
    deadline: Instant,
    /// When unsent items go to the spool, if there is one.
    last_phase: Instant,
    readers_ended: bool,
    drained_reported: bool,
    last_record: bool,
}

impl Uploader {
    /// With nothing held, and one sender that runs already. `spool_role` is the role that is assumed,
    /// empty where there is none, if there is a spool.
    pub(super) fn new(
        limits: UploadLimits,
        channel: Arc<ChannelBytes>,
        telemetry: Telemetry,
        spool_role: Option<String>,
        now: Instant,
    ) -> Self {
        Uploader {
            limits,
            channel,
            target: None,
            credentials: None,
            refused_generation: None,
            renewal_wait: None,
            destinations: Destinations::default(),
            packer: None,
            spooling: spool_role.map(|role| Spooling::new(role, limits.buffer)),
            senders: SenderPool::new(limits.senders(), now),
            counts: SegmentCounts::default(),
            span_counts: SpanCounts::default(),
            metrics: UploadMetrics::default(),
            telemetry,
            telemetry_body: None,
            telemetry_due: None,
            summary_due: None,
            shutdown: None,
            ticked: now,
            actions: Vec::new(),
        }
    }

    /// Something has happened.
    pub(super) fn handle(&mut self, event: Event, now: Now) {
        match event {
            Event::Batch(hand_over) => self.received(hand_over, now.instant),
            Event::Spans(offer) => match offer.take() {
                Some((request, reply)) => self.offered(request, reply, now.instant),
                // Its client has given up. Many such offers must not cost much time.
                None => return,
            },
            Event::SpansOnCredit(request) => self.accepted(request, now.instant),
            Event::Target(target) => {
                self.open_spool(&target);
                self.target = Some(target);
            }
            Event::Spool(SpoolAnswer(event)) => self.spool_event(event, now),
            Event::Host(instance_id, hostname) => self.telemetry.set_host(instance_id, hostname),
            Event::Credentials(snapshot) => self.credentials_changed(*snapshot, now.instant),
            Event::Finished(finished) => self.finished(*finished, now),
            Event::BeginShutdown(deadline) => {
                self.shutdown = Some(Shutdown::new(deadline, now.instant));
                for destination in self.destinations.iter_mut() {
                    destination.begin_shutdown(now.instant);
                }
            }
            Event::StopSending => {
                let before = self
                    .shutdown
                    .unwrap_or(Shutdown::new(now.instant, now.instant));
                self.shutdown = Some(Shutdown {
                    deadline: now.instant.min(before.deadline),
                    last_phase: now.instant.min(before.last_phase),
                    ..before
                });
            }
            Event::ReadersEnded => {
                if let Some(shutdown) = &mut self.shutdown {
                    shutdown.readers_ended = true;
                }
            }
        }
        self.tick(now);
    }

    /// Does what is due: after every event, and at [`next_deadline`](Self::next_deadline).
    pub(super) fn tick(&mut self, now: Now) {
        self.ticked = now.instant;
        if self.renewal_wait.is_some_and(|end| end <= now.instant) {
            self.renewal_wait = None;
        }
        if self.counts.received > 0 {
            // Without any segment there is nothing to report.
            self.telemetry_tick(now);
            self.summary_tick(now.instant);
        }
        self.compress_waiting();
        self.spool_tick(now);
        self.drop_oldest();
        self.dispatch(now);
        // A body that was compressed has grown when it went out.
        self.drop_oldest();
        self.make_copies(now);
        self.flush_spool(now.instant);
        let freed = self
            .packer
            .iter_mut()
            .flat_map(|packer| packer.freed.drain(..));
        self.actions.extend(freed.map(Action::Recycle));
        let ended = self.senders.end_idle(now.instant);
        self.actions
            .extend(ended.into_iter().map(Action::EndSender));
        self.channel.give_credit(self.span_credit());
        self.report_drained();
    }

    /// When [`tick`](Self::tick) has something to do although nothing happens. It may be past: what has
    /// become due since the last call must not wait for another event, however late this thread runs.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let now = self.ticked;
        let request = self
            .next_request(now)
            .map(|(at, api)| match self.chosen_sender(api, now) {
                Some(_) => Some(at),
                None => self.senders.refusal_ends(now),
            });
        [
            request.flatten().filter(|at| *at > now),
            self.telemetry_due,
            self.summary_due,
            self.senders.idle_ends(),
            self.shutdown
                .map(|shutdown| shutdown.deadline)
                .filter(|at| *at > now),
            self.next_spool_time(now),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The actions since the last call.
    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// A new sender could not be started: its request waits again. The others go on, and X-Ray has
    /// refused nothing.
    pub(super) fn sender_refused(&mut self, id: SenderId, now: Now) {
        if let Some(in_flight) = self.senders.refused(id, now.instant) {
            self.take_back(in_flight);
        }
        self.tick(now);
    }

    /// Whether the shutdown is over: everything is delivered, or time is up.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.shutdown.is_some_and(|shutdown| {
            let is_delivered = self.is_drained() && self.is_last_record_sent(shutdown);
            shutdown.readers_ended
                && self.channel.waiting() == 0
                && (now >= shutdown.deadline || is_delivered)
                && self.is_spool_done(shutdown, now)
        })
    }

    /// The end: counts and logs what is still held as lost.
    pub(super) fn close(&mut self) -> SegmentCounts {
        let (held, spans_held) = (self.held(), self.spans_held());
        let kept = self.kept_at_the_end();
        self.end_spans(spans_held, kept.spans);
        let kept = kept.segments.min(held);
        self.counts.spooled += kept;
        let left = held - kept;
        if left > 0 {
            self.counts.spilled += left;
            log::error!("{left} segments could not be delivered before the daemon had to stop");
        }
        SegmentCounts {
            held: 0,
            ..self.counts
        }
    }

    /// How much time the shutdown leaves for a request.
    pub(super) fn time_left(&self, now: Instant) -> Option<Duration> {
        let deadline = self.shutdown?.deadline;
        Some(
            deadline
                .saturating_duration_since(now)
                .max(Duration::from_millis(1)),
        )
    }

    pub(super) fn target(&self) -> Option<&Arc<Target>> {
        self.target.as_ref()
    }

    /// Sets the kernel's own count of datagrams dropped on the UDP socket.
    pub(super) fn set_kernel_drops(&mut self, drops: u64) {
        self.counts.set_kernel_drops(drops);
    }

    fn received(&mut self, hand_over: HandOver, now: Instant) {
        let documents = hand_over.batch.len();
        self.counts
            .add_taken(documents, hand_over.malformed, hand_over.empty);
        if documents == 0 {
            return;
        }
        let item = Item::new(hand_over.batch, now);
        self.destinations.of_mut(item.body.api()).push(item);
        self.report_waiting(now);
    }

    /// Whether neither segments nor spans are held.
    fn is_drained(&self) -> bool {
        self.channel.waiting() == 0 && self.held() == 0 && self.spans_held().requests == 0
    }

    /// Tells main, once, that the shutdown has nothing more to wait for.
    fn report_drained(&mut self) {
        if let Some(shutdown) = self.shutdown
            && !shutdown.drained_reported
            && self.is_drained()
        {
            self.shutdown = Some(Shutdown {
                drained_reported: true,
                ..shutdown
            });
            self.actions.push(Action::Drained);
        }
    }

    /// Whether X-Ray has the last telemetry record. Without any segment there is none.
    fn is_last_record_sent(&self, shutdown: Shutdown) -> bool {
        let is_prepared = shutdown.last_record || self.counts.received == 0;
        let is_sent = self.telemetry_body.is_none() && self.senders.in_flight().count() == 0;
        is_prepared && is_sent
    }
}
