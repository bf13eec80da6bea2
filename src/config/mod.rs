//! The settings the daemon runs with: flags over cfg.yaml over defaults.
//!
//! The environment comes last, in the modules that know its names (region, endpoint, agent).

pub mod cli;
pub mod file;
pub(crate) mod nearest;
pub mod yaml;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;

use crate::config::cli::{Exporter, Flags};
use crate::logging::LogFormat;
use file::{FileSettings, Located, Origin};

/// Where a configuration file is looked for, in this order; the first that exists is loaded even
/// when `-c` names another, so that a broken one never goes unnoticed.
pub(crate) const DEFAULT_PATHS: [&str; 2] = ["/etc/amazon/xray/cfg.yaml", "cfg.yaml"];

/// The default address, for UDP and TCP.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:2000";
const DEFAULT_CONCURRENCY: usize = 8;
/// The default limit for delivering held segments in the shutdown.
pub(crate) const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_SAMPLING_CACHE: Duration = Duration::from_secs(60 * 60);
const DEFAULT_SPOOL_LIMIT_MB: u32 = 256;
const MIN_SPOOL_LIMIT_MB: u32 = 1;
const MIN_BUFFER_MB: u32 = 3;
/// One TiB. A larger value is probably a typing error.
const MAX_BUFFER_MB: u32 = 1 << 20;

/// Where segments wait for longer than memory allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpoolConfig {
    /// The directory; it is created if only it is missing.
    pub directory: PathBuf,
    /// MB that its files may take, at least 1.
    pub(crate) limit_mb: u32,
}

/// Final values. Not to be logged whole: `proxy_address` may hold a password, and `external_id` is not
/// for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The configuration file that was read.
    pub file: Option<PathBuf>,
    /// UDP address for segments, `host:port`, unresolved; [`DEFAULT_ADDRESS`] otherwise.
    pub(crate) bind_udp: Option<String>,
    /// TCP address for sampling calls, `host:port`, unresolved; [`DEFAULT_ADDRESS`] otherwise.
    pub(crate) bind_tcp: Option<String>,
    /// TCP address for OTLP, `host:port`, unresolved. `None`: there is none, and only spans are taken.
    pub otlp: Option<String>,
    /// Region of flag or file; the environment and the metadata services are asked otherwise.
    pub region: Option<String>,
    /// Role to assume.
    pub role_arn: Option<String>,
    /// External id that its trust policy asks for.
    pub external_id: Option<String>,
    /// ARN reported in telemetry.
    pub(crate) resource_arn: Option<String>,
    /// Where X-Ray is; from the region otherwise.
    pub endpoint: Option<String>,
    /// Do not verify TLS certificates.
    pub no_verify_ssl: bool,
    /// Do not ask the EC2 instance metadata service for region and identity.
    pub local_mode: bool,
    /// MB that held documents may use, at least 3; by the memory of the machine otherwise.
    pub(crate) buffer_mb: Option<u32>,
    /// Most simultaneous uploads, 1 to 256.
    pub concurrency: usize,
    /// HTTP proxy for uploads; by the environment otherwise.
    pub proxy_address: Option<String>,
    /// Log file; stdout otherwise.
    pub(crate) log_file: Option<PathBuf>,
    /// The spool, if there is to be one.
    pub(crate) spool: Option<SpoolConfig>,
    /// Start a new log file at 50 MB and keep one old one.
    pub(crate) log_rotation: bool,
    /// Least severe level that is logged.
    pub(crate) log_level: LevelFilter,
    /// How a log line is written.
    pub(crate) log_format: LogFormat,
    /// Where segments go.
    pub exporter: Exporter,
    /// Show annotations in the terminal.
    pub annotations: bool,
    /// Show the page with the traces; by the exporter otherwise.
    pub view: Option<bool>,
    /// Show it at any address and for any `Host`, not only to this machine.
    pub(crate) view_any_host: bool,
    /// Origins whose web pages may send requests by TCP, with commas between them.
    pub(crate) allow_origin: String,
    /// How old sampling rules may be that are served while X-Ray is away.
    pub(crate) sampling_cache: Duration,
    /// How long to keep receiving after a signal to stop.
    pub(crate) shutdown_delay: Duration,
    /// The limit for delivering held segments after that.
    pub(crate) shutdown_timeout: Duration,
    /// Warnings, to be logged once the log works.
    pub warnings: Vec<String>,
}

