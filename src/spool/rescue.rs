//! At the end of the process: saves records of files that were removed by another program.

use std::time::Instant;

use super::file::SpoolFile;
use super::reader::{ReaderStep, RecordReader};
use super::state::Spool;
use super::{LossReason, RecordAmount, RecordRange};

impl Spool {
    /// The daemon must not report records as kept that the next process will not find. Records in
    /// files without a name are written again if the files are open, and are lost otherwise.
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
        // The path may lead to another directory by now, so it is opened again.
        self.directory = None;
        self.open(now);
        for (number, mut file) in gone {
            let kept = self.write_again(&file).unwrap_or_default();
            let lost = file.give_up().saturating_sub(kept);
            let range = Some(RecordRange::whole(number));
            self.report
                .lost(file.destination, lost, LossReason::Vanished, range, now);
            if file.is_outstanding() {
                self.files.entry(number).or_insert(file);
            }
        }
    }

    /// Without a directory nothing can be written. Closed files may still exist, and open files
    /// without a name are lost.
    fn lose_without_directory(&mut self, now: Instant) {
        self.open(now);
        if self.directory.is_some() {
            return self.keep_what_was_removed(now);
        }
        for (number, file) in &mut self.files {
            if !file.is_unlinked() {
                continue;
            }
            let lost = file.give_up();
            let range = Some(RecordRange::whole(*number));
            self.report
                .lost(file.destination, lost, LossReason::Vanished, range, now);
        }
    }

    /// Writes what was not read of this file into another one. Returns how much that was.
    fn write_again(&mut self, file: &SpoolFile) -> Option<RecordAmount> {
        let mut kept = RecordAmount::default();
        let handle = file.handle.as_ref()?;
        self.directory.as_ref()?;
        let mut reader = RecordReader::new(handle, file.marker, file.start, file.size);
        loop {
            match reader.read_next() {
                Ok(ReaderStep::Record { offset, item }) if file.is_unread(offset) => {
                    if self.append(&item).is_err() {
                        return Some(kept);
                    }
                    kept += RecordAmount::of_item(&item);
                }
                Ok(ReaderStep::End | ReaderStep::TornTail) | Err(_) => return Some(kept),
                Ok(_) => {}
            }
        }
    }
}
