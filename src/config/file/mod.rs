//! cfg.yaml: its keys, their values, and the error messages.
//!
//! Keys and messages are those of `pkg/cfg/cfg.go` of the official daemon; to them this adds the
//! keys of `Spool`, the place, the nearest valid key, and every error of a file at once.

use std::path::Path;

use super::nearest::nearest;
use super::yaml::{self, Entry, Position, YamlScalar, YamlValue};

/// A file larger than this is refused; the official sample is 1.3 KB.
pub(crate) const MAX_BYTES: usize = 256 * 1024;

/// More simultaneous uploads are of no use: each is a thread and a connection.
const MAX_CONCURRENCY: i64 = 256;

/// A setting and the place it came from, `path:line:column`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The number.
    pub value: i64,
    /// Where it was written.
    pub at: String,
}

/// What a file sets; `None` is "not set", or set to nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FileSettings {
    /// `TotalBufferSizeMB`, unchecked: a flag may override it.
    pub(crate) buffer_mb: Option<Located>,
    /// `Concurrency`, 0 or in range.
    pub concurrency: Option<Located>,
    /// `Region`.
    pub region: Option<String>,
    /// `Endpoint`.
    pub endpoint: Option<String>,
    /// `Socket.UDPAddress`.
    pub(crate) udp_address: Option<String>,
    /// `Socket.TCPAddress`.
    pub(crate) tcp_address: Option<String>,
    /// `Socket.OTLPAddress`.
    pub(crate) otlp_address: Option<String>,
    /// `Logging.LogRotation`.
    pub(crate) log_rotation: Option<bool>,
    /// `Logging.LogLevel`.
    pub(crate) log_level: Option<String>,
    /// `Logging.LogPath`.
    pub(crate) log_path: Option<String>,
    /// `LocalMode`.
    pub local_mode: Option<bool>,
    /// `ResourceARN`.
    pub(crate) resource_arn: Option<String>,
    /// `RoleARN`.
    pub role_arn: Option<String>,
    /// `ExternalID`.
    pub external_id: Option<String>,
    /// `NoVerifySSL`.
    pub no_verify_ssl: Option<bool>,
    /// `ProxyAddress`.
    pub proxy_address: Option<String>,
    /// `Spool.Directory`.
    pub(crate) spool_directory: Option<String>,
    /// `Spool.SizeLimitMB`, unchecked: a flag may override it.
    pub(crate) spool_limit_mb: Option<Located>,
    /// `View`.
    pub view: Option<bool>,
    /// `ViewAnyHost`.
    pub(crate) view_any_host: Option<bool>,
    /// `Version`: 1 or 2.
    version: Option<Located>,
}

enum ConfigField {
    Text(fn(&mut FileSettings) -> &mut Option<String>),
    Switch(fn(&mut FileSettings) -> &mut Option<bool>),
    Whole(fn(&mut FileSettings) -> &mut Option<Located>),
    /// Known to the official daemon, which overwrites it with a default.
    Ignored,
}

use ConfigField::{Ignored, Switch, Text, Whole};

const KEYS: &[(&str, ConfigField)] = &[
    ("TotalBufferSizeMB", Whole(|s| &mut s.buffer_mb)),
    ("Concurrency", Whole(|s| &mut s.concurrency)),
    ("Endpoint", Text(|s| &mut s.endpoint)),
    ("Region", Text(|s| &mut s.region)),
    ("Socket.UDPAddress", Text(|s| &mut s.udp_address)),
    ("Socket.TCPAddress", Text(|s| &mut s.tcp_address)),
    ("Socket.OTLPAddress", Text(|s| &mut s.otlp_address)),
    ("proxyserver.idleconntimeout", Ignored),
    ("proxyserver.maxidleconnsperhost", Ignored),
    ("proxyserver.maxidleconns", Ignored),
    ("Logging.LogRotation", Switch(|s| &mut s.log_rotation)),
    ("Logging.LogLevel", Text(|s| &mut s.log_level)),
    ("Logging.LogPath", Text(|s| &mut s.log_path)),
    ("LocalMode", Switch(|s| &mut s.local_mode)),
    ("ResourceARN", Text(|s| &mut s.resource_arn)),
    ("RoleARN", Text(|s| &mut s.role_arn)),
    ("ExternalID", Text(|s| &mut s.external_id)),
    ("NoVerifySSL", Switch(|s| &mut s.no_verify_ssl)),
    ("ProxyAddress", Text(|s| &mut s.proxy_address)),
    ("Spool.Directory", Text(|s| &mut s.spool_directory)),
    ("Spool.SizeLimitMB", Whole(|s| &mut s.spool_limit_mb)),
    ("View", Switch(|s| &mut s.view)),
    ("ViewAnyHost", Switch(|s| &mut s.view_any_host)),
    ("Version", Whole(|s| &mut s.version)),
];

