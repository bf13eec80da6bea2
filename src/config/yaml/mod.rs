//! Reads YAML as cfg.yaml uses it: keys, one level of sections, scalars; each with its place.
//!
//! The scalar rules are those of yaml.v2, which the official daemon reads the file with, not
//! those of YAML 1.2: `yes` and `on` are true, `010` is eight, `1_000` is a thousand.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput, Tag};

use crate::config::cli::go;

/// Deeper than this, a file is refused. cfg.yaml needs two.
const MAX_DEPTH: usize = 32;

/// More keys than this, and a file is refused; cfg.yaml has twenty.
const MAX_KEYS: usize = 1000;

/// Line and column, both counted from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl From<Marker> for Position {
    fn from(mark: Marker) -> Self {
        Position {
            line: mark.line(),
            column: mark.col() + 1,
        }
    }
}

/// Something wrong at one place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct YamlProblem {
    /// Where.
    pub at: Position,
    /// What, and what to do.
    pub message: String,
}

/// A value as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct YamlScalar {
    /// Without its quotes.
    pub text: String,
    /// Neither quoted nor a block: the text may mean a number, a truth value or null.
    pub plain: bool,
}

impl YamlScalar {
    /// Whether it means "no value".
    #[must_use]
    pub(crate) fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// The truth value, by yaml.v2's words.
    #[must_use]
    pub(crate) fn boolean(&self) -> Option<bool> {
        match self.text.as_str() {
            _ if !self.plain => None,
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    /// The whole number: Go's integers with underscores anywhere, and decimals, whose fraction
    /// is dropped.
    #[must_use]
    pub(crate) fn integer(&self) -> Option<i64> {
        let numeric = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
        if !self.plain || !self.text.starts_with(numeric) {
            return None;
        }
        let digits = self.text.replace('_', "");
        go::integer(&digits).or_else(|| decimal(&digits))
    }
}

/// A value of any kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum YamlValue {
    /// One word or text.
    Scalar(YamlScalar),
    /// A list; its items are not kept.
    Sequence,
    /// A mapping where cfg.yaml has none, or an empty one.
    Mapping,
}

impl YamlValue {
    /// Whether it means "no value".
    #[must_use]
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, YamlValue::Scalar(scalar) if scalar.is_null())
    }
}

/// One key and its value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// `Region`, or with its section: `Socket.UDPAddress`.
    pub path: String,
    /// Where the key stands.
    pub(crate) key_at: Position,
    /// Where the value stands.
    pub(crate) value_at: Position,
    /// The value.
    pub value: YamlValue,
}

/// What a file holds, up to its first error.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct YamlDocument {
    /// Every key, in order, repeated ones too.
    pub entries: Vec<Entry>,
    /// What ended the reading early.
    pub error: Option<YamlProblem>,
}

/// Reads the first document of `text`.
///
/// Time and memory are bounded by the length of the text: aliases may stand for scalars only,
/// so nothing is ever expanded.
#[must_use]
pub(crate) fn read(text: &str) -> YamlDocument {
    // A byte order mark is legal at the start and means nothing in UTF-8.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = YamlReader {
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        entries: Vec::new(),
    };
    let error = reader.document().err();
    YamlDocument {
        entries: reader.entries,
        error,
    }
}

fn decimal(digits: &str) -> Option<i64> {
    /// Beyond this a double skips whole numbers.
    const EXACT: f64 = (1u64 << 53) as f64;
    let value: f64 = digits.parse().ok()?;
    (value.abs() < EXACT).then_some(value as i64)
}

struct YamlReader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, YamlScalar>,
    entries: Vec<Entry>,
}

fn problem<T>(at: Position, message: &str) -> Result<T, YamlProblem> {
    Err(YamlProblem {
        at,
        message: message.to_owned(),
    })
}

impl<'a> YamlReader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Position), YamlProblem> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.into())),
            Some(Err(error)) => problem((*error.marker()).into(), error.info()),
            None => Ok((Event::StreamEnd, Position { line: 1, column: 1 })),
        }
    }

    fn document(&mut self) -> Result<(), YamlProblem> {
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => return Ok(()),
                Event::MappingStart(..) => return self.mapping(None),
                Event::Scalar(text, style, anchor, tag)
                    if self.scalar(&text, style, anchor, tag.as_deref()).is_null() =>
                {
                    return Ok(());
                }
                _ => return problem(at, "the file must consist of `Key: value` lines"),
            }
        }
    }

    /// Reads the keys of a mapping; `section` is the key it belongs to.
    fn mapping(&mut self, section: Option<&str>) -> Result<(), YamlProblem> {
        loop {
            let (event, key_at) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(());
            }
            let key = match self.resolve(event, key_at)? {
                Ok(scalar) if scalar.plain && scalar.text == "<<" => {
                    return problem(key_at, "merge keys (<<) are not read; write the keys out");
                }
                Ok(scalar) => scalar.text,
                Err(_) => return problem(key_at, "a key must be a word"),
            };
            let path = match section {
                Some(section) => format!("{section}.{key}"),
                None => key,
            };
            let (event, value_at) = self.next()?;
            let value = match self.resolve(event, value_at)? {
                Ok(scalar) => YamlValue::Scalar(scalar),
                Err(Event::MappingStart(..)) if section.is_none() => {
                    let before = self.entries.len();
                    self.mapping(Some(&path))?;
                    if self.entries.len() > before {
                        continue;
                    }
                    YamlValue::Mapping
                }
                Err(Event::MappingStart(..)) => {
                    self.skip()?;
                    YamlValue::Mapping
                }
                Err(_) => {
                    self.skip()?;
                    YamlValue::Sequence
                }
            };
            if self.entries.len() == MAX_KEYS {
                return problem(key_at, "too many keys");
            }
            self.entries.push(Entry {
                path,
                key_at,
                value_at,
                value,
            });
        }
    }

    /// The scalar that an event is or refers to, or the event that starts a collection.
    fn resolve(
        &mut self,
        event: Event<'a>,
        at: Position,
    ) -> Result<Result<YamlScalar, Event<'a>>, YamlProblem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                Ok(Ok(self.scalar(&text, style, anchor, tag.as_deref())))
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(scalar) => Ok(Ok(scalar.clone())),
                None => problem(
                    at,
                    "only a single value can be an alias; write this one out",
                ),
            },
            Event::MappingStart(..) | Event::SequenceStart(..) => Ok(Err(event)),
            _ => problem(at, "a value is missing"),
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> YamlScalar {
        let scalar = YamlScalar {
            text: text.to_owned(),
            plain: match tag.filter(|tag| tag.is_yaml_core_schema()) {
                Some(tag) => tag.suffix != "str",
                None => style == ScalarStyle::Plain,
            },
        };
        if anchor != 0 {
            self.anchors.insert(anchor, scalar.clone());
        }
        scalar
    }

    /// Passes over the rest of a collection whose start has been read.
    fn skip(&mut self) -> Result<(), YamlProblem> {
        let mut depth = 1;
        while depth > 0 {
            let (event, at) = self.next()?;
            match event {
                Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
                Event::MappingEnd | Event::SequenceEnd => depth -= 1,
                Event::StreamEnd => return problem(at, "the file ends inside a list or section"),
                _ => {}
            }
            if depth > MAX_DEPTH {
                return problem(at, "nested too deeply");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
