//! What an answer does to the documents it concerns, and what is said of it.

use std::time::{Duration, Instant};

use super::desk::Desk;
use crate::batch::Batch;
use crate::ingest::header;
use crate::logging::{self, RateLimit};
use crate::upload::back_off;
use crate::upload::response::{Answer, Failure, Unprocessed, Verdict};
use crate::upload::sender::{Cargo, Done};

/// Batches delivered are told of at most once a second, with the count of those between.
static DELIVERED: RateLimit = RateLimit::new(1, Duration::from_secs(1));

/// Refused documents, each in a line of its own, up to so many a minute.
static REFUSED: RateLimit = RateLimit::new(100, Duration::from_secs(60));

/// Longest text of the service in a line of the log, in bytes.
const MAX_TEXT: usize = 300;

impl Desk {
    /// A lane is back: settles the documents it carried. `None`: there are none, or they are held.
    pub(super) fn done(&mut self, cargo: Cargo, done: Done, now: Instant) -> Option<Settled> {
        self.lanes.returned();
        let settled = match cargo {
            Cargo::Telemetry(_) => {
                self.telemetry_done(&done.result);
                None
            }
            // Booked as lost already.
            Cargo::Segments(_) if self.closed => None,
            Cargo::Segments(batch) => {
                self.in_flight_bytes -= batch.body().len();
                self.segments_done(batch, done, now)
            }
        };
        self.see_to_it(now);
        settled
    }

    fn segments_done(&mut self, batch: Batch, done: Done, now: Instant) -> Option<Settled> {
        match &done.verdict {
            Verdict::Delivered(unprocessed) => {
                self.heard_from_backend(now);
                let bad = unprocessed.len().min(batch.len());
                self.parts.books.sent(batch.len() - bad);
                self.parts.books.rejected(bad);
            }
            Verdict::Hold { after, credentials } => {
                self.parts.telemetry.failed(&done.result);
                if let Some(target) = self.target.as_ref().filter(|_| *credentials) {
                    target.credentials.reject(done.credentials.generation);
                }
                self.back_off
                    .failed(done.epoch, now, *after, back_off::jitter());
                self.trouble.failed(&done.result, now);
                self.forget_telemetry();
                self.pending.put_back(batch);
                return None;
            }
            Verdict::Refused => {
                self.parts.telemetry.failed(&done.result);
                self.heard_from_backend(now);
                // Halve it until the document that X-Ray means stands alone.
                if batch.len() > 1 {
                    let (first, second) = batch.split();
                    self.pending.put_back(second);
                    self.pending.put_back(first);
                    return None;
                }
                self.parts.books.rejected(batch.len());
            }
        }
        Some(Settled { batch, done })
    }

    fn heard_from_backend(&mut self, now: Instant) {
        self.back_off.succeeded();
        self.trouble.over(now);
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

/// Documents that are in the books, and what there is to say of them.
pub(super) struct Settled {
    pub(super) batch: Batch,
    done: Done,
}

impl Settled {
    /// Writes it to the log. Reads documents, so it is not for those who hold the lock.
    pub(super) fn tell(&self) {
        match &self.done.verdict {
            Verdict::Delivered(unprocessed) => self.tell_delivered(unprocessed),
            Verdict::Refused => self.tell_refused(),
            Verdict::Hold { .. } => {}
        }
    }

    fn tell_delivered(&self, unprocessed: &[Unprocessed]) {
        let bad = unprocessed.len().min(self.batch.len());
        for entry in &unprocessed[..bad] {
            self.tell_unprocessed(entry);
        }
        if let Some(held_back) = DELIVERED.allow(Instant::now()) {
            log::info!(
                "Successfully sent batch of {} segments ({:.3} seconds){held_back}",
                self.batch.len() - bad,
                self.done.took.as_secs_f64()
            );
        }
    }

    fn tell_unprocessed(&self, entry: &Unprocessed) {
        let Some(held_back) = REFUSED.allow(Instant::now()) else {
            return;
        };
        let id = entry.id.as_deref();
        let trace_id = self
            .batch
            .documents()
            .map(|document| header::ids(&document))
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

    fn tell_refused(&self) {
        if let Some(held_back) = REFUSED.allow(Instant::now()) {
            let document = self.batch.documents().next().unwrap_or_default();
            let (trace_id, id) = header::ids(&document);
            log::error!(
                "X-Ray refused a segment: trace id {}, id {}, {} bytes: {}{held_back}",
                shown(trace_id.as_deref()),
                shown(id.as_deref()),
                document.len(),
                explain(&self.done.result),
            );
        }
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
    if (200..300).contains(&answer.status) {
        return format!(
            "HTTP {}, but the answer is not X-Ray's: is a proxy or a portal in between?",
            answer.status
        );
    }
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
