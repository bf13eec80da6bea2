//! The flags: their names, what they take, what they set, and what the help says of them.

use std::time::Duration;

use super::go;
use crate::logging::LogFormat;

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
    /// `--otlp`: TCP address for OTLP, `host:port`.
    pub otlp: Option<String>,
    /// `-r`: role to assume.
    pub role_arn: Option<String>,
    /// `--external-id`: what the role's trust policy may ask for.
    pub external_id: Option<String>,
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
    /// `--annotations`: show them in the terminal.
    pub annotations: Option<bool>,
    /// `--view`: show the page with the traces.
    pub view: Option<bool>,
    /// `--view-any-host`: not only to this machine.
    pub view_any_host: Option<bool>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
    /// `--allow-origin`: web pages of these origins may send requests by TCP.
    pub allow_origin: Option<String>,
    /// `--sampling-cache`: how long sampling rules are served from before.
    pub sampling_cache: Option<Duration>,
    /// `--spool`: directory for what waits longer than memory allows.
    pub spool: Option<String>,
    /// `--spool-limit`: MB that its files may take.
    pub spool_limit: Option<i64>,
    /// `--shutdown-delay`: how long to keep receiving after a signal to stop.
    pub shutdown_delay: Option<Duration>,
    /// `--shutdown-timeout`: how long delivering what is held may take after that.
    pub shutdown_timeout: Option<Duration>,
    /// `-v`.
    pub version: Option<bool>,
}

pub(super) struct Flag {
    pub(super) name: &'static str,
    /// Empty for the flags that the official daemon does not have.
    pub(super) short: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: FlagKind,
}

impl Flag {
    /// What stands for the value in the help; `None` if the flag takes none.
    pub(super) fn placeholder(&self) -> Option<&'static str> {
        match self.kind {
            FlagKind::Value(placeholder, _) => Some(placeholder),
            FlagKind::Switch(_) | FlagKind::Help => None,
        }
    }
}

/// What follows a flag, and what it sets.
pub(super) enum FlagKind {
    /// Nothing, or `=` and a truth value.
    Switch(fn(&mut Flags, bool)),
    /// A value, shown in the help by this placeholder.
    Value(
        &'static str,
        fn(&mut Flags, &str) -> Result<(), &'static str>,
    ),
    /// Nothing; the rest of the command line is not read.
    Help,
}

const fn flag(name: &'static str, short: &'static str, kind: FlagKind, help: &'static str) -> Flag {
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
        FlagKind::Value($placeholder, |flags, value| {
            flags.$field = Some(value.to_owned());
            Ok(())
        })
    };
}

/// A flag with a parser of its own; its error says which values are allowed.
macro_rules! parsed {
    ($field:ident, $placeholder:literal, $parse:expr, $otherwise:literal) => {
        FlagKind::Value($placeholder, |flags, value| {
            flags.$field = Some($parse(value).ok_or($otherwise)?);
            Ok(())
        })
    };
}

/// Every flag, in the order of the help.
pub(super) const FLAGS: &[Flag] = &[
    flag(
        "resource-arn",
        "a",
        text!(resource_arn, "ARN"),
        "ARN of the AWS resource running the daemon, for telemetry.",
    ),
    flag(
        "local-mode",
        "o",
        FlagKind::Switch(|flags, on| flags.local_mode = Some(on)),
        "Don't check for EC2 instance metadata.",
    ),
    flag(
        "buffer-memory",
        "m",
        parsed!(buffer_memory, "MB", go::integer, "use a whole number of MB"),
        "Memory in MB for waiting segments (minimum 3; default automatic).",
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
        "otlp",
        "",
        text!(otlp, "ADDRESS"),
        "TCP address for OpenTelemetry's OTLP/HTTP (usually 127.0.0.1:4318; default none).",
    ),
    flag(
        "role-arn",
        "r",
        text!(role_arn, "ARN"),
        "Assume this IAM role to upload segments to a different account.",
    ),
    flag(
        "external-id",
        "",
        text!(external_id, "ID"),
        "External id that the trust policy of that role asks for.",
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
        "xray (default), console, json, or auto (console if there are no credentials).",
    ),
    flag(
        "annotations",
        "",
        FlagKind::Switch(|flags, on| flags.annotations = Some(on)),
        "Show annotations in the console's traces too.",
    ),
    flag(
        "view",
        "",
        FlagKind::Switch(|flags, on| flags.view = Some(on)),
        "Show traces on a web page at the TCP address (default only with console).",
    ),
    flag(
        "view-any-host",
        "",
        FlagKind::Switch(|flags, on| flags.view_any_host = Some(on)),
        "Show that page to other machines too, to anyone who reaches the port.",
    ),
    flag(
        "log-format",
        "",
        parsed!(log_format, "FORMAT", log_format, "use text or json"),
        "text (default) or json.",
    ),
    flag(
        "allow-origin",
        "",
        text!(allow_origin, "ORIGINS"),
        "Serve web pages of these origins on TCP (comma-separated; default none).",
    ),
    flag(
        "sampling-cache",
        "",
        parsed!(
            sampling_cache,
            "TIME",
            go::duration,
            "use a time such as 10s, 500ms or 1m"
        ),
        "Serve sampling rules this old while X-Ray is away (default 1h; 0 for none).",
    ),
    flag(
        "spool",
        "",
        text!(spool, "DIR"),
        "Keep segments and spans in files here while X-Ray is away, and for the next start.",
    ),
    flag(
        "spool-limit",
        "",
        parsed!(spool_limit, "MB", go::integer, "use a whole number of MB"),
        "Size in MB that these files may have (minimum 1; default 256).",
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
        FlagKind::Switch(|flags, on| flags.version = Some(on)),
        "Show the version.",
    ),
    flag("help", "h", FlagKind::Help, "Show this help."),
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
