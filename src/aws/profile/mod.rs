//! The shared AWS files: where they are, which profile is selected, what it says.

mod parser;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::env::{self, Lookup, read_bounded, set};

pub use parser::{ProfileFile, Sections, parse};

/// Larger files are not read: a config file has a few kilobytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The properties of one section; names are in lower case.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Profile {
    properties: BTreeMap<String, String>,
}

/// Names only: values may be secret keys.
impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.properties.keys()).finish()
    }
}

impl Profile {
    /// The value of `key` (lower case). Blank means unset.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.properties
            .get(key)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// Whether `key` is `true`, in any case.
    pub fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(env::is_true)
    }

    /// The value of the indented `name` under `key`.
    pub(crate) fn sub(&self, key: &str, name: &str) -> Option<&str> {
        self.get(key)?.lines().find_map(|line| {
            let (found, value) = parser::without_comment(line).split_once('=')?;
            let value = value.trim();
            (found.trim().eq_ignore_ascii_case(name) && !value.is_empty()).then_some(value)
        })
    }

    /// Every property as it was written.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// Where the two files are. `None`: there is no home directory and no variable names one.
#[derive(Debug, PartialEq, Eq)]
pub struct Locations {
    /// `AWS_CONFIG_FILE`, else `~/.aws/config`.
    pub config: Option<PathBuf>,
    /// `AWS_SHARED_CREDENTIALS_FILE`, else `~/.aws/credentials`.
    pub credentials: Option<PathBuf>,
}

/// Both files merged, and the profile that is selected.
#[derive(Debug, Default)]
pub struct Profiles {
    sections: Sections,
    selected: String,
    unread: Vec<PathBuf>,
}

/// `AWS_PROFILE` names a profile that is in neither file.
#[derive(Debug, PartialEq, Eq)]
pub struct MissingProfile {
    name: String,
    /// The files that were looked at.
    searched: Vec<PathBuf>,
    /// What was skipped in them: perhaps the profile.
    warnings: Vec<String>,
}

impl fmt::Display for MissingProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AWS_PROFILE names the profile {:?}, ", self.name)?;
        match self.searched.as_slice() {
            [] => f.write_str(
                "but there is no file to look in: set HOME, AWS_CONFIG_FILE or \
                 AWS_SHARED_CREDENTIALS_FILE",
            ),
            [one] => write!(f, "which is not in {}", one.display()),
            [one, other, ..] => write!(
                f,
                "which is in neither {} nor {}",
                one.display(),
                other.display()
            ),
        }?;
        f.write_str("; add it or unset AWS_PROFILE")?;
        match self.warnings.as_slice() {
            [] => Ok(()),
            skipped => write!(f, " ({})", skipped.join("; ")),
        }
    }
}

impl std::error::Error for MissingProfile {}

