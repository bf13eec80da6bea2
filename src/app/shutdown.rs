//! The steps of the shutdown, each with its time limit.

use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::daemon::{Daemon, StartError};
use super::exits::{Exit, SignalAction};
use crate::ingest::socket;
use crate::logging;
use crate::upload::UploadChannel;
use crate::upload::counters::SegmentCounts;
use crate::upload::message::Event;
use crate::upload::spans::SpanCounts;

/// A second signal within this time is ignored: `timeout` and some supervisors signal a process and
/// then its group, and a person needs longer to press a key twice.
const ECHO: Duration = Duration::from_millis(300);

/// How long after its deadline a step of the shutdown may still take. Only a write to a stdout that
/// nobody reads takes longer, possibly for ever.
const OVERDUE: Duration = Duration::from_secs(5);

impl Daemon {
    /// Stops in order, and logs how every segment ended. `logs_to_file` is what SIGHUP means,
    /// `first` when the signal came that asks for it; `None` if it was something else.
    ///
    /// # Errors
    /// When it was cut short: the held segments are lost, except those in the spool.
    pub(super) fn shut_down(
        self,
        exits: Receiver<Exit>,
        logs_to_file: bool,
        first: Option<Instant>,
    ) -> Result<(), StartError> {
        let mut stopping = StoppingDaemon {
            exits,
            first,
            logs_to_file,
            steps: Steps::default(),
        };
        match self.stop(&mut stopping) {
            Ok(totals) => {
                drop(self.proxy);
                log_totals(Some(with_unread(totals, &self.socket)));
                Ok(())
            }
            Err(CutShort { totals, why }) => {
                log::warn!("{why}");
                log_totals(self.keep(&mut stopping).or(totals));
                Err(StartError::CutShort)
            }
        }
    }

    /// If there is a spool, lets it store the held segments, which is quick unless the disk hangs.
    /// Another signal ends even that. Returns how every segment ended.
    fn keep(&self, stopping: &mut StoppingDaemon) -> Option<SegmentCounts> {
        let until = Instant::now() + ANSWER;
        let Some(snapshot) = self.channel.ask_snapshot(ANSWER) else {
            // It does not answer because it has ended, or because it hangs.
            return stopping.wait_for_uploader(until, &self.channel).ok()?;
        };
        snapshot.spool?;
        stopping.first = Some(Instant::now());
        self.readers.end();
        self.channel.send(Event::StopSending);
        let until = Instant::now() + ANSWER;
        stopping.wait_for_readers(until, &self.channel).ok()?;
        self.channel.send(Event::ReadersEnded);
        stopping
            .wait_for_uploader(Instant::now() + OVERDUE, &self.channel)
            .ok()?
    }

    /// Delivers the held segments within the time limit, and returns how every segment ended.
    fn stop(&self, stopping: &mut StoppingDaemon) -> Result<SegmentCounts, CutShort> {
        if !self.shutdown_delay.is_zero() {
            log::info!("still receiving for {:?}", self.shutdown_delay);
            let until = Instant::now() + self.shutdown_delay;
            stopping.wait(until, &self.channel, |_| None::<()>)?;
        }
        let deadline = Instant::now() + self.shutdown_timeout;
        let exit = self.exit.clone();
        self.proxy.begin_stop(
            deadline,
            Box::new(move |_| {
                let _ = exit.send(Exit::RequestsEnded);
            }),
        );
        self.readers.begin_shutdown();
        self.channel.send(Event::BeginShutdown(deadline));
        let held = self.channel.ask_snapshot(ANSWER);
        let (segments, spans) = held.map_or((0, 0), |snapshot| {
            (snapshot.segments.held, snapshot.spans.spans.held)
        });
        let spans = match spans {
            0 => String::new(),
            spans => format!(" and {spans} spans"),
        };
        let again = match stopping.first {
            Some(_) => "; signal again to end at once",
            None => "",
        };
        let time = match self.shutdown_timeout {
            Duration::ZERO => "without waiting for answers".to_owned(),
            most => format!("for at most {most:?}{again}"),
        };
        log::info!("delivering {segments} segments{spans}, {time}");
        stopping.wait(deadline, &self.channel, |steps| {
            steps.is_drained.then_some(())
        })?;
        // Such a request may bring the last spans, and its client sends segments meanwhile.
        stopping.wait_for_requests(deadline, &self.channel)?;
        self.readers.end();
        let overdue = Instant::now() + OVERDUE;
        if !stopping.wait_for_readers(overdue, &self.channel)? {
            return Err(self.cut_short("the threads that read segments do not end"));
        }
        self.channel.send(Event::ReadersEnded);
        let overdue = deadline.max(Instant::now()) + OVERDUE;
        let Some(totals) = stopping.wait_for_uploader(overdue, &self.channel)? else {
            return Err(
                self.cut_short("the thread that delivers does not end; is stdout not read?")
            );
        };
        let overdue = deadline.max(Instant::now()) + OVERDUE;
        stopping
            .wait_for_requests(overdue, &self.channel)
            .map_err(|cut_short| CutShort {
                totals: Some(totals),
                ..cut_short
            })?;
        Ok(totals)
    }

    fn cut_short(&self, why: &str) -> CutShort {
        CutShort {
            totals: totals(&self.channel),
            why: why.to_owned(),
        }
    }
}

/// How long the uploader may take to answer. It needs microseconds, but may have to wait for the
/// processor; without its answer the totals are unknown and the spool cannot be asked to keep anything.
const ANSWER: Duration = Duration::from_secs(2);