/// Why the daemon cannot start with this configuration: one message for each thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// Never empty. Parts come from files: escape before printing.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// Reads the configuration files that apply, and merges them with the flags.
///
/// `read_file` is [`read_file`](fn@read_file), or a table in tests.
///
/// # Errors
/// A file that cannot be read or understood, or a value that cannot be used.
pub(crate) fn load(
    flags: &Flags,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Config, ConfigError> {
    let fail = |problems| ConfigError { problems };
    let mut found = None;
    let mut read = None;
    for path in DEFAULT_PATHS.map(Path::new) {
        match read_file(path) {
            Ok(bytes) => {
                found = Some(file::read(path, &bytes, Origin::Found).map_err(fail)?);
                read = Some(path.to_owned());
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(vec![unreadable(path, &error, "it is always loaded")])),
        }
    }
    let chosen = flags.config.as_deref().filter(|path| !path.is_empty());
    let (settings, warnings) = match chosen.map(Path::new) {
        Some(path) => {
            let bytes = read_file(path)
                .map_err(|e| fail(vec![unreadable(path, &e, "check the path given with -c")]))?;
            read = Some(path.to_owned());
            file::read(path, &bytes, Origin::Named).map_err(fail)?
        }
        None => found.unwrap_or_default(),
    };
    merge(flags, settings, read, warnings)
}

/// Reads a file of at most [`file::MAX_BYTES`].
///
/// # Errors
/// What the system says, or that the file is too large.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    crate::env::read_bounded(path, file::MAX_BYTES as u64)
}

fn unreadable(path: &Path, error: &io::Error, hint: &str) -> String {
    format!(
        "cannot read the configuration file {}: {error}; {hint}",
        path.display()
    )
}

/// Flags over the file over defaults. An empty text in a flag undoes the file's.
fn merge(
    flags: &Flags,
    file: FileSettings,
    read: Option<PathBuf>,
    mut warnings: Vec<String>,
) -> Result<Config, ConfigError> {
    let text = |flag: &Option<String>, file: Option<String>| {
        flag.clone().or(file).filter(|value| !value.is_empty())
    };
    let problem = |message| ConfigError {
        problems: vec![message],
    };

    let log_level = match text(&flags.log_level, file.log_level) {
        None => LevelFilter::Info,
        Some(word) => log_level(&word).unwrap_or_else(|| {
            warnings.push(format!(
                "log level {word:?} is none of dev, debug, info, warn, error, prod; using info"
            ));
            LevelFilter::Info
        }),
    };
    let no_verify_ssl = file.no_verify_ssl.unwrap_or(false);
    if no_verify_ssl {
        warnings.push(
            "NoVerifySSL is on: anybody between this daemon and AWS can read and change \
             what is sent, session tokens included. Remove it, or name the certificate authority \
             in AWS_CA_BUNDLE"
                .to_owned(),
        );
    }
    let role_arn = role_arn(flags.role_arn.as_deref(), file.role_arn).map_err(problem)?;
    let external_id = text(&flags.external_id, file.external_id);
    if external_id.is_some() && role_arn.is_none() {
        warnings.push(
            "an external id is set, but no role to assume (-r or RoleARN): it has no effect"
                .to_owned(),
        );
    }
    let exporter = flags.exporter.unwrap_or_default();
    let view = flags.view.or(file.view);
    let view_any_host = flags.view_any_host.or(file.view_any_host).unwrap_or(false);
    let has_no_page = match exporter {
        Exporter::Xray | Exporter::Json => view != Some(true),
        Exporter::Auto | Exporter::Console => view == Some(false),
    };
    if view_any_host && has_no_page {
        warnings.push(
            "--view-any-host (or ViewAnyHost) is set, but the page is not shown (--view): it has \
             no effect"
                .to_owned(),
        );
    }
    let concurrency = file
        .concurrency
        .and_then(|located| usize::try_from(located.value).ok())
        .filter(|n| *n > 0)
        .unwrap_or(DEFAULT_CONCURRENCY);

    let spool_limit_mb = spool_limit_mb(flags.spool_limit, file.spool_limit_mb).map_err(problem)?;
    let spool = text(&flags.spool, file.spool_directory.clone());
    let is_empty = spool.is_none() && (flags.spool.is_some() || file.spool_directory.is_some());
    if is_empty {
        warnings
            .push("the directory of the spool (--spool) is empty: there is no spool".to_owned());
    }
    let spool = spool.map(|directory| SpoolConfig {
        directory: PathBuf::from(directory),
        limit_mb: spool_limit_mb.unwrap_or(DEFAULT_SPOOL_LIMIT_MB),
    });
    if spool.is_none() && spool_limit_mb.is_some() && !is_empty {
        warnings.push(
            "a size limit for the spool is set, but no directory (--spool): it has no effect"
                .to_owned(),
        );
    }

    Ok(Config {
        file: read,
        bind_udp: text(&flags.bind, file.udp_address),
        bind_tcp: text(&flags.bind_tcp, file.tcp_address),
        otlp: text(&flags.otlp, file.otlp_address),
        region: text(&flags.region, file.region),
        role_arn,
        external_id,
        resource_arn: text(&flags.resource_arn, file.resource_arn),
        endpoint: text(&None, file.endpoint),
        no_verify_ssl,
        local_mode: flags.local_mode.or(file.local_mode).unwrap_or(false),
        buffer_mb: buffer_mb(flags.buffer_memory, file.buffer_mb).map_err(problem)?,
        concurrency,
        proxy_address: text(&flags.proxy_address, file.proxy_address),
        log_file: text(&flags.log_file, file.log_path).map(PathBuf::from),
        spool,
        log_rotation: file.log_rotation.unwrap_or(true),
        log_level,
        log_format: flags.log_format.unwrap_or_default(),
        exporter,
        annotations: flags.annotations.unwrap_or(false),
        view,
        view_any_host,
        allow_origin: flags.allow_origin.clone().unwrap_or_default(),
        sampling_cache: flags.sampling_cache.unwrap_or(DEFAULT_SAMPLING_CACHE),
        shutdown_delay: flags.shutdown_delay.unwrap_or_default(),
        shutdown_timeout: flags.shutdown_timeout.unwrap_or(DEFAULT_SHUTDOWN_TIMEOUT),
        warnings,
    })
}

