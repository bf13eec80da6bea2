//! Events and log lines of the spool: each problem once, not once for each record.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::directory::{SpoolDirectory, name};
use super::error::DirectoryError;
use super::index::EarlierFiles;
use super::{LossReason, RecordAmount, RecordRange, SpoolEvent, Usage, XRayApi};
use crate::logging::RateLimit;

/// Lines of one kind a minute. A full disk may fail and recover all the time.
const LINES: u32 = 3;

const MINUTE: Duration = Duration::from_secs(60);

static PROBLEMS: RateLimit = RateLimit::new(LINES, MINUTE);
static FULL: RateLimit = RateLimit::new(1, MINUTE);

/// Losses are summed up for so long before the first line, since one event seldom comes alone.
const SUM: Duration = Duration::from_secs(1);

/// Losses of one kind.
#[derive(Debug)]
struct Losses {
    /// Lost documents that were not logged yet.
    documents: u64,
    next_line: Instant,
}

/// Collects events.
#[derive(Debug, Default)]
pub(super) struct Report {
    events: Vec<SpoolEvent>,
    /// Whether a problem was reported and the recovery was not.
    is_problem: bool,
    /// Whether the log says that there is a problem.
    is_logged: bool,
    /// The usage that was last reported.
    usage: Usage,
    losses: BTreeMap<(XRayApi, LossReason), Losses>,
}

impl Report {
    pub(super) fn push(&mut self, event: SpoolEvent) {
        self.events.push(event);
    }

    pub(super) fn take(&mut self, usage: Usage) -> Vec<SpoolEvent> {
        if usage != self.usage {
            self.usage = usage;
            self.push(SpoolEvent::Usage(usage));
        }
        std::mem::take(&mut self.events)
    }

    /// The disk has failed.
    pub(super) fn problem(&mut self, error: &DirectoryError, now: Instant) {
        if self.is_problem {
            log::debug!("{error}");
            return;
        }
        self.is_problem = true;
        if let Some(held_back) = PROBLEMS.allow(now) {
            self.is_logged = true;
            log::error!("{error}; what cannot be sent waits in memory meanwhile{held_back}");
        }
        self.push(SpoolEvent::Problem(error.to_string()));
    }

    pub(super) fn is_problem(&self) -> bool {
        self.is_problem
    }

    /// The disk works.
    pub(super) fn recovered(&mut self) {
        if self.is_problem {
            self.is_problem = false;
            if std::mem::take(&mut self.is_logged) {
                log::info!("The spool directory can be used again");
            }
            self.push(SpoolEvent::Recovered);
        }
    }

    /// Records were lost.
    pub(super) fn lost(
        &mut self,
        destination: XRayApi,
        amount: RecordAmount,
        reason: LossReason,
        range: Option<RecordRange>,
        now: Instant,
    ) {
        if amount == RecordAmount::default() {
            return;
        }
        let losses = self.losses.entry((destination, reason));
        let losses = losses.or_insert(Losses {
            documents: 0,
            next_line: now + SUM,
        });
        losses.documents += amount.documents;
        self.push(SpoolEvent::Lost {
            destination,
            amount,
            reason,
            range,
        });
    }

    /// When [`log_losses`](Self::log_losses) has something to log.
    pub(super) fn next_line(&self) -> Option<Instant> {
        let losses = self.losses.values();
        let untold = losses.filter(|losses| losses.documents > 0);
        untold.map(|losses| losses.next_line).min()
    }

    /// Logs the sum of what was lost: one line a minute for each reason, and the rest at the end.
    pub(super) fn log_losses(&mut self, now: Instant, is_end: bool) {
        for ((destination, reason), losses) in &mut self.losses {
            if losses.documents > 0 && (is_end || losses.next_line <= now) {
                let documents = std::mem::take(&mut losses.documents);
                log::warn!("Lost {documents} {destination} from the spool: {reason}");
                losses.next_line = now + MINUTE;
            }
        }
    }

    /// Reports the records of earlier processes.
    pub(super) fn found(&mut self, directory: &SpoolDirectory, found: EarlierFiles, now: Instant) {
        let path = directory.path();
        for (destination, amount) in found.amounts {
            if amount == RecordAmount::default() {
                continue;
            }
            let documents = amount.documents;
            log::info!("Found {documents} {destination} of an earlier run in the spool {path:?}");
            self.push(SpoolEvent::Found {
                destination,
                amount,
            });
        }
        if found.torn > 0 {
            let files = found.torn;
            log::info!(
                "The last record of {} in {path:?} was not written to its end",
                counted(files, "file")
            );
        }
        if found.damaged > 0 {
            let places = found.damaged;
            log::warn!(
                "Damage in the spool {path:?} is skipped, in {}",
                counted(places, "place")
            );
            self.push(SpoolEvent::Damaged { places });
        }
        if let Some((number, why)) = found.foreign {
            let (count, file) = (found.foreign_count, name(number));
            match count {
                1 => log::warn!("The file {file} in the spool {path:?} is left alone: {why}"),
                _ => log::warn!(
                    "{count} files in the spool {path:?} are left alone, such as {file}: {why}"
                ),
            }
        }
        for (destination, amount) in found.vanished {
            self.lost(destination, amount, LossReason::Vanished, None, now);
        }
    }

    /// The limit is reached, and no file may be dropped.
    pub(super) fn full(&mut self, limit: u64, now: Instant) {
        if let Some(held_back) = FULL.allow(now) {
            log::warn!("The spool has reached its limit of {limit} bytes{held_back}");
        }
    }
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
