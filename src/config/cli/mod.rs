//! The command line: one table of flags is the parser, the help text, the manual page and the
//! completions.
//!
//! The grammar is that of Go's `flag` package, because task definitions written for the official
//! daemon use all of it: `-bind x`, `--bind=x`, `-o=false`, repeated flags (the last one wins),
//! and an end at the first word that is no flag.

mod commands;
pub mod completions;
mod flags;
pub mod go;
mod hints;
mod manual;

use std::ffi::OsString;
use std::fmt;

pub(crate) use commands::HOSTED;
pub use commands::{Command, CommandWord, help};
pub use flags::{Exporter, Flags};
use flags::{FLAGS, FlagKind};
pub use manual::manual;

/// Exit status of a command line that cannot be understood, as in Go.
pub(crate) const EXIT_USAGE: u8 = 2;

/// A parsed command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// What to do.
    pub command: Command,
    /// The settings given. Meaningless for [`Command::Help`].
    pub flags: Flags,
    /// The word that ended the flags: it and what follows were not looked at.
    pub ignored: Option<String>,
    /// For [`Command::Exec`]: the program and its arguments. Empty for the daemon beside it.
    pub program: Vec<OsString>,
    /// Whether this is the daemon that [`Command::Exec`] has started.
    pub is_hosted: bool,
}

/// A command line that cannot be understood: print this on stderr and exit with [`EXIT_USAGE`].
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError {
    message: String,
    /// The command that it asks for. Without one, print [`help`] on stdout as well, as the
    /// official daemon does.
    pub command: Option<&'static CommandWord>,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.command {
            Some(word) => write!(f, "\nsee `xray {} --help`", word.name),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UsageError {}

/// Reads the arguments after the program's name.
///
/// The word of a command may stand before, between or after the flags, because an image's entry
/// point brings flags of its own. Any other word ends the flags, and the rest is ignored; as the
/// first argument, behind a command, and behind `--` it is an error, because the user must
/// have meant something else.
///
/// # Errors
/// An unknown command or flag, a missing or malformed value, or an argument that is not UTF-8.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, UsageError> {
    let mut parsed = Parsed::default();
    match read(&mut args.into_iter(), &mut parsed) {
        Ok(()) => Ok(parsed),
        Err(message) => Err(UsageError {
            message,
            command: parsed.command.word(),
        }),
    }
}

fn read(args: &mut dyn Iterator<Item = OsString>, parsed: &mut Parsed) -> Result<(), String> {
    let mut is_first = true;
    while let Some(argument) = args.next() {
        let argument = utf8(argument)?;
        let is_first = std::mem::take(&mut is_first);
        if is_first && argument == HOSTED {
            parsed.is_hosted = true;
            continue;
        }
        if parsed.command == Command::Run
            && let Some(word) = commands::command(&argument)
        {
            parsed.command = word.command;
            continue;
        }
        let Some(body) = argument.strip_prefix('-').filter(|b| !b.is_empty()) else {
            if is_first && let Some(message) = hints::unknown_command(&argument) {
                return Err(message);
            }
            if parsed.command == Command::Exec {
                return Err(format!(
                    "exec: write -- before the program: xray exec [options] -- {argument}"
                ));
            }
            refuse_word(parsed.command, &argument)?;
            parsed.ignored = Some(argument);
            break;
        };
        if body == "-" {
            if parsed.command == Command::Exec {
                parsed.program = args.collect();
            } else if let Some(word) = args.next() {
                let word = word.to_string_lossy();
                refuse_word(parsed.command, &word)?;
                // The official daemon ignores all that follows, and then is a daemon.
                if !word.is_empty() && !word.starts_with('-') {
                    return Err(format!("did you mean `xray exec ... -- {word}`?"));
                }
            }
            break;
        }
        let body = body.strip_prefix('-').unwrap_or(body);
        if body.starts_with(['-', '=']) {
            return Err(format!("bad flag syntax: {argument}"));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let Some(flag) = FLAGS
            .iter()
            .find(|flag| flag.name == name || (flag.short == name && !name.is_empty()))
        else {
            return Err(format!(
                "flag provided but not defined: -{name}{}",
                hints::unknown_flag(&argument, name)
            ));
        };
        match flag.kind {
            FlagKind::Help => {
                parsed.command = Command::Help(parsed.command.word());
                return Ok(());
            }
            FlagKind::Switch(set) => {
                let on = match &value {
                    None => true,
                    Some(word) => go::boolean(word).ok_or_else(|| {
                        format!(
                            "invalid boolean value {word:?} for -{name}: parse error{}",
                            hints::one_argument(&argument)
                        )
                    })?,
                };
                set(&mut parsed.flags, on);
            }
            FlagKind::Value(_, set) => {
                let value = match value {
                    Some(value) => value,
                    None => utf8(
                        args.next()
                            .ok_or_else(|| format!("flag needs an argument: -{name}"))?,
                    )?,
                };
                set(&mut parsed.flags, &value)
                    .map_err(|why| format!("invalid value {value:?} for flag -{name}: {why}"))?;
            }
        }
    }
    if parsed.flags.version == Some(true) {
        parsed.command = Command::Version;
    }
    if parsed.is_hosted && parsed.command != Command::Exec {
        return Err(format!("unknown command {HOSTED:?}; it is for exec alone"));
    }
    if parsed.command == Command::Exec && parsed.program.is_empty() && !parsed.is_hosted {
        return Err("exec: no program is given: xray exec [options] -- PROGRAM".to_owned());
    }
    Ok(())
}

/// Commands that only ask have no use for a word.
fn refuse_word(command: Command, word: &str) -> Result<(), String> {
    match command.word() {
        Some(asked) if !word.is_empty() => Err(format!(
            "{} takes flags only, and {word:?} is none",
            asked.name
        )),
        _ => Ok(()),
    }
}

fn utf8(argument: OsString) -> Result<String, String> {
    argument
        .into_string()
        .map_err(|raw| format!("argument is not UTF-8: {raw:?}"))
}

/// The line `-v` prints, without its newline. The wording is the official daemon's.
#[must_use]
pub fn version() -> String {
    format!("AWS X-Ray daemon version: {}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests;