impl Profiles {
    /// Reads both files with `read` (use [`read_file`]). Files that are not there are empty; what
    /// else is wrong with them is in [`Profiles::warnings`]. Cheap enough to call again when the
    /// files may have changed.
    ///
    /// # Errors
    /// When `AWS_PROFILE` names a profile that does not exist. A missing profile of
    /// `AWS_DEFAULT_PROFILE`, or a missing `default`, is an empty one.
    pub fn load(
        env: &Lookup<'_>,
        read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Self, MissingProfile> {
        let locations = locations(env);
        let mut sections = Sections::default();
        let (mut searched, mut unread) = (Vec::new(), Vec::new());
        for (path, kind, variable) in [
            (locations.config, ProfileFile::Config, CONFIG_FILE),
            (
                locations.credentials,
                ProfileFile::Credentials,
                CREDENTIALS_FILE,
            ),
        ] {
            let Some(path) = path else { continue };
            let named = set(env, variable).is_some();
            match text(&path, read) {
                Ok(text) => merge(&mut sections, parse(&text, kind), &path, kind),
                Err(e) => {
                    // A missing file is worth a warning only if a variable names it.
                    if e.kind() != io::ErrorKind::NotFound || named {
                        let warning = format!("{}: not read: {e}", path.display());
                        sections.warnings.push(warning);
                    }
                    unread.push(path.clone());
                }
            }
            searched.push(path);
        }
        let explicit = set(env, "AWS_PROFILE");
        if let Some(name) = &explicit
            && !sections.profiles.contains_key(name)
        {
            return Err(MissingProfile {
                name: name.clone(),
                searched,
                warnings: sections.warnings,
            });
        }
        let selected = explicit
            .or_else(|| set(env, "AWS_DEFAULT_PROFILE"))
            .unwrap_or_else(|| "default".to_owned());
        Ok(Self {
            sections,
            selected,
            unread,
        })
    }

    /// The profile of that name.
    pub fn get(&self, name: &str) -> Option<&Profile> {
        self.sections.profiles.get(name)
    }

    /// Every profile by name.
    pub fn profiles(&self) -> impl Iterator<Item = (&str, &Profile)> {
        self.sections
            .profiles
            .iter()
            .map(|(name, profile)| (name.as_str(), profile))
    }

    /// Name of the selected profile: `AWS_PROFILE`, `AWS_DEFAULT_PROFILE` or `default`.
    pub fn selected_name(&self) -> &str {
        &self.selected
    }

    /// The selected profile, if it is in a file.
    pub(crate) fn selected(&self) -> Option<&Profile> {
        self.get(&self.selected)
    }

    /// `key` of the selected profile.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.selected()?.get(key)
    }

    /// Whether `key` of the selected profile is `true`.
    pub fn is_true(&self, key: &str) -> bool {
        self.selected().is_some_and(|profile| profile.is_true(key))
    }

    /// The section `[sso-session NAME]`.
    pub fn sso_session(&self, name: &str) -> Option<&Profile> {
        self.sections.sso_sessions.get(name)
    }

    /// `endpoint_url` of `service` (`xray`, `sts`) in the services section of the selected profile.
    pub(crate) fn service_endpoint(&self, service: &str) -> Option<&str> {
        let services = self.sections.services.get(self.value("services")?)?;
        services.sub(service, "endpoint_url")
    }

    /// The files that are not there or cannot be read.
    pub(crate) fn unread(&self) -> &[PathBuf] {
        &self.unread
    }

    /// What was skipped, by file and line, without quoting any of it.
    pub fn warnings(&self) -> &[String] {
        &self.sections.warnings
    }
}

const CONFIG_FILE: &str = "AWS_CONFIG_FILE";
const CREDENTIALS_FILE: &str = "AWS_SHARED_CREDENTIALS_FILE";

/// Where the files are, by the environment alone.
pub fn locations(env: &Lookup<'_>) -> Locations {
    let home = set(env, "HOME").map(PathBuf::from);
    let locate = |variable, file: &str| match set(env, variable) {
        Some(path) => Some(match (path.strip_prefix("~/"), &home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(path),
        }),
        None => home.as_ref().map(|home| home.join(".aws").join(file)),
    };
    Locations {
        config: locate(CONFIG_FILE, "config"),
        credentials: locate(CREDENTIALS_FILE, "credentials"),
    }
}

/// Reads a file of at most 1 MiB; a larger one is an error.
///
/// # Errors
/// As reading does.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    read_bounded(path, MAX_FILE)
}

fn text(path: &Path, read: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))
}

/// Adds `file` to `sections`, its properties winning one by one.
fn merge(sections: &mut Sections, file: Sections, path: &Path, kind: ProfileFile) {
    for (name, profile) in file.profiles {
        let merged = &mut sections.profiles.entry(name).or_default().properties;
        let pair = ["aws_access_key_id", "aws_secret_access_key"];
        if kind == ProfileFile::Credentials && pair.iter().any(|key| profile.get(key).is_some()) {
            // Keys of the credentials file must not sign with what belongs to another pair.
            for key in pair.iter().chain(&["aws_session_token"]) {
                merged.remove(*key);
            }
        }
        merged.extend(profile.properties);
    }
    sections.sso_sessions.extend(file.sso_sessions);
    sections.services.extend(file.services);
    for warning in file.warnings {
        sections
            .warnings
            .push(format!("{}: {warning}", path.display()));
    }
}

#[cfg(test)]
mod tests;
