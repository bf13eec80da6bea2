//! The state of the spool, and its reaction to messages, to disk errors and to time.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use super::directory::SpoolDirectory;
use super::error::DirectoryError;
use super::file::SpoolFile;
use super::index::index_all;
use super::report::Report;
use super::{
    SYNC_INTERVAL, SpoolEvent, SpoolIdentity, SpoolMessage, SpoolSettings, Usage, XRayApi,
};

/// How long the disk is not used after an error.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// The state of the spool. All its methods may take as long as the disk does.
#[derive(Debug)]
pub(crate) struct Spool {
    pub(super) settings: SpoolSettings,
    pub(super) identity: Option<SpoolIdentity>,
    pub(super) directory: Option<SpoolDirectory>,
    /// By number, which is the order in which they were created.
    pub(super) files: BTreeMap<u64, SpoolFile>,
    pub(super) next_number: u64,
    /// Set after a disk error: when to try again.
    pub(super) retry_at: Option<Instant>,
    /// Bytes of the record that could not be written last.
    pub(super) unwritten: usize,
    /// Set while there are unsynchronised writes: when to synchronise.
    pub(super) synchronise_at: Option<Instant>,
    pub(super) report: Report,
}

impl Spool {
    pub(super) fn new(settings: SpoolSettings) -> Self {
        Spool {
            settings,
            identity: None,
            directory: None,
            files: BTreeMap::new(),
            next_number: 0,
            retry_at: None,
            unwritten: 0,
            synchronise_at: None,
            report: Report::default(),
        }
    }

    /// What has happened since the last call.
    pub(super) fn take_events(&mut self) -> Vec<SpoolEvent> {
        let usage = Usage {
            bytes: self.bytes(None),
            oldest: self.files.values().filter_map(|file| file.oldest).min(),
        };
        self.report.take(usage)
    }

    /// When [`Spool::tick`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [self.retry_at, self.synchronise_at, self.report.next_line()];
        deadlines.into_iter().flatten().min()
    }

    pub(super) fn tick(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
            self.open(now);
            self.remove_finished(now);
            self.check(now);
        }
        if self.synchronise_at.is_some_and(|at| now >= at) {
            self.synchronise(now);
        }
        self.report.log_losses(now, false);
    }

    pub(super) fn handle(&mut self, message: SpoolMessage, now: Instant) {
        match message {
            SpoolMessage::Open(identity) => {
                self.identity.get_or_insert(identity);
                self.open(now);
            }
            SpoolMessage::Store { id, item } => {
                let event = match self.store(&item, now) {
                    Ok(record) => SpoolEvent::Stored { id, record },
                    Err(error) => SpoolEvent::StoreFailed {
                        id,
                        destination: item.kind.destination(),
                        error,
                    },
                };
                self.report.push(event);
            }
            SpoolMessage::Read {
                destination,
                max_bytes,
                not_before,
            } => {
                let more = self.read(destination, max_bytes, not_before, now);
                self.report
                    .push(SpoolEvent::ReadFinished { destination, more });
            }
            SpoolMessage::Settled(record) => self.settle(record, now),
            SpoolMessage::Release(record) => self.release(record, now),
            SpoolMessage::Flush => {
                self.keep_what_was_removed(now);
                self.synchronise(now);
                self.report.log_losses(now, true);
                self.report.push(SpoolEvent::Flushed);
            }
        }
    }

    /// Opens the directory if it is not open, and counts the records in it.
    pub(super) fn open(&mut self, now: Instant) {
        let Some(identity) = &self.identity else {
            return;
        };
        if self.directory.is_some() {
            return;
        }
        let opened = SpoolDirectory::open(&self.settings.directory).and_then(|directory| {
            match index_all(&directory, identity, &mut self.files) {
                Ok(found) => Ok((directory, found)),
                Err(error) => {
                    let path = directory.path();
                    Err(DirectoryError::system(path, "cannot read it", error))
                }
            }
        });
        match opened {
            Ok((directory, found)) => {
                self.next_number = self.next_number.max(found.next_number);
                self.report.found(&directory, found, now);
                self.directory = Some(directory);
                self.report.recovered();
                // Files without a record to be read.
                self.remove_finished(now);
            }
            Err(error) => self.fail(&error, now),
        }
    }

    /// Synchronises all files. Returns whether all that was stored survives the end of the host.
    pub(super) fn synchronise(&mut self, now: Instant) -> bool {
        self.synchronise_at = None;
        let mut files = self.files.values_mut();
        let written = files.try_for_each(SpoolFile::synchronise);
        // A file without a name could not be found by the next process.
        let named = match &self.directory {
            Some(directory) => directory.synchronise(),
            None => Ok(()),
        };
        match written.and(named) {
            Ok(()) => true,
            Err(error) => {
                self.synchronise_at = Some(now + SYNC_INTERVAL);
                self.fail_to("cannot synchronise it", error, now);
                false
            }
        }
    }

    /// Finds out whether the directory works again, although there may be nothing to be stored.
    fn check(&mut self, now: Instant) {
        let is_time = self.report.is_problem() && self.retry_at.is_none();
        if !is_time || !self.synchronise(now) {
            return;
        }
        let directory = self.directory.as_ref();
        match directory.map(|directory| directory.try_to_write(self.unwritten)) {
            None => {}
            Some(Ok(())) => self.report.recovered(),
            Some(Err(error)) => self.fail_to("cannot write to it", error, now),
        }
    }

    /// The disk has failed. It is tried again later. The error is logged once.
    fn fail(&mut self, error: &DirectoryError, now: Instant) {
        // Another error must not put off the next attempt: the uploader reads once a second.
        self.retry_at.get_or_insert(now + RETRY_INTERVAL);
        self.report.problem(error, now);
    }

    pub(super) fn fail_to(&mut self, what: &'static str, error: io::Error, now: Instant) {
        use io::ErrorKind::{NotFound, StaleNetworkFileHandle};

        if matches!(error.kind(), NotFound | StaleNetworkFileHandle) {
            // The directory or a file has been removed: open the path again. Files that are still
            // open can be read.
            self.directory = None;
            self.files.values_mut().for_each(SpoolFile::seal);
        }
        let error = DirectoryError::system(&self.settings.directory, what, error);
        self.fail(&error, now);
    }

    /// Bytes of all files, or of those for one destination.
    pub(super) fn bytes(&self, destination: Option<XRayApi>) -> u64 {
        let files = self.files.values();
        files
            .filter(|file| destination.is_none_or(|wanted| file.destination == wanted))
            .map(SpoolFile::bytes)
            .sum()
    }
}
