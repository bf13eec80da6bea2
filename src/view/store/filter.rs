//! Selects traces by the parameters of a request.

use super::digest::{Digest, annotation_line};
use crate::view::model::Mark;

/// The default and the highest number of traces in an answer.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 10_000;
/// Characters of a value that an error repeats.
const SHOWN_CHARS: usize = 100;

/// The parameters of a question. See `docs/trace-api.md`.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    words: Vec<String>,
    service: Option<String>,
    status: Vec<Status>,
    min_duration: Option<f64>,
    max_duration: Option<f64>,
    /// `key` or `key=value`.
    annotations: Vec<String>,
    /// The beginning of an id, in the form of [`plain_id`].
    id: Option<String>,
    since: Option<f64>,
    until: Option<f64>,
    pub(super) limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Outcome(Option<Mark>),
    InProgress,
    Partial,
    Code(u16),
    /// `5` for `5xx`.
    Class(u16),
}

impl Filter {
    /// Reads decoded parameters; `limit` is none of a question that has no list for an answer.
    /// The error is a sentence about the first that cannot be understood.
    pub fn parse(parameters: &[(String, String)], may_limit: bool) -> Result<Filter, String> {
        let mut filter = Filter {
            words: Vec::new(),
            service: None,
            status: Vec::new(),
            min_duration: None,
            max_duration: None,
            annotations: Vec::new(),
            id: None,
            since: None,
            until: None,
            limit: DEFAULT_LIMIT,
        };
        for (at, (name, value)) in parameters.iter().enumerate() {
            let twice = parameters[..at].iter().any(|(before, _)| before == name);
            if twice && name != "annotation" {
                return Err(["\"", &shown(name), "\" is given twice"].concat());
            }
            filter.set(name, value, may_limit)?;
        }
        Ok(filter)
    }

    fn set(&mut self, name: &str, value: &str, may_limit: bool) -> Result<(), String> {
        let unreadable =
            |what: &str| Err([name, " is \"", &shown(value), "\", which is no ", what].concat());
        match name {
            "limit" if may_limit => match value.parse() {
                Ok(limit) if limit <= MAX_LIMIT => self.limit = limit,
                _ => return unreadable("number from 0 to 10000"),
            },
            "text" | "service" | "status" | "min_duration" | "max_duration" | "annotation"
            | "id" | "since" | "until"
                if value.is_empty() => {}
            "text" => {
                self.words = value
                    .to_lowercase()
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect()
            }
            "service" => self.service = Some(value.to_owned()),
            "status" => {
                for word in value.split(',') {
                    let Some(status) = Status::parse(word.trim()) else {
                        return unreadable(
                            "list of ok, error, throttle, fault, in_progress, partial, a code \
                             such as 404 or a class such as 5xx",
                        );
                    };
                    self.status.push(status);
                }
            }
            "min_duration" | "max_duration" => {
                let Some(seconds) = duration(value) else {
                    return unreadable("duration, such as 0.2, 0.2s or 200ms");
                };
                if name == "min_duration" {
                    self.min_duration = Some(seconds);
                } else {
                    self.max_duration = Some(seconds);
                }
            }
            "annotation" => self.annotations.push(annotation_line(value)),
            "id" => self.id = Some(plain_id(&value.to_lowercase())),
            "since" | "until" => {
                let Some(seconds) = number(value) else {
                    return unreadable("time in seconds since 1970");
                };
                if name == "since" {
                    self.since = Some(seconds);
                } else {
                    self.until = Some(seconds);
                }
            }
            _ => return Err(["there is no parameter \"", &shown(name), "\""].concat()),
        }
        Ok(())
    }

    /// Whether a trace is asked for.
    pub(super) fn matches(&self, id: &str, digest: &Digest) -> bool {
        let start = digest.start.unwrap_or(digest.arrived);
        let has = |pair: &String| {
            // A key alone is followed by any value.
            let end = if pair.contains('=') { "\n" } else { "=" };
            digest.annotations.contains(&["\n", pair, end].concat())
        };
        self.since.is_none_or(|since| start >= since)
            && self.until.is_none_or(|until| start < until)
            && (self.status.is_empty() || self.status.iter().any(|status| status.is(digest)))
            && self
                .min_duration
                .is_none_or(|min| digest.duration.is_some_and(|d| d >= min))
            && self
                .max_duration
                .is_none_or(|max| digest.duration.is_some_and(|d| d <= max))
            && self
                .id
                .as_ref()
                .is_none_or(|start| plain_id(id).starts_with(start))
            && self
                .service
                .as_ref()
                .is_none_or(|name| digest.services().any(|own| own == name))
            && self.annotations.iter().all(has)
            && self
                .words
                .iter()
                .all(|word| digest.words.contains(word) || id.contains(word))
    }
}

impl Status {
    fn parse(word: &str) -> Option<Status> {
        Some(match word {
            "ok" => Status::Outcome(None),
            "error" => Status::Outcome(Some(Mark::Error)),
            "throttle" => Status::Outcome(Some(Mark::Throttle)),
            "fault" => Status::Outcome(Some(Mark::Fault)),
            "in_progress" => Status::InProgress,
            "partial" => Status::Partial,
            _ if word.len() == 3 && word.ends_with("xx") => Status::Class(
                word[..1]
                    .parse()
                    .ok()
                    .filter(|class| (1..=5).contains(class))?,
            ),
            _ => Status::Code(
                word.parse()
                    .ok()
                    .filter(|code| (100..1_000).contains(code))?,
            ),
        })
    }

    fn is(self, digest: &Digest) -> bool {
        match self {
            Status::Outcome(mark) => digest.outcome == mark,
            Status::InProgress => digest.in_progress,
            Status::Partial => digest.partial,
            Status::Code(code) => digest.status == Some(code),
            Status::Class(class) => digest.status.is_some_and(|code| code / 100 == class),
        }
    }
}

/// An id without what its two forms differ in.
fn plain_id(id: &str) -> String {
    id.strip_prefix("1-").unwrap_or(id).replace('-', "")
}

fn duration(text: &str) -> Option<f64> {
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let seconds = number(digits.trim_end())?;
    (seconds >= 0.0).then_some(seconds * unit)
}

fn number(text: &str) -> Option<f64> {
    // Not "inf", "nan" and the like.
    let plain = text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
    let number = text.parse().ok().filter(|_| plain)?;
    f64::is_finite(number).then_some(number)
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}
