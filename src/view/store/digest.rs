//! A summary of the documents of a trace, for the list, the search and the service map.

use std::collections::{HashMap, HashSet};

use super::StoredDocument;
use super::call::{NodeKind, ServiceCall, ServiceNode, calls};
use crate::view::document::spans;
use crate::view::model::{Mark, Span, SpanKind, public_url};

/// Characters of a name and of a URL in the list. X-Ray keeps 200 and 250.
const NAME_CHARS: usize = 200;
const URL_CHARS: usize = 500;

/// A trace at a glance.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Digest {
    /// Of the root, as are the next three.
    pub(super) name: Box<str>,
    pub(super) method: Option<Box<str>>,
    /// Without query and user.
    pub(super) url: Option<Box<str>>,
    pub(super) status: Option<u16>,
    /// Seconds since the epoch; when the first document came, if no segment says more.
    pub(super) start: Option<f64>,
    pub(super) arrived: f64,
    /// Seconds from the first start to the last end.
    pub(super) duration: Option<f64>,
    /// The worst that any segment says.
    pub(super) outcome: Option<Mark>,
    pub(super) in_progress: bool,
    /// A parent is named that is not there, or nothing can be read.
    pub(super) partial: bool,
    /// Segments, subsegments and spans.
    pub(super) segments: usize,
    /// The services first, by their start.
    pub(super) nodes: Vec<ServiceNode>,
    pub(super) calls: Vec<ServiceCall>,
    /// What is searched for words: texts in lower case, each once, on a line of its own.
    pub(super) words: Box<str>,
    /// `key=value`, each once, on a line of its own; a line break before the first.
    pub(super) annotations: Box<str>,
}

/// The relevant data of one span.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) kind: SpanKind,
    pub(super) name: String,
    pub(super) peer: String,
    pub(super) service: Option<String>,
    pub(super) start: Option<f64>,
    pub(super) end: Option<f64>,
    pub(super) in_progress: bool,
    pub(super) mark: Option<Mark>,
    method: String,
    url: String,
    status: Option<u16>,
}

impl Digest {
    pub(super) fn of(documents: &[StoredDocument]) -> Digest {
        let mut joined = Joined::default();
        for document in documents {
            spans(document.format, &document.text, &mut |span| {
                joined.add(&span)
            });
        }
        let Joined {
            mut facts,
            words,
            annotations,
            ..
        } = joined;
        // Entries without a start come last. Entries with the same start stay in the order of
        // arrival.
        facts.sort_by_cached_key(|fact| (fact.start.unwrap_or(f64::INFINITY) * 1e9) as i64);
        let root = facts.iter().find(|fact| fact.parent.is_none());
        let root = root.or(facts.first());
        let ids: HashSet<&str> = facts.iter().map(|fact| &*fact.id).collect();
        let mut parents = facts.iter().filter_map(|fact| fact.parent.as_deref());
        let first = facts.first().and_then(|fact| fact.start);
        let last = facts.iter().filter_map(|fact| fact.end).reduce(f64::max);
        let text = |text: &str| (!text.is_empty()).then(|| cut(text, NAME_CHARS));
        let url = |fact: &Fact| cut(&public_url(&fact.url), URL_CHARS);
        let (nodes, calls) = calls(&facts);
        Digest {
            name: root.map_or("(unreadable)".into(), |fact| {
                text(&fact.name).unwrap_or("(no name)".into())
            }),
            method: root.and_then(|fact| text(&fact.method)),
            url: root.map(url).filter(|url| !url.is_empty()),
            status: root.and_then(|fact| fact.status),
            start: first,
            arrived: documents.first().map_or(0.0, |document| document.received),
            duration: first.zip(last).map(|(first, last)| (last - first).max(0.0)),
            outcome: facts.iter().filter_map(|fact| fact.mark).max(),
            in_progress: facts.iter().any(|fact| fact.in_progress),
            partial: facts.is_empty() || parents.any(|id| !ids.contains(id)),
            segments: facts.len(),
            nodes,
            calls,
            words: words.text.into(),
            annotations: annotations.text.into(),
        }
    }

    /// The names of its services, by their start.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        let services = self
            .nodes
            .iter()
            .filter(|node| node.kind == NodeKind::Service);
        services.map(|node| &*node.name)
    }

    /// Approximate bytes of memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.name, &self.words, &self.annotations].map(|text| text.len() + 16);
        let names = self.nodes.iter().map(|node| node.name.len() + 16);
        size_of::<Digest>()
            + texts.iter().sum::<usize>()
            + self.url.as_ref().map_or(0, |url| url.len() + 16)
            + names.sum::<usize>()
            + self.nodes.len() * size_of::<ServiceNode>()
            + self.calls.len() * size_of::<ServiceCall>()
    }
}

/// The start of a text.
pub(super) fn cut(text: &str, chars: usize) -> Box<str> {
    let end = text
        .char_indices()
        .nth(chars)
        .map_or(text.len(), |(at, _)| at);
    text[..end].into()
}

/// Spans as they come, each id once.
#[derive(Default)]
struct Joined {
    facts: Vec<Fact>,
    at: HashMap<String, usize>,
    words: Lines,
    annotations: Lines,
}

impl Joined {
    /// Adds a span, or replaces the one with its id. One that has ended is not replaced by its
    /// own beginning, since datagrams may overtake each other.
    fn add(&mut self, span: &Span<'_>) {
        self.search(span);
        let fact = Fact {
            id: span.id.clone(),
            parent: span.parent.clone(),
            kind: span.kind,
            name: cut(&span.name, NAME_CHARS).into(),
            peer: cut(&span.peer, NAME_CHARS).into(),
            service: span
                .service
                .as_deref()
                .map(|name| cut(name, NAME_CHARS).into()),
            start: span.start,
            end: span.end,
            in_progress: span.in_progress,
            mark: span.mark,
            method: span.method.clone().into_owned(),
            url: span.url.clone().into_owned(),
            status: span.status,
        };
        match self.at.get(&fact.id) {
            Some(at) if fact.in_progress && !self.facts[*at].in_progress => {}
            Some(at) => self.facts[*at] = fact,
            None => {
                self.at.insert(fact.id.clone(), self.facts.len());
                self.facts.push(fact);
            }
        }
    }

    fn search(&mut self, span: &Span<'_>) {
        let exceptions = span.exceptions.iter();
        let texts = [
            &span.name,
            &span.peer,
            &span.url,
            &span.operation,
            &span.resource,
            &span.query,
            &span.user,
        ];
        let texts = texts.into_iter().chain(&span.service);
        for text in texts.chain(exceptions.flat_map(|e| [&e.kind, &e.message])) {
            self.words.add(&text.to_lowercase());
        }
        for (key, value) in &span.annotations {
            let pair = annotation_line(&[key.as_ref(), "=", value.as_ref()].concat());
            self.words.add(&pair.to_lowercase());
            self.annotations.add(&pair);
        }
    }
}

/// An annotation as a line, also when it has line breaks.
pub(super) fn annotation_line(pair: &str) -> String {
    pair.replace('\n', " ")
}

/// Texts, each once.
#[derive(Default)]
struct Lines {
    text: String,
    seen: HashSet<String>,
}

impl Lines {
    fn add(&mut self, line: &str) {
        if line.is_empty() || self.seen.contains(line) {
            return;
        }
        self.seen.insert(line.to_owned());
        if self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(line);
        self.text.push('\n');
    }
}
