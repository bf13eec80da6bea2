//! Traces in the terminal.

mod columns;
mod console;
mod entity;
mod fold;
mod pen;
mod scale;
mod size;
mod text;
mod trace;
mod tree;
mod waterfall;

pub use console::Console;
pub(crate) use size::terminal_columns;
#[cfg(test)]
pub(super) use text::Text;

/// Columns of a terminal that does not say how wide it is.
const DEFAULT_WIDTH: usize = 100;
/// Below this there is no room for a bar beside a name; such a terminal wraps the lines.
const MIN_WIDTH: usize = 60;
/// With longer lines it is hard to see which bar belongs to which name.
const MAX_WIDTH: usize = 200;

/// How to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Columns of a line, 60 to 200.
    pub width: usize,
    /// Whether to use colours (SGR sequences). Every mark is a word as well.
    pub colour: bool,
    /// Whether to draw with ASCII only. Text from documents is shown as it is.
    pub ascii: bool,
    /// Whether to show annotations (of OpenTelemetry spans: attributes).
    pub annotations: bool,
}

impl Options {
    /// Reads the environment through `var`: `COLUMNS`, `NO_COLOR` (no-color.org), `TERM`, and the
    /// locale (`LC_ALL`, `LC_CTYPE`, `LANG`). `terminal` says whether the output is one.
    pub(crate) fn from_env(terminal: bool, var: impl Fn(&str) -> Option<String>) -> Options {
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        let width = set("COLUMNS").and_then(|columns| columns.trim().parse().ok());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        Options {
            width: clamp(width.unwrap_or(DEFAULT_WIDTH)),
            colour: terminal && !dumb && set("NO_COLOR").is_none(),
            // Containers usually have no locale, but their terminals still use UTF-8.
            ascii: locale.is_some_and(|locale| {
                let locale = locale.to_ascii_lowercase();
                !locale.contains("utf-8") && !locale.contains("utf8")
            }),
            annotations: false,
        }
    }
}

fn clamp(width: usize) -> usize {
    width.clamp(MIN_WIDTH, MAX_WIDTH)
}
