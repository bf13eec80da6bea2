//! Prints the report of `xray check` while it grows.

use std::io::{self, IsTerminal, Write};

use super::report::{Style, Tally, Verdict};
use crate::view;

/// The report on its way to the terminal: each line is printed when it is known.
pub(super) struct Page {
    style: Style,
    tally: Tally,
}

impl Page {
    /// As wide as the terminal, and in its colours.
    pub(super) fn new() -> Page {
        let terminal = io::stdout().is_terminal();
        let options = view::Options::from_env(terminal, |name| std::env::var(name).ok());
        Page {
            style: Style {
                width: view::terminal_columns(io::stdout()).unwrap_or(options.width),
                colour: options.colour,
            },
            tally: Tally::default(),
        }
    }

    /// Prints the last line. Whether all that matters is well.
    pub(super) fn end(&self) -> bool {
        self.print(&self.tally.summary());
        self.tally.is_well()
    }

    pub(super) fn line(&mut self, verdict: Verdict, subject: &str, text: &str) {
        let line = self.tally.line(self.style, verdict, subject, text);
        self.print(&line);
    }

    pub(super) fn ok(&mut self, subject: &str, text: &str) {
        self.line(Verdict::Ok, subject, text);
    }

    pub(super) fn fail(&mut self, subject: &str, text: &str) {
        self.line(Verdict::Failed, subject, text);
    }

    pub(super) fn print(&self, text: &str) {
        let mut out = io::stdout();
        // Without a reader the exit status remains.
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }
}
