//! The end of the daemon, step by step, within its time.

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

/// A signal this soon after the first is its echo: `timeout` and some supervisors signal a process
/// and then its group, and a person needs longer to press a key twice.
const ECHO: Duration = Duration::from_millis(300);

/// How long after its deadline a step of the shutdown may still take. Only what waits for a stdout
/// that nobody reads takes longer, and that may be for ever.
const OVERDUE: Duration = Duration::from_secs(5);

impl Daemon {
    /// Stops in order, and logs how every segment ended. `logs_to_file` is what SIGHUP means,
    /// `first` when the signal came that asks for it; `None` if it was something else.
    ///
    /// # Errors
    /// When it was cut short: what was held is lost, but for what the spool keeps.
    pub(super) fn shut_down(
        self,
        exits: Receiver<Exit>,
        logs_to_file: bool,
        first: Option<Instant>,
    ) -> Result<(), StartError> {
        let mut stopping = Stopping {
            exits,
            first,
            logs_to_file,
            requests_ended: false,
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

    /// Where there is a spool, lets it keep what is held, which takes a moment unless the disk hangs. A
    /// further signal ends even that. Answers how every segment ended.
    fn keep(&self, stopping: &mut Stopping) -> Option<SegmentCounts> {
        self.channel.ask_snapshot(ANSWER)?.spool?;
        stopping.first = Some(Instant::now());
        self.readers.end();
        self.channel.send(Event::StopSending);
        let until = Instant::now() + ANSWER;
        let ended = |exit: &Exit| matches!(exit, Exit::ReadersEnded);
        stopping.wait(until, &self.channel, ended).ok()?;
        self.channel.send(Event::ReadersEnded);
        stopping
            .wait_for_uploader(Instant::now() + OVERDUE, &self.channel)
            .ok()?
    }

    /// Delivers what is held, within the time for it, and says what became of every segment.
    fn stop(&self, stopping: &mut Stopping) -> Result<SegmentCounts, CutShort> {
        if !self.shutdown_delay.is_zero() {
            log::info!("still receiving for {:?}", self.shutdown_delay);
            let until = Instant::now() + self.shutdown_delay;
            stopping.wait(until, &self.channel, |_| false)?;
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
        stopping.wait(deadline, &self.channel, |exit| {
            matches!(exit, Exit::Drained)
        })?;
        // Such a request may bring the last spans, and its client sends segments meanwhile.
        stopping.wait_for_requests(deadline, &self.channel)?;
        self.readers.end();
        let overdue = Instant::now() + OVERDUE;
        let ended = |exit: &Exit| matches!(exit, Exit::ReadersEnded);
        if !stopping.wait(overdue, &self.channel, ended)? {
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

fn totals(channel: &UploadChannel) -> Option<SegmentCounts> {
    Some(channel.ask_snapshot(ANSWER)?.segments)
}

/// The shutdown does not run to its end.
struct CutShort {
    totals: Option<SegmentCounts>,
    why: String,
}

/// Main, while the daemon stops.
struct Stopping {
    exits: Receiver<Exit>,
    first: Option<Instant>,
    logs_to_file: bool,
    /// Whether the requests on TCP are over. They may be at any step of the shutdown.
    requests_ended: bool,
}

impl Stopping {
    /// Waits for the end of the requests on TCP, at most until then.
    fn wait_for_requests(
        &mut self,
        until: Instant,
        channel: &UploadChannel,
    ) -> Result<(), CutShort> {
        if !self.requests_ended {
            self.wait(until, channel, |exit| matches!(exit, Exit::RequestsEnded))?;
        }
        Ok(())
    }

    /// Waits for the end of the thread that delivers, at most until then. Answers how every segment ended.
    fn wait_for_uploader(
        &mut self,
        until: Instant,
        channel: &UploadChannel,
    ) -> Result<Option<SegmentCounts>, CutShort> {
        let mut totals = None;
        self.wait(until, channel, |exit| {
            if let Exit::UploaderEnded(counts) = exit {
                totals = Some(*counts);
            }
            totals.is_some()
        })?;
        Ok(totals)
    }

    /// Waits for what satisfies `is_it`, at most until then. Whether it came.
    fn wait(
        &mut self,
        until: Instant,
        channel: &UploadChannel,
        mut is_it: impl FnMut(&Exit) -> bool,
    ) -> Result<bool, CutShort> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let exit = self.exits.recv_timeout(left);
            self.requests_ended |= matches!(exit, Ok(Exit::RequestsEnded));
            match exit {
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
                Ok(exit) if is_it(&exit) => return Ok(true),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Ok(false);
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