const NO_LONGER_SUPPORTED: &[&str] = &[
    "Profile.CPU",
    "Profile.Memory",
    "Socket.BufferSizeKB",
    "Logging.LogFormat",
    "Processor.BatchProcessorQueueSize",
];

/// Old keys and their replacements.
const RENAMED: &[(&str, &str)] = &[
    ("LogRotation", "Logging.LogRotation"),
    ("Processor.Region", "Region"),
    ("Processor.Endpoint", "Endpoint"),
    ("Processor.Routine", "Concurrency"),
    ("MemoryLimit", "TotalBufferSizeMB"),
];

/// How the file was chosen, which decides whether an unknown key is an error or a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Named by `-c`: an unknown key is an error, as in the official daemon.
    Named,
    /// Found in a default place: an unknown key is a warning. The official daemon ignores it.
    Found,
}

/// Reads a file. Returns its settings and warnings.
///
/// # Errors
/// One message for each thing that is wrong, each with its place, in the order of the file.
pub fn read(
    path: &Path,
    bytes: &[u8],
    origin: Origin,
) -> Result<(FileSettings, Vec<String>), Vec<String>> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let at = Position {
            line: good.matches('\n').count() + 1,
            column: good.chars().rev().take_while(|c| *c != '\n').count() + 1,
        };
        vec![place(path, at) + ": not UTF-8 text; save the file as UTF-8"]
    })?;
    let document = yaml::read(text);
    let mut reader = SettingsReader {
        path,
        origin,
        settings: FileSettings::default(),
        warnings: Vec::new(),
        errors: Vec::new(),
    };
    for (index, entry) in document.entries.iter().enumerate() {
        let earlier = &document.entries[..index];
        if earlier.iter().any(|other| other.path == entry.path) {
            let message = format!("{} is set twice; the last one counts", entry.path);
            reader.warn(entry.key_at, &message);
        }
        reader.entry(entry);
    }
    match document.error {
        Some(problem) => reader.error(problem.at, &problem.message),
        None => reader.version(&document.entries),
    }
    if reader.errors.is_empty() {
        Ok((reader.settings, reader.warnings))
    } else {
        Err(reader.errors)
    }
}

struct SettingsReader<'a> {
    path: &'a Path,
    origin: Origin,
    settings: FileSettings,
    warnings: Vec<String>,
    errors: Vec<String>,
}

