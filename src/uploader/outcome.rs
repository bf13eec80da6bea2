//! What an answer does to the documents it concerns, and what is said of it.

use std::time::{Duration, Instant};

use super::desk::Desk;
use crate::back_off;
use crate::batch::Batch;
use crate::clock::Exchange;
use crate::lane::{Cargo, Done};
use crate::logging::{self, RateLimit};
use crate::retry::{self, Answer, Failure, Unprocessed, Verdict};
use crate::segment;

/// Batches delivered are told of at most once a second, with the count of those between.
static DELIVERED: RateLimit = RateLimit::new(1, Duration::from_secs(1));

/// Refused documents, each in a line of its own, up to so many a minute.
static REFUSED: RateLimit = RateLimit::new(100, Duration::from_secs(60));

/// Longest text of the service in a line of the log, in bytes.
const MAX_TEXT: usize = 300;

impl Desk {
    /// A lane is back: settles the documents it carried.
    pub(super) fn done(&mut self, done: Done, now: Instant) {
        self.lanes.returned();
        if let Ok(answer) = &done.result {
            let date = answer.date.as_deref();
            self.parts.clock.observe(&Exchange {
                sent: done.sent,
                received: done.received,
                date,
                has_age: answer.aged,
            });
        }
        self.parts.gauges.request(&done.result, done.took);
        match done.cargo {
            Cargo::Telemetry(_) => self.telemetry_done(&done.result),
            Cargo::Segments(ref batch) => {
                self.in_flight_bytes -= batch.body().len();
                self.segments_done(done, now);
            }
        }
    }

    fn segments_done(&mut self, done: Done, now: Instant) {
        let Cargo::Segments(batch) = done.cargo else {
            return;
        };
        let verdict = match &done.result {
            Ok(answer) => retry::judge(answer),
            Err(_) => Verdict::Hold {
                after: None,
                credentials: false,
            },
        };
        match verdict {
            Verdict::Delivered(unprocessed) => {
                self.heard_from_backend(now);
                self.delivered(&batch, &unprocessed, done.took);
                self.parts.intake.recycle(batch);
            }
            Verdict::Hold { after, credentials } => {
                self.parts.telemetry.failed(&done.result);
                if let Some(target) = self.target.as_ref().filter(|_| credentials) {
                    target.keeper.reject(&done.credentials);
                }
                self.back_off
                    .failed(done.epoch, now, after, back_off::jitter());
                self.trouble.failed(&done.result, now);
                self.forget_telemetry();
                self.pending.put_back(batch);
            }
            Verdict::Refused => {
                self.parts.telemetry.failed(&done.result);
                self.heard_from_backend(now);
                self.refused(&batch, &done.result);
            }
        }
    }

    fn heard_from_backend(&mut self, now: Instant) {
        self.back_off.succeeded();
        self.trouble.over(now);
    }

    fn delivered(&mut self, batch: &Batch, unprocessed: &[Unprocessed], took: Duration) {
        let bad = unprocessed.len().min(batch.len());
        self.parts.books.sent(batch.len() - bad);
        self.parts.books.rejected(bad);
        for entry in &unprocessed[..bad] {
            self.say_unprocessed(batch, entry);
        }
        if let Some(held_back) = DELIVERED.allow(Instant::now()) {
            log::info!(
                "Successfully sent batch of {} segments ({:.3} seconds){held_back}",
                batch.len() - bad,
                took.as_secs_f64()
            );
        }
    }

    fn say_unprocessed(&self, batch: &Batch, entry: &Unprocessed) {
        let Some(held_back) = REFUSED.allow(Instant::now()) else {
            return;
        };
        let id = entry.id.as_deref();
        let trace_id = batch
            .documents()
            .map(|document| segment::ids(&document))
            .find_map(|(trace_id, found)| {
                (id.is_some() && found.as_deref() == id).then_some(trace_id?)
            });
        log::error!(
            "X-Ray did not take a segment: trace id {}, id {}, {}: {}{held_back}",
            shown(trace_id.as_deref()),
            shown(id),
            shown(Some(&entry.code)),
            shown(Some(&entry.message)),
        );
    }

    /// X-Ray refused the whole request: halve it until the document that it means stands alone.
    fn refused(&mut self, batch: &Batch, result: &Result<Answer, (Failure, String)>) {
        if batch.len() > 1 {
            let (first, second) = batch.split();
            self.pending.put_back(second);
            self.pending.put_back(first);
            return;
        }
        self.parts.books.rejected(batch.len());
        if let Some(held_back) = REFUSED.allow(Instant::now()) {
            let document = batch.documents().next().unwrap_or_default();
            let (trace_id, id) = segment::ids(&document);
            log::error!(
                "X-Ray refused a segment: trace id {}, id {}, {} bytes: {}{held_back}",
                shown(trace_id.as_deref()),
                shown(id.as_deref()),
                document.len(),
                explain(result),
            );
        }
    }

    /// Telemetry is never worth a word above debug: its permission may be missing for ever.
    fn telemetry_done(&mut self, result: &Result<Answer, (Failure, String)>) {
        let delivered = matches!(result, Ok(answer) if (200..300).contains(&answer.status));
        if !delivered {
            self.parts.telemetry.failed(result);
            log::debug!("telemetry was not taken: {}", explain(result));
        }
        self.parts.telemetry.answered(delivered);
    }
}

fn shown(text: Option<&str>) -> String {
    match text {
        None | Some("") => "unknown".to_owned(),
        Some(text) => logging::escape(text.as_bytes(), MAX_TEXT),
    }
}

/// One line of what went wrong, and where it is plain, what to do.
pub(super) fn explain(result: &Result<Answer, (Failure, String)>) -> String {
    let answer = match result {
        Err((failure, words)) => return format!("{failure} ({})", shown(Some(words))),
        Ok(answer) => answer,
    };
    let mut text = format!("HTTP {}", answer.status);
    let code = answer.error_code();
    for part in [code.as_deref(), answer.message().as_deref()]
        .into_iter()
        .flatten()
    {
        text.push_str(": ");
        text.push_str(&shown(Some(part)));
    }
    if code.is_some_and(|code| code.starts_with("AccessDenied")) {
        text.push_str(
            "; give the role of this daemon (the task role on ECS) the policy AWSXRayDaemonWriteAccess",
        );
    }
    text
}
