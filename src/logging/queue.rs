//! The queue of log lines, so that a thread that logs never waits for the disk, or for the program
//! that reads stdout.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that may wait. If the reader of the log stalls for longer, lines are lost, and the daemon
/// goes on.
const MAX_WAITING: usize = 256 * 1024;

/// The writing end. Clones share one queue.
#[derive(Clone, Default)]
pub(super) struct LogQueue(Arc<QueueShared>);

#[derive(Default)]
struct QueueShared {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    lines: Vec<u8>,
    /// Lines that did not fit or could not be written.
    lost: u64,
    /// The thread holds lines that it has not yet written.
    writing: bool,
}

impl LogQueue {
    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything is written, but no longer than `timeout`. True if it is.
    #[must_use]
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let busy = |state: &mut QueueState| state.writing || !state.lines.is_empty();
        let (state, _) = self
            .0
            .changed
            .wait_timeout_while(self.state(), timeout, busy)
            .unwrap_or_else(PoisonError::into_inner);
        !state.writing && state.lines.is_empty()
    }

    /// Writes what arrives to `sink`, for ever. `report` makes the line that tells how many lines
    /// were lost.
    pub(super) fn write_to(&self, sink: &mut dyn Write, report: &dyn Fn(u64) -> Vec<u8>) {
        let mut failed = 0;
        loop {
            let mut state = self
                .0
                .changed
                .wait_while(self.state(), |state| state.lines.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            let mut lines = std::mem::take(&mut state.lines);
            let lost = std::mem::take(&mut state.lost) + failed;
            state.writing = true;
            drop(state);

            let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
            if lost > 0 {
                lines.splice(0..0, report(lost));
            }
            // A full disk or a closed pipe may recover, so lost lines are counted and writing goes
            // on.
            failed = match sink.write_all(&lines) {
                Ok(()) => 0,
                Err(_) => lost + count,
            };
            self.state().writing = false;
            self.0.changed.notify_all();
        }
    }
}

/// Takes one line, ending in a newline, in each call. Never blocks on anything but the lock, and
/// never fails.
impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        if state.lines.len() + line.len() > MAX_WAITING {
            state.lost += 1;
        } else {
            state.lines.extend_from_slice(line);
            self.0.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread;

    const LONG: Duration = Duration::from_secs(60);

    /// Waits for a permit before each write, then hands the bytes out or fails.
    struct Gate {
        permits: Receiver<io::Result<()>>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.permits.recv().unwrap_or(Ok(()))?;
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (LogQueue, Sender<io::Result<()>>, Receiver<Vec<u8>>) {
        let queue = LogQueue::default();
        let (permit, permits) = channel();
        let (written, output) = channel();
        let writer = queue.clone();
        thread::spawn(move || {
            let report = |lost| format!("lost {lost}\n").into_bytes();
            writer.write_to(&mut Gate { permits, written }, &report);
        });
        (queue, permit, output)
    }

    fn text(output: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(output.try_iter().flatten().collect()).unwrap()
    }

    #[test]
    fn lines_come_out_in_order_before_flush_returns() {
        let (mut queue, permit, output) = start();
        drop(permit);
        let mut expected = String::new();
        for i in 0..1000 {
            let line = format!("line {i}\n");
            queue.write_all(line.as_bytes()).unwrap();
            expected += &line;
        }
        assert!(queue.flush(LONG));
        assert_eq!(text(&output), expected);
    }

    /// If the reader of the log stalls, lines are lost, but neither time nor memory.
    #[test]
    fn a_stalled_reader_costs_lines_and_they_are_counted() {
        let (mut queue, permit, output) = start();
        let line = [b'x'; 1023].into_iter().chain([b'\n']).collect::<Vec<u8>>();
        let total = 1000;
        for _ in 0..total {
            queue.write_all(&line).unwrap();
        }
        assert!(!queue.flush(Duration::ZERO));
        assert!(queue.state().lines.len() <= MAX_WAITING);
        drop(permit);
        assert!(queue.flush(LONG));
        queue.write_all(b"end\n").unwrap();
        assert!(queue.flush(LONG));
        let text = text(&output);
        let written = text.lines().filter(|line| line.starts_with('x')).count();
        let lost: usize = text
            .lines()
            .filter_map(|line| line.strip_prefix("lost ")?.parse::<usize>().ok())
            .sum();
        assert_eq!(written + lost, total);
        assert!(text.ends_with("end\n"));
    }

    #[test]
    fn a_sink_that_fails_is_tried_again() {
        let (mut queue, permit, output) = start();
        for _ in 0..2 {
            permit.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
            queue.write_all(b"gone\n").unwrap();
            assert!(queue.flush(LONG));
        }
        permit.send(Ok(())).unwrap();
        queue.write_all(b"back\n").unwrap();
        assert!(queue.flush(LONG));
        assert_eq!(text(&output), "lost 2\nback\n");
    }
}
