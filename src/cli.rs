//! The command line: one table of flags is the parser and the help text.
//!
//! The grammar is that of Go's `flag` package, because task definitions written for the official
//! daemon use all of it: `-bind x`, `--bind=x`, `-o=false`, repeated flags (the last one wins),
//! and an end at the first word that is no flag.

pub mod go;

use std::ffi::OsString;
use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

/// Exit status of a command line that cannot be understood, as in Go.
pub const EXIT_USAGE: u8 = 2;

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Command {
    /// Be the daemon.
    #[default]
    Run,
    /// Ask the daemon on this machine whether it is well.
    Healthcheck,
    /// Print [`help`] and exit 0.
    Help,
    /// Print [`version`] and exit 0.
    Version,
}

/// Where segments go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exporter {
    /// To X-Ray, as the official daemon does.
    #[default]
    Xray,
    /// To X-Ray when there are credentials, otherwise to the console.
    Auto,
    /// To the terminal, as a readable tree.
    Console,
    /// To stdout, one JSON document a line.
    Json,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-11-22T19:20:47Z [Info] message`, as the official daemon does.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A parsed command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// What to do.
    pub command: Command,
    /// The settings given. Meaningless for [`Command::Help`].
    pub flags: Flags,
}

/// The flags that were given; `None` is "not given", so that cfg.yaml decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `-a`: ARN reported in telemetry.
    pub resource_arn: Option<String>,
    /// `-o`: no EC2 instance metadata.
    pub local_mode: Option<bool>,
    /// `-m`: MB that held documents may use; 0 or less means automatic.
    pub buffer_memory: Option<i64>,
    /// `-n`: AWS region.
    pub region: Option<String>,
    /// `-b`: UDP address, `host:port`.
    pub bind: Option<String>,
    /// `-t`: TCP address, `host:port`.
    pub bind_tcp: Option<String>,
    /// `-r`: role to assume.
    pub role_arn: Option<String>,
    /// `-c`: path of the configuration file.
    pub config: Option<String>,
    /// `-f`: path of the log file.
    pub log_file: Option<String>,
    /// `-l`: log level, not yet checked.
    pub log_level: Option<String>,
    /// `-p`: HTTP proxy for uploads.
    pub proxy_address: Option<String>,
    /// `--exporter`.
    pub exporter: Option<Exporter>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
    /// `--shutdown-delay`: how long to keep receiving after a signal to stop.
    pub shutdown_delay: Option<Duration>,
    /// `--shutdown-timeout`: how long delivering what is held may take after that.
    pub shutdown_timeout: Option<Duration>,
    /// `-v`.
    pub version: Option<bool>,
}

/// A command line that cannot be understood: print this on stderr, [`help`] on stdout, and exit
/// with [`EXIT_USAGE`].
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

struct Flag {
    name: &'static str,
    /// Empty for the flags that the official daemon does not have.
    short: &'static str,
    help: &'static str,
    kind: Kind,
}

enum Kind {
    Switch(fn(&mut Flags, bool)),
    Value(
        &'static str,
        fn(&mut Flags, &str) -> Result<(), &'static str>,
    ),
    Help,
}

const fn flag(name: &'static str, short: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag {
        name,
        short,
        help,
        kind,
    }
}

/// A flag that takes any text.
macro_rules! text {
    ($field:ident, $placeholder:literal) => {
        Kind::Value($placeholder, |flags, value| {
            flags.$field = Some(value.to_owned());
            Ok(())
        })
    };
}

/// A flag whose text must be understood, or the error says what is.
macro_rules! parsed {
    ($field:ident, $placeholder:literal, $parse:expr, $otherwise:literal) => {
        Kind::Value($placeholder, |flags, value| {
            flags.$field = Some($parse(value).ok_or($otherwise)?);
            Ok(())
        })
    };
}

const FLAGS: &[Flag] = &[
    flag(
        "resource-arn",
        "a",
        text!(resource_arn, "ARN"),
        "ARN of the AWS resource running the daemon, for telemetry.",
    ),
    flag(
        "local-mode",
        "o",
        Kind::Switch(|flags, on| flags.local_mode = Some(on)),
        "Don't check for EC2 instance metadata.",
    ),
    flag(
        "buffer-memory",
        "m",
        parsed!(buffer_memory, "MB", go::integer, "parse error"),
        "Memory in MB that waiting segments can use (minimum 3; default: by the memory there is).",
    ),
    flag(
        "region",
        "n",
        text!(region, "REGION"),
        "Send segments to X-Ray in this region.",
    ),
    flag(
        "bind",
        "b",
        text!(bind, "ADDRESS"),
        "UDP address for segments (default 127.0.0.1:2000).",
    ),
    flag(
        "bind-tcp",
        "t",
        text!(bind_tcp, "ADDRESS"),
        "TCP address for sampling calls (default 127.0.0.1:2000).",
    ),
    flag(
        "role-arn",
        "r",
        text!(role_arn, "ARN"),
        "Assume this IAM role to upload segments to a different account.",
    ),
    flag(
        "config",
        "c",
        text!(config, "PATH"),
        "Load this configuration file.",
    ),
    flag(
        "log-file",
        "f",
        text!(log_file, "PATH"),
        "Write logs to this file instead of stdout.",
    ),
    flag(
        "log-level",
        "l",
        text!(log_level, "LEVEL"),
        "dev, debug, info, warn, error or prod (default; the same as info).",
    ),
    flag(
        "proxy-address",
        "p",
        text!(proxy_address, "URL"),
        "HTTP proxy through which to upload segments.",
    ),
    flag(
        "exporter",
        "",
        parsed!(
            exporter,
            "WHERE",
            exporter,
            "use xray, auto, console or json"
        ),
        "xray (default), console (readable traces), json (one per line), or auto (xray with credentials, console without).",
    ),
    flag(
        "log-format",
        "",
        parsed!(log_format, "FORMAT", log_format, "use text or json"),
        "text (default) or json.",
    ),
    flag(
        "shutdown-delay",
        "",
        parsed!(
            shutdown_delay,
            "TIME",
            go::duration,
            "use a time such as 10s, 500ms or 1m"
        ),
        "Keep receiving this long after SIGTERM (default 0s).",
    ),
    flag(
        "shutdown-timeout",
        "",
        parsed!(
            shutdown_timeout,
            "TIME",
            go::duration,
            "use a time such as 10s, 500ms or 1m"
        ),
        "Then deliver what is held within this time (default 10s).",
    ),
    flag(
        "version",
        "v",
        Kind::Switch(|flags, on| flags.version = Some(on)),
        "Show the version.",
    ),
    flag("help", "h", Kind::Help, "Show this help."),
];

fn exporter(word: &str) -> Option<Exporter> {
    match word {
        "xray" => Some(Exporter::Xray),
        "auto" => Some(Exporter::Auto),
        "console" => Some(Exporter::Console),
        "json" => Some(Exporter::Json),
        _ => None,
    }
}

fn log_format(word: &str) -> Option<LogFormat> {
    match word {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

/// Reads the arguments after the program's name.
///
/// The word `healthcheck` may stand before, between or after the flags, because an image's
/// entry point brings flags of its own. Any other word ends the flags, and the rest is ignored.
///
/// # Errors
/// An unknown flag, a missing or malformed value, or an argument that is not UTF-8.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, UsageError> {
    let mut args = args.into_iter();
    let mut parsed = Parsed::default();
    while let Some(argument) = args.next() {
        let argument = utf8(argument)?;
        if argument == "healthcheck" && parsed.command == Command::Run {
            parsed.command = Command::Healthcheck;
            continue;
        }
        let Some(body) = argument.strip_prefix('-').filter(|b| !b.is_empty()) else {
            break;
        };
        if body == "-" {
            break;
        }
        let body = body.strip_prefix('-').unwrap_or(body);
        if body.starts_with(['-', '=']) {
            return Err(UsageError(format!("bad flag syntax: {argument}")));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let Some(flag) = FLAGS
            .iter()
            .find(|flag| flag.name == name || (flag.short == name && !name.is_empty()))
        else {
            return Err(UsageError(format!(
                "flag provided but not defined: -{name}"
            )));
        };
        match flag.kind {
            Kind::Help => {
                parsed.command = Command::Help;
                return Ok(parsed);
            }
            Kind::Switch(set) => {
                let on = match &value {
                    None => true,
                    Some(word) => go::boolean(word).ok_or_else(|| {
                        UsageError(format!(
                            "invalid boolean value {word:?} for -{name}: parse error"
                        ))
                    })?,
                };
                set(&mut parsed.flags, on);
            }
            Kind::Value(_, set) => {
                let value =
                    match value {
                        Some(value) => value,
                        None => utf8(args.next().ok_or_else(|| {
                            UsageError(format!("flag needs an argument: -{name}"))
                        })?)?,
                    };
                set(&mut parsed.flags, &value).map_err(|why| {
                    UsageError(format!("invalid value {value:?} for flag -{name}: {why}"))
                })?;
            }
        }
    }
    if parsed.flags.version == Some(true) {
        parsed.command = Command::Version;
    }
    Ok(parsed)
}

fn utf8(argument: OsString) -> Result<String, UsageError> {
    argument
        .into_string()
        .map_err(|raw| UsageError(format!("argument is not UTF-8: {raw:?}")))
}

/// The line `-v` prints, without its newline. The wording is the official daemon's.
#[must_use]
pub fn version() -> String {
    format!("AWS X-Ray daemon version: {}", env!("CARGO_PKG_VERSION"))
}

/// The help text, one line a flag, ending in a newline.
#[must_use]
pub fn help() -> String {
    let mut text = String::from(
        "Usage: xray [options]              receive segments and send them to AWS X-Ray\n       \
         xray healthcheck [options]  exit 0 if the daemon on this machine is well, 1 if not\n\n",
    );
    for flag in FLAGS {
        let short = match flag.short {
            "" => "    ".to_owned(),
            short => format!("-{short}, "),
        };
        let placeholder = match flag.kind {
            Kind::Value(placeholder, _) => placeholder,
            Kind::Switch(_) | Kind::Help => "",
        };
        let long = format!("--{} {placeholder}", flag.name);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {short}{long:<26}{}", flag.help);
    }
    text
}

#[cfg(test)]
mod tests;