impl SettingsReader<'_> {
    fn entry(&mut self, entry: &Entry) {
        let Some((_, field)) = KEYS.iter().find(|(key, _)| *key == entry.path) else {
            return self.stray(entry);
        };
        let scalar = match (&entry.value, field) {
            (_, Ignored) => {
                return self.warn(entry.key_at, &format!("{} has no effect", entry.path));
            }
            (YamlValue::Scalar(scalar), _) => scalar,
            (YamlValue::Sequence | YamlValue::Mapping, _) => {
                let message = format!("{} takes one value, not a list or section", entry.path);
                return self.error(entry.value_at, &message);
            }
        };
        let wanted = match field {
            _ if scalar.is_null() => return,
            Ignored => return,
            Text(slot) => {
                *slot(&mut self.settings) = Some(scalar.text.clone());
                return;
            }
            Switch(slot) => match scalar.boolean() {
                Some(on) => {
                    *slot(&mut self.settings) = Some(on);
                    return;
                }
                None => "true or false",
            },
            Whole(slot) => match scalar.integer() {
                Some(value) => {
                    let at = place(self.path, entry.value_at);
                    *slot(&mut self.settings) = Some(Located { value, at });
                    return self.range(entry, value);
                }
                None => "a whole number",
            },
        };
        let message = format!(
            "{} must be {wanted}{}, not {:?}",
            entry.path,
            if scalar.plain { "" } else { " without quotes" },
            shortened(scalar)
        );
        self.error(entry.value_at, &message);
    }

    fn range(&mut self, entry: &Entry, value: i64) {
        if entry.path == "Concurrency" && !(0..=MAX_CONCURRENCY).contains(&value) {
            let message = format!(
                "Concurrency must be from 1 to {MAX_CONCURRENCY} (or 0 for the default), not {value}"
            );
            self.error(entry.value_at, &message);
        }
    }

    fn version(&mut self, entries: &[Entry]) {
        let start = Position { line: 1, column: 1 };
        match &self.settings.version {
            Some(Located { value: 1 | 2, .. }) => {}
            Some(Located { at, .. }) => self.errors.push(format!(
                "{at}: Config Version Setting is not correct. Version must be 1 or 2."
            )),
            // Set, but not to a number. This is reported as an error already.
            None if entries
                .iter()
                .any(|e| e.path == "Version" && !e.value.is_null()) => {}
            None => self.error(
                start,
                "Config Version is missing. Add the line `Version: 2`.",
            ),
        }
    }

    /// A key that is not in the table.
    fn stray(&mut self, entry: &Entry) {
        const MORE: &str = "Please refer to AWS X-Ray Documentation for more information.";
        let path = entry.path.as_str();
        if KEYS.iter().any(|(key, _)| section(key) == Some(path)) {
            if entry.value == YamlValue::Mapping {
                return;
            }
            if !entry.value.is_null() {
                let message = format!("{path} is a section: its keys go below it, indented");
                return self.error(entry.value_at, &message);
            }
        }
        if let Some(parent) = section(path).filter(|s| KEYS.iter().any(|(key, _)| key == s)) {
            let message = format!("{parent} takes one value, not a section");
            return self.error(entry.key_at, &message);
        }
        if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == path) {
            let message = format!("{path} flag is not supported. Write {new} in its place.");
            return self.stray_key(entry, &message);
        }
        let mut message = if NO_LONGER_SUPPORTED.contains(&path) {
            format!("{path} flag is not supported any more. {MORE}")
        } else {
            format!("{path} flag is invalid. {MORE}")
        };
        let keys = KEYS.iter().filter(|(_, field)| !matches!(field, Ignored));
        let mut keys = keys.map(|(key, _)| *key);
        let near = nearest(path, keys.clone());
        // Or the beginning of one: `Spool.Dir`.
        let near =
            near.or_else(|| keys.find(|key| section(path).is_some() && key.starts_with(path)));
        if let Some(near) = near {
            message += &format!(" (The nearest valid key is {near}.)");
        }
        self.stray_key(entry, &message);
    }

    fn stray_key(&mut self, entry: &Entry, message: &str) {
        match self.origin {
            Origin::Named => self.error(entry.key_at, message),
            Origin::Found => self.warn(entry.key_at, message),
        }
    }

    fn warn(&mut self, at: Position, message: &str) {
        let line = format!("{}: {message}", place(self.path, at));
        self.warnings.push(line);
    }

    fn error(&mut self, at: Position, message: &str) {
        let line = format!("{}: {message}", place(self.path, at));
        self.errors.push(line);
    }
}

fn place(path: &Path, at: Position) -> String {
    format!("{}:{}:{}", path.display(), at.line, at.column)
}

fn section(key: &str) -> Option<&str> {
    key.split_once('.').map(|(section, _)| section)
}

fn shortened(scalar: &YamlScalar) -> String {
    scalar.text.chars().take(40).collect()
}

#[cfg(test)]
mod tests;
