//! Prints the report of `xray check` while it grows.

use std::io::{self, IsTerminal, Write};

use super::report::{CheckTally, CheckVerdict, ReportStyle};
use crate::view;

/// The report on its way to the terminal: each line is printed when it is known.
pub(super) struct Page {
    style: ReportStyle,
    tally: CheckTally,
}

impl Page {
    /// Uses the width of the terminal, and colours if it has them.
    pub(super) fn new() -> Page {
        let terminal = io::stdout().is_terminal();
        let options = view::Options::from_env(terminal, |name| std::env::var(name).ok());
        Page {
            style: ReportStyle {
                width: view::terminal_columns(io::stdout()).unwrap_or(options.width),
                colour: options.colour,
            },
            tally: CheckTally::default(),
        }
    }

    /// Prints the last line. Returns whether segments arrive.
    pub(super) fn end(&self) -> bool {
        self.print(&self.tally.summary());
        self.tally.is_well()
    }

    pub(super) fn line(&mut self, verdict: CheckVerdict, subject: &str, text: &str) {
        let line = self.tally.line(self.style, verdict, subject, text);
        self.print(&line);
    }

    pub(super) fn ok(&mut self, subject: &str, text: &str) {
        self.line(CheckVerdict::Ok, subject, text);
    }

    pub(super) fn fail(&mut self, subject: &str, text: &str) {
        self.line(CheckVerdict::Failed, subject, text);
    }

    pub(super) fn print(&self, text: &str) {
        let mut out = io::stdout();
        // Without a reader the exit status remains.
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }
}
