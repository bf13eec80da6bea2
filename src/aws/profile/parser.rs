//! Reads one AWS config or credentials file. Pure.
//!
//! The grammar is the SDKs' shared specification. Where the Go SDK is more lenient so is this,
//! because files that the official daemon accepts are out there: a line that makes no sense is
//! skipped with a warning, `key: value` and quoted values are read, and an indented property that
//! cannot be a sub-property is a property.

use std::collections::BTreeMap;

use super::Profile;

/// Which of the two files: they name their sections differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileFile {
    /// `~/.aws/config`: `[default]`, `[profile NAME]`, `[sso-session NAME]`, `[services NAME]`.
    Config,
    /// `~/.aws/credentials`: `[NAME]`.
    Credentials,
}

/// The sections of one file by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sections {
    /// Profiles.
    pub profiles: BTreeMap<String, Profile>,
    /// `[sso-session NAME]`.
    pub sso_sessions: BTreeMap<String, Profile>,
    /// `[services NAME]`.
    pub services: BTreeMap<String, Profile>,
    /// What was skipped: `line 3: …`. Never quotes the line, which may hold a secret.
    pub warnings: Vec<String>,
}

/// A file of nothing but bad lines must not cost more in warnings than it did in bytes.
const MAX_WARNINGS: usize = 20;

/// Reads `text`; never fails, see [`Sections::warnings`].
pub fn parse(text: &str, kind: ProfileFile) -> Sections {
    let mut parser = ProfileParser {
        kind,
        sections: Sections::default(),
        bare_default: None,
        section: Section::None,
        property: Property::None,
        line: 0,
    };
    for line in text.trim_start_matches('\u{feff}').split('\n') {
        parser.line += 1;
        parser.read(line.strip_suffix('\r').unwrap_or(line));
    }
    let ProfileParser {
        mut sections,
        bare_default,
        ..
    } = parser;
    if let Some(default) = bare_default {
        // `[profile default]` replaces `[default]` wholly, wherever it stands.
        sections
            .profiles
            .entry("default".to_owned())
            .or_insert(default);
    }
    sections
}

struct ProfileParser {
    kind: ProfileFile,
    sections: Sections,
    bare_default: Option<Profile>,
    section: Section,
    property: Property,
    line: usize,
}

/// Where the next property belongs.
enum Section {
    None,
    Ignored,
    BareDefault,
    Profile(String),
    SsoSession(String),
    Services(String),
}

/// What an indented line continues.
enum Property {
    None,
    Ignored,
    /// It has a value.
    Value(String),
    /// It has none: sub-properties follow.
    Block(String),
}

impl ProfileParser {
    fn read(&mut self, line: &str) {
        let content = line.trim_matches([' ', '\t']);
        if content.is_empty() || content.starts_with(['#', ';']) {
            return;
        }
        if line.starts_with('[') {
            self.header(line);
        } else if matches!(self.section, Section::None) {
            self.warn("Expected a profile definition");
        } else if matches!(self.section, Section::Ignored) {
            // One warning for its header is enough.
        } else if line.starts_with([' ', '\t']) {
            self.indented(content);
        } else {
            self.property(line);
        }
    }

    fn header(&mut self, line: &str) {
        self.property = Property::None;
        self.section = Section::Ignored;
        let header = line.find(['#', ';']).map_or(line, |at| &line[..at]).trim();
        let Some(inner) = header.strip_prefix('[').and_then(|h| h.strip_suffix(']')) else {
            self.warn("Profile definition must end with ']'");
            return;
        };
        let inner = inner.trim();
        let (prefix, name) = match (self.kind, inner.split_once([' ', '\t'])) {
            (ProfileFile::Config, Some((prefix, name))) => (prefix, name.trim()),
            (ProfileFile::Config, None) => (inner, inner),
            (ProfileFile::Credentials, _) => ("profile", inner),
        };
        if !is_identifier(name) {
            self.warn("this section's name has characters that no name may have; it is ignored");
            return;
        }
        let named = name.to_owned();
        let spaced = name != inner || self.kind == ProfileFile::Credentials;
        match prefix {
            "default" if !spaced => {
                self.bare_default.get_or_insert_default();
                self.section = Section::BareDefault;
            }
            "profile" if spaced => {
                self.sections.profiles.entry(named.clone()).or_default();
                self.section = Section::Profile(named);
            }
            "sso-session" if spaced => {
                self.sections.sso_sessions.entry(named.clone()).or_default();
                self.section = Section::SsoSession(named);
            }
            "services" if spaced => {
                self.sections.services.entry(named.clone()).or_default();
                self.section = Section::Services(named);
            }
            _ => self.warn(
                "this section is ignored: in the config file a profile is written [profile NAME]",
            ),
        }
    }

