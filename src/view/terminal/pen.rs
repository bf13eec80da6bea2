//! Writes one line of bounded width. It accepts only [`Text`] and constant text, so that no control
//! character and no line that is too long can be written.

use super::Options;
use super::text::{Text, columns, fit};

/// How a piece of a line looks, where colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PenStyle {
    Plain,
    Dim,
    Bold,
    Good,
    Warning,
    Throttled,
    Bad,
    /// The colour of the n-th service.
    Service(usize),
}

impl PenStyle {
    /// Codes of the 16 colours, which every terminal's theme makes readable on its background.
    fn sgr(self) -> &'static str {
        // Cyan, blue, green and their bright forms; the warm colours mean errors.
        const SERVICES: [&str; 6] = ["36", "34", "32", "96", "94", "92"];
        match self {
            PenStyle::Plain => "",
            PenStyle::Dim => "2",
            PenStyle::Bold => "1",
            PenStyle::Good => "32",
            PenStyle::Warning => "33",
            PenStyle::Throttled => "35",
            PenStyle::Bad => "31",
            PenStyle::Service(n) => SERVICES[n % SERVICES.len()],
        }
    }
}

/// One line being written. [`Pen::end`] ends it.
pub(super) struct Pen<'a> {
    out: &'a mut String,
    colour: bool,
    ellipsis: &'static str,
    /// Columns left in the line.
    left: usize,
    /// Spaces due before the next visible piece, so that no line ends in spaces.
    gap: usize,
    /// The codes in force.
    sgr: &'static str,
}

impl<'a> Pen<'a> {
    /// Starts a line.
    pub(super) fn line(options: &Options, out: &'a mut String) -> Pen<'a> {
        Pen {
            out,
            colour: options.colour,
            ellipsis: if options.ascii { "~" } else { "…" },
            left: options.width,
            gap: 0,
            sgr: "",
        }
    }

    /// Columns left, the gap not counted.
    pub(super) fn left(&self) -> usize {
        self.left.saturating_sub(self.gap)
    }

    /// Leaves columns free.
    pub(super) fn skip(&mut self, columns: usize) {
        self.gap += columns;
    }

    /// Writes text of our own.
    pub(super) fn own(&mut self, style: PenStyle, text: &'static str) {
        self.put(style, text);
    }

    /// Writes one of our drawing characters `n` times.
    pub(super) fn repeat(&mut self, style: PenStyle, text: &'static str, n: usize) {
        self.put(style, &text.repeat(n.min(self.left)));
    }

    /// Writes text, cut with an ellipsis to what is left of the line.
    pub(super) fn text(&mut self, style: PenStyle, text: &Text) {
        let left = self.left();
        self.cut(style, text, left);
    }

    /// Writes text into a cell of `width` columns, cut with an ellipsis.
    pub(super) fn cell(&mut self, style: PenStyle, text: &Text, width: usize) {
        let used = self.cut(style, text, width);
        self.skip(width - used);
    }

    /// The same, to the right of the cell.
    pub(super) fn cell_right(&mut self, style: PenStyle, text: &Text, width: usize) {
        self.skip(width.saturating_sub(text.columns()));
        self.cut(style, text, width);
    }

    /// Ends the line.
    pub(super) fn end(mut self) {
        self.switch("");
        self.out.push('\n');
    }

    fn cut(&mut self, style: PenStyle, text: &Text, width: usize) -> usize {
        let (whole, used) = fit(text.as_str(), width);
        if whole.len() == text.as_str().len() {
            self.put(style, whole);
            return used;
        }
        let (start, used) = fit(text.as_str(), width.saturating_sub(1));
        let word = start.trim_end_matches(' ');
        self.put(style, word);
        if width > 0 {
            self.put(style, self.ellipsis);
        }
        used - (start.len() - word.len()) + width.min(1)
    }

    fn put(&mut self, style: PenStyle, text: &str) {
        let (text, _) = fit(text, self.left());
        let visible = text.trim_end_matches(' ');
        // A mark without a letter takes no column, and fits where nothing is left.
        if !visible.is_empty() && self.gap <= self.left {
            self.out.extend(std::iter::repeat_n(' ', self.gap));
            self.left -= self.gap + columns(visible);
            self.gap = 0;
            self.switch(if self.colour { style.sgr() } else { "" });
            self.out.push_str(visible);
        }
        self.gap += text.len() - visible.len();
    }

    fn switch(&mut self, sgr: &'static str) {
        if self.sgr == sgr {
            return;
        }
        if !self.sgr.is_empty() {
            self.out.push_str("\x1b[0m");
        }
        if !sgr.is_empty() {
            for part in ["\x1b[", sgr, "m"] {
                self.out.push_str(part);
            }
        }
        self.sgr = sgr;
    }
}
