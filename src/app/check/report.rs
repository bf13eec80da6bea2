//! The report of `xray check`, line by line. Pure.

use std::fmt::Write;

use crate::logging;

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckVerdict {
    Ok,
    /// Segments arrive all the same.
    Warning,
    /// Segments do not arrive.
    Failed,
    /// It could not be tried, because of what failed before.
    NotTried,
}

impl CheckVerdict {
    /// The word that is printed, and its ANSI colour code.
    fn shown(self) -> (&'static str, &'static str) {
        match self {
            CheckVerdict::Ok => ("ok", "32"),
            CheckVerdict::Warning => ("warning", "33"),
            CheckVerdict::Failed => ("failed", "31"),
            CheckVerdict::NotTried => ("not tried", "2"),
        }
    }
}

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReportStyle {
    /// Columns of a line. A single word may be longer.
    pub(super) width: usize,
    /// Whether to use colours.
    pub(super) colour: bool,
}

/// Longest text of a line, in bytes: what others answer is cut before.
const MAX_TEXT: usize = 2000;

/// The columns of the report: a verdict, a subject, and the text.
const VERDICT_WIDTH: usize = 9;
const SUBJECT_WIDTH: usize = 14;
const TEXT_COLUMN: usize = 2 + VERDICT_WIDTH + 2 + SUBJECT_WIDTH + 2;

/// The number of warnings and failures so far.
#[derive(Debug, Default)]
pub(super) struct CheckTally {
    failures: usize,
    warnings: usize,
}

impl CheckTally {
    /// Counts one result, and returns its lines.
    pub(super) fn line(
        &mut self,
        style: ReportStyle,
        verdict: CheckVerdict,
        subject: &str,
        text: &str,
    ) -> String {
        match verdict {
            CheckVerdict::Failed => self.failures += 1,
            CheckVerdict::Warning => self.warnings += 1,
            CheckVerdict::Ok | CheckVerdict::NotTried => {}
        }
        line(style, verdict, subject, text)
    }

    /// Whether segments arrive.
    pub(super) fn is_well(&self) -> bool {
        self.failures == 0
    }

    /// The last line.
    pub(super) fn summary(&self) -> String {
        let warnings = match self.warnings {
            0 => String::new(),
            1 => ", with 1 warning".to_owned(),
            many => format!(", with {many} warnings"),
        };
        match self.is_well() {
            true => format!("\nSegments reach X-Ray{warnings}.\n"),
            false => format!("\nSegments do not reach X-Ray{warnings}.\n"),
        }
    }
}

/// The lines of one thing: words that do not fit continue below the first ones.
fn line(style: ReportStyle, verdict: CheckVerdict, subject: &str, text: &str) -> String {
    let (word, code) = verdict.shown();
    let word = format!("{word:<VERDICT_WIDTH$}");
    let word = match style.colour {
        true => format!("\x1b[{code}m{word}\x1b[0m"),
        false => word,
    };
    let mut lines = format!("  {word}  {subject:<SUBJECT_WIDTH$}  ");
    let mut column = TEXT_COLUMN;
    let text = logging::escape(text, MAX_TEXT);
    for (index, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > style.width {
            // Writing to a String cannot fail.
            let _ = write!(lines, "\n{:TEXT_COLUMN$}", "");
            column = TEXT_COLUMN;
        } else if index > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines.push('\n');
    lines
}

/// The part of an access key id that is enough to recognise it.
pub(super) fn masked(key_id: &str) -> String {
    const SHOWN: usize = 4;
    let letters: Vec<char> = key_id.chars().collect();
    let start: String = letters.iter().take(SHOWN).collect();
    match letters.len() {
        // Those of AWS have 16 at least.
        16.. => format!(
            "{start}…{}",
            String::from_iter(&letters[letters.len() - SHOWN..])
        ),
        _ => format!("{start}…"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: ReportStyle = ReportStyle {
        width: 60,
        colour: false,
    };

    #[test]
    fn lines_are_aligned_and_wrapped() {
        for (verdict, subject, text, expected) in [
            (
                CheckVerdict::Ok,
                "region",
                "us-east-1",
                "  ok         region          us-east-1\n",
            ),
            (
                CheckVerdict::NotTried,
                "sampling rules",
                "one two three four five six seven\n",
                "  not tried  sampling rules  one two three four five six\n\
                 \x20                            seven\\n\n",
            ),
            (
                CheckVerdict::Failed,
                "upload",
                "a-word-that-is-longer-than-there-is-room x",
                "  failed     upload          a-word-that-is-longer-than-there-is-room\n\
                 \x20                            x\n",
            ),
        ] {
            assert_eq!(line(PLAIN, verdict, subject, text), expected);
        }
        let coloured = ReportStyle {
            colour: true,
            ..PLAIN
        };
        assert_eq!(
            line(coloured, CheckVerdict::Warning, "clock", "late"),
            "  \x1b[33mwarning  \x1b[0m  clock           late\n"
        );
    }

    #[test]
    fn one_failure_is_enough() {
        let mut tally = CheckTally::default();
        assert_eq!(tally.summary(), "\nSegments reach X-Ray.\n");
        for (verdict, is_well, summary) in [
            (CheckVerdict::Ok, true, "\nSegments reach X-Ray.\n"),
            (
                CheckVerdict::Warning,
                true,
                "\nSegments reach X-Ray, with 1 warning.\n",
            ),
            (
                CheckVerdict::Warning,
                true,
                "\nSegments reach X-Ray, with 2 warnings.\n",
            ),
            (
                CheckVerdict::Failed,
                false,
                "\nSegments do not reach X-Ray, with 2 warnings.\n",
            ),
            (
                CheckVerdict::NotTried,
                false,
                "\nSegments do not reach X-Ray, with 2 warnings.\n",
            ),
        ] {
            tally.line(PLAIN, verdict, "x", "y");
            assert_eq!(tally.is_well(), is_well);
            assert_eq!(tally.summary(), summary);
        }
    }

    #[test]
    fn keys_are_masked() {
        for (id, expected) in [
            ("AKIAIOSFODNN7EXAMPLE", "AKIA…MPLE"),
            ("AKIDEXAMPLE", "AKID…"),
            ("é", "é…"),
            ("", "…"),
        ] {
            assert_eq!(masked(id), expected);
        }
    }

    proptest! {
        #[test]
        fn text_of_others_neither_breaks_lines_nor_reaches_the_terminal(text in "\\PC{0,300}|.{0,300}") {
            let lines = line(PLAIN, CheckVerdict::Ok, "x", &text);
            prop_assert!(lines.ends_with('\n') && !lines.contains('\x1b'));
            for (index, line) in lines.lines().enumerate() {
                let indented = line.chars().take(TEXT_COLUMN).filter(|c| *c == ' ').count();
                prop_assert!(index == 0 || indented == TEXT_COLUMN);
                let words = line.chars().skip(TEXT_COLUMN).filter(|c| c.is_whitespace()).count();
                prop_assert!(line.chars().count() <= PLAIN.width || words == 0);
            }
        }
    }
}
