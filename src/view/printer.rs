//! The printer stands where the uploader stands when traces are shown here instead of in X-Ray:
//! it takes the same events, and nothing leaves the machine.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::ingest::intake::Intake;
use crate::upload::counters::Books;
use crate::upload::message::{Event, Events};
use crate::view::{Console, json_line};

/// Between two looks at the traces that wait to be complete. Only while there are any.
const TICK: Duration = Duration::from_millis(250);

/// Events that may wait for the printer. Readers wait beyond that, and the kernel's buffer with
/// them: what cannot be shown as fast as it comes is not worth memory.
const CHANNEL: usize = 16;

/// How documents are shown.
pub enum Style {
    /// Traces as waterfalls.
    Console(Console),
    /// Each document on a line.
    Json,
}

/// The state of the thread `printer`.
pub struct Printer {
    events: Receiver<Event>,
    intake: Arc<Intake>,
    books: Arc<Books>,
    style: Style,
    text: String,
}

impl Printer {
    /// With nothing to show yet, and where its events go.
    pub fn new(intake: Arc<Intake>, books: Arc<Books>, style: Style) -> (Self, Events) {
        let (sender, events) = sync_channel(CHANNEL);
        let take = Arc::new(move |event| {
            // It fails when the printer has ended, and there is nothing left to show.
            let _ = match event {
                // Whoever asks whether the printer lives must not wait for it.
                Event::Ping(_) => sender.try_send(event).map_err(drop),
                event => sender.send(event).map_err(drop),
            };
        });
        let printer = Printer {
            events,
            intake,
            books,
            style,
            text: String::new(),
        };
        (printer, take)
    }

    /// Prints until [`Event::Stop`].
    pub fn run(mut self) {
        loop {
            let event = if self.waits() {
                self.events.recv_timeout(TICK)
            } else {
                self.events
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected)
            };
            let now = Instant::now();
            let mut stop = false;
            match event {
                Ok(Event::Opened) => {}
                Ok(Event::Batch(batch)) => self.show(&batch, now),
                Ok(Event::Stop(_)) | Err(RecvTimeoutError::Disconnected) => stop = true,
                Ok(Event::Ping(answer)) => {
                    let _ = answer.try_send(());
                }
                // Of a backend that there is not.
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
            // Until it is empty, and the next document will be announced.
            while self.intake.open_since().is_some() {
                let open = self.intake.take();
                self.show(&open, now);
            }
            if let Style::Console(console) = &mut self.style {
                if stop {
                    console.finish(&mut self.text);
                } else {
                    console.tick(now, &mut self.text);
                }
            }
            self.print();
            if stop {
                return;
            }
        }
    }

    fn waits(&self) -> bool {
        matches!(&self.style, Style::Console(console) if console.waits())
    }

    fn show(&mut self, batch: &Batch, now: Instant) {
        for document in batch.documents() {
            match &mut self.style {
                Style::Console(console) => console.document(&document, now, &mut self.text),
                Style::Json => {
                    self.text.push_str(&json_line(&document));
                    self.text.push('\n');
                }
            }
        }
        self.books.sent(batch.len());
    }

    fn print(&mut self) {
        if !self.text.is_empty() {
            let mut out = io::stdout().lock();
            // Nobody may be reading any more; the daemon goes on.
            let _ = out
                .write_all(self.text.as_bytes())
                .and_then(|()| out.flush());
            self.text.clear();
        }
    }
}
