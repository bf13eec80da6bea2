//! At the end: what was stored in files that somebody has removed meanwhile.

use std::time::Instant;

use super::file::SpoolFile;
use super::reader::{ReaderStep, RecordReader};
use super::state::Spool;
use super::{Amount, LossReason};

impl Spool {
    /// Nobody must be told that something is kept which the next process will not find: what is in files
    /// without a name is written again as long as they are open, and is lost otherwise.
    pub(super) fn keep_what_was_removed(&mut self, now: Instant) {
        let Some(directory) = &self.directory else {
            return self.lose_without_directory(now);
        };
        let files = &mut self.files;
        let gone = files.extract_if(.., |number, file| !file.is_in(directory, *number));
        let gone: Vec<(u64, SpoolFile)> = gone.collect();
        if gone.is_empty() {
            return;
        }
        // The directory may be another one by now. It is opened anew.
        self.directory = None;
        self.open(now);
        for (number, mut file) in gone {
            let kept = self.write_again(&file).unwrap_or_default();
            let lost = file.give_up().saturating_sub(kept);
            self.report
                .lost(file.destination, lost, LossReason::Vanished, now);
            if file.is_outstanding() {
                self.files.entry(number).or_insert(file);
            }
        }
    }

    /// Without a directory nothing can be written. What was closed before can still be there, and what is
    /// open and has no name is lost.
    fn lose_without_directory(&mut self, now: Instant) {
        self.open(now);
        if self.directory.is_some() {
            return self.keep_what_was_removed(now);
        }
        for file in self.files.values_mut().filter(|file| file.is_unlinked()) {
            let lost = file.give_up();
            self.report
                .lost(file.destination, lost, LossReason::Vanished, now);
        }
    }

    /// Writes what was not read of this file into another one. Answers how much that was.
    fn write_again(&mut self, file: &SpoolFile) -> Option<Amount> {
        let mut kept = Amount::default();
        let handle = file.handle()?;
        self.directory.as_ref()?;
        let mut reader = RecordReader::new(handle, file.marker, file.start(), file.size);
        loop {
            match reader.read_next() {
                Ok(ReaderStep::Record { offset, item }) if file.is_unread(offset) => {
                    if self.append(&item).is_err() {
                        return Some(kept);
                    }
                    kept += Amount::of_item(&item);
                }
                Ok(ReaderStep::End | ReaderStep::TornTail) | Err(_) => return Some(kept),
                Ok(_) => {}
            }
        }
    }
}