    fn indented(&mut self, content: &str) {
        match &self.property {
            Property::Block(key) => {
                let key = key.clone();
                self.sub_property(&key, content);
            }
            Property::Value(_) | Property::None if content.contains('=') => self.property(content),
            Property::Value(key) => {
                let key = key.clone();
                self.append(&key, content);
            }
            Property::None => {
                self.warn("Expected a property definition, found continuation");
            }
            Property::Ignored => {}
        }
    }

    fn sub_property(&mut self, key: &str, content: &str) {
        match content.split_once('=') {
            None => self.warn("Expected an '=' sign defining a sub-property"),
            Some((name, _)) if name.trim().is_empty() => {
                self.warn("Sub-property did not have a name");
            }
            Some(_) => self.append(key, content),
        }
    }

    fn property(&mut self, line: &str) {
        self.property = Property::Ignored;
        let line = without_comment(line);
        let Some(at) = line.find(['=', ':']) else {
            self.warn("Expected an '=' sign defining a property");
            return;
        };
        if line.as_bytes()[at] == b':' {
            self.warn("Expected an '=' sign defining a property; read ':' as one");
        }
        let key = line[..at].trim().to_ascii_lowercase();
        if key.is_empty() {
            self.warn("Property did not have a name");
        } else if is_identifier(&key) {
            let value = unquoted(line[at + 1..].trim());
            self.property = if value.is_empty() {
                Property::Block(key.clone())
            } else {
                Property::Value(key.clone())
            };
            if let Some(profile) = self.current() {
                profile.properties.insert(key, value.to_owned());
            }
        } else {
            self.warn("this property's name has characters that no name may have; it is ignored");
        }
    }

    fn append(&mut self, key: &str, content: &str) {
        if let Some(value) = self.current().and_then(|p| p.properties.get_mut(key)) {
            value.push('\n');
            value.push_str(content);
        }
    }

    fn current(&mut self) -> Option<&mut Profile> {
        match &self.section {
            Section::None | Section::Ignored => None,
            Section::BareDefault => self.bare_default.as_mut(),
            Section::Profile(name) => self.sections.profiles.get_mut(name),
            Section::SsoSession(name) => self.sections.sso_sessions.get_mut(name),
            Section::Services(name) => self.sections.services.get_mut(name),
        }
    }

    fn warn(&mut self, message: &str) {
        if self.sections.warnings.len() < MAX_WARNINGS {
            let line = self.line;
            self.sections
                .warnings
                .push(format!("line {line}: {message}"));
        }
    }
}

fn is_identifier(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-/.%@:+".contains(&b);
    !name.is_empty() && name.bytes().all(allowed)
}

/// A comment in a property needs a blank before it: `value;x` is a value.
pub(super) fn without_comment(line: &str) -> &str {
    let starts_comment = |pair: &[u8]| matches!(pair, [b' ' | b'\t', b'#' | b';']);
    match line.as_bytes().windows(2).position(starts_comment) {
        Some(at) => &line[..at],
        None => line,
    }
}

/// Without the quotes around the whole value. In `"a program" "its argument"` each word has quotes
/// of its own, which stay.
fn unquoted(value: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .filter(|inner| !inner.contains(&value[..1]))
        .unwrap_or(value)
}