/// `prod`, the default, is `info` in the official daemon; `dev` is everything.
fn log_level(word: &str) -> Option<LevelFilter> {
    match word {
        "dev" => Some(LevelFilter::Trace),
        "debug" => Some(LevelFilter::Debug),
        "info" | "prod" => Some(LevelFilter::Info),
        "warn" => Some(LevelFilter::Warn),
        "error" => Some(LevelFilter::Error),
        _ => None,
    }
}

/// A role is named by its ARN only: a bare name would be refused by STS at every attempt.
fn role_arn(flag: Option<&str>, file: Option<String>) -> Result<Option<String>, String> {
    let (source, value) = match (flag, file) {
        (Some(value), _) => ("-r", value.to_owned()),
        (None, Some(value)) => ("RoleARN", value),
        (None, None) => return Ok(None),
    };
    let value = value.trim();
    let fields: Vec<&str> = value.splitn(6, ':').collect();
    match fields[..] {
        [""] => Ok(None),
        ["arn", partition, "iam", _, account, role]
            if !partition.is_empty()
                && !account.is_empty()
                && role
                    .strip_prefix("role/")
                    .is_some_and(|name| !name.is_empty()) =>
        {
            Ok(Some(value.to_owned()))
        }
        _ => Err(format!(
            "{source} {value:?} is not the ARN of a role; write arn:aws:iam::ACCOUNT:role/NAME"
        )),
    }
}

/// Zero and less mean automatic, as in the official daemon.
fn buffer_mb(flag: Option<i64>, file: Option<Located>) -> Result<Option<u32>, String> {
    let (value, source) = match (flag, file) {
        (Some(value), _) => (value, "-m".to_owned()),
        (None, Some(Located { value, at })) => (value, format!("{at}: TotalBufferSizeMB")),
        (None, None) => return Ok(None),
    };
    if value <= 0 {
        return Ok(None);
    }
    match u32::try_from(value) {
        Ok(mb) if mb < MIN_BUFFER_MB => Err(format!(
            "{source} {mb}: Not enough Buffers Memory Allocated. Min Buffers Memory required: \
             {MIN_BUFFER_MB} MB. (0 means automatic.)"
        )),
        Ok(mb) if mb <= MAX_BUFFER_MB => Ok(Some(mb)),
        _ => Err(format!(
            "{source} {value}: more than {MAX_BUFFER_MB} MB; the unit is MB"
        )),
    }
}

fn spool_limit_mb(flag: Option<i64>, file: Option<Located>) -> Result<Option<u32>, String> {
    let (value, source) = match (flag, file) {
        (Some(value), _) => (value, "--spool-limit".to_owned()),
        (None, Some(Located { value, at })) => (value, format!("{at}: Spool.SizeLimitMB")),
        (None, None) => return Ok(None),
    };
    match u32::try_from(value) {
        Ok(mb) if (MIN_SPOOL_LIMIT_MB..=MAX_BUFFER_MB).contains(&mb) => Ok(Some(mb)),
        _ => Err(format!(
            "{source} {value}: the files of the spool may take {MIN_SPOOL_LIMIT_MB} to \
             {MAX_BUFFER_MB} MB; the unit is MB"
        )),
    }
}

#[cfg(test)]
mod tests;