/// The totals of this moment, those of the spans in the log.
fn totals(channel: &UploadChannel) -> Option<SegmentCounts> {
    let snapshot = channel.ask_snapshot(ANSWER)?;
    if snapshot.spool.is_none() && snapshot.spans != SpanCounts::default() {
        log::info!("Spans: {}", snapshot.spans);
    }
    Some(snapshot.segments)
}

/// The shutdown does not run to its end.
struct CutShort {
    totals: Option<SegmentCounts>,
    why: String,
}

/// Main, while the daemon stops.
struct StoppingDaemon {
    exits: Receiver<Exit>,
    first: Option<Instant>,
    logs_to_file: bool,
    steps: Steps,
}

/// What has ended so far. It is kept, because any of it may end while another is waited for, and because
/// what waits after a second signal has to know it too.
#[derive(Default)]
struct Steps {
    is_drained: bool,
    readers_ended: bool,
    requests_ended: bool,
    /// How every segment ended, once the uploader has.
    uploader_ended: Option<SegmentCounts>,
}

impl Steps {
    fn note(&mut self, exit: &Exit) {
        match exit {
            Exit::Drained => self.is_drained = true,
            Exit::ReadersEnded => self.readers_ended = true,
            Exit::RequestsEnded => self.requests_ended = true,
            Exit::UploaderEnded(counts) => self.uploader_ended = Some(*counts),
            Exit::Signal(_) | Exit::ProgramEnded | Exit::Fatal(_) => {}
        }
    }
}

impl StoppingDaemon {
    /// Waits for the end of the requests on TCP, at most until then.
    fn wait_for_requests(
        &mut self,
        until: Instant,
        channel: &UploadChannel,
    ) -> Result<(), CutShort> {
        self.wait(until, channel, |steps| steps.requests_ended.then_some(()))?;
        Ok(())
    }

    /// Waits for the end of the threads that read segments, at most until then. Whether they have ended.
    fn wait_for_readers(
        &mut self,
        until: Instant,
        channel: &UploadChannel,
    ) -> Result<bool, CutShort> {
        let ended = self.wait(until, channel, |steps| steps.readers_ended.then_some(()))?;
        Ok(ended.is_some())
    }

    /// Waits for the end of the thread that delivers, at most until then. Returns how every segment ended.
    fn wait_for_uploader(
        &mut self,
        until: Instant,
        channel: &UploadChannel,
    ) -> Result<Option<SegmentCounts>, CutShort> {
        self.wait(until, channel, |steps| steps.uploader_ended)
    }

    /// Waits until `result` is there, at most until then. `None`: it is not.
    fn wait<T>(
        &mut self,
        until: Instant,
        channel: &UploadChannel,
        result: impl Fn(&Steps) -> Option<T>,
    ) -> Result<Option<T>, CutShort> {
        loop {
            let found = result(&self.steps);
            if found.is_some() {
                return Ok(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.exits.recv_timeout(left) {
                Ok(Exit::Signal(SignalAction::HangUp)) if self.logs_to_file => logging::reopen(),
                Ok(Exit::Signal(_)) if self.first.is_none() => {
                    self.first = Some(Instant::now());
                    log::info!(
                        "Got a signal to end: still delivering; signal again to end at once"
                    );
                }
                Ok(Exit::Signal(_)) if self.first.is_some_and(|at| at.elapsed() < ECHO) => {}
                Ok(Exit::Signal(_)) => {
                    return Err(CutShort {
                        totals: totals(channel),
                        why: "a second signal: stopping at once".to_owned(),
                    });
                }
                Ok(exit) => self.steps.note(&exit),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Ok(None);
                }
            }
        }
    }
}

/// Counts what came after the last read.
fn with_unread(mut totals: SegmentCounts, socket: &UdpSocket) -> SegmentCounts {
    let unread = socket::discard_waiting(socket);
    totals.refused_at_end += unread.datagrams;
    totals.empty += unread.empty;
    if let Some(drops) = socket::kernel_drops(socket) {
        totals.set_kernel_drops(drops);
    }
    totals
}

fn log_totals(totals: Option<SegmentCounts>) {
    match totals {
        Some(totals) if totals.spooled > 0 => {
            log::info!(
                "Totals: {totals}; {} kept for the next start",
                totals.spooled
            );
        }
        Some(totals) => log::info!("Totals: {totals}"),
        None => log::error!("Totals: unknown, the thread that delivers does not answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    /// The second signal comes after the readers have ended and before the uploader has: what was
    /// waited for already is known to those that wait after the signal.
    #[test]
    fn what_has_ended_before_a_second_signal_is_known_after_it() {
        let (uploads, messages) = UploadChannel::new(100);
        let (exit, exits) = channel();
        let mut stopping = StoppingDaemon {
            exits,
            first: Instant::now().checked_sub(2 * ECHO),
            logs_to_file: false,
            steps: Steps::default(),
        };
        let counts = SegmentCounts {
            received: 3,
            sent: 3,
            ..SegmentCounts::default()
        };
        exit.send(Exit::ReadersEnded).unwrap();
        exit.send(Exit::UploaderEnded(counts)).unwrap();
        // The thread that answers for the totals is gone.
        drop(messages);
        exit.send(Exit::Signal(SignalAction::ShutDown("terminated")))
            .unwrap();
        let long = Instant::now() + xray_test_support::DEADLINE;
        assert!(
            stopping
                .wait_for_readers(long, &uploads)
                .is_ok_and(|ended| ended)
        );
        assert!(stopping.wait_for_requests(long, &uploads).is_err());
        let now = Instant::now();
        assert!(
            stopping
                .wait_for_readers(now, &uploads)
                .is_ok_and(|ended| ended)
        );
        let totals = stopping.wait_for_uploader(now, &uploads);
        assert!(totals.is_ok_and(|totals| totals == Some(counts)));
    }
}
