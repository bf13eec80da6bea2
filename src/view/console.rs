//! The traces that are waiting to be printed, or to be printed again.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::entity::Entity;
use super::trace::Trace;
use super::{Options, document, otlp, waterfall};

/// Traces kept. A second of a busy application on a developer's machine.
const MAX_TRACES: usize = 1_000;
/// Bytes of all traces kept, roughly.
const MAX_WEIGHT: usize = 8 << 20;
/// A printed trace is kept so long for segments that come late.
const KEEP: Duration = Duration::from_secs(300);

/// Collects documents and prints each trace as a waterfall when it is complete.
///
/// It does no I/O: all output is appended to `out`, in whole lines of at most
/// [`Options::width`] columns. `now` must not run backwards. Memory is bounded, however many
/// documents of at most 64 KB come: beyond 1000 traces or 8 MiB the oldest is printed as it is.
#[derive(Debug)]
pub struct Console {
    options: Options,
    /// Oldest first.
    traces: Vec<Trace>,
}

impl Console {
    /// An empty console.
    pub fn new(options: Options) -> Console {
        Console {
            options,
            traces: Vec::new(),
        }
    }

    /// Takes a document as it came in a datagram. Nothing is printed yet, except one line for a
    /// document that cannot be shown.
    pub fn document(&mut self, doc: &str, now: Instant, out: &mut String) {
        let traces = &mut self.traces;
        let mut add = |id: &str, entity: Entity| {
            let at = traces.iter().rposition(|trace| trace.id == id);
            let at = at.unwrap_or_else(|| {
                traces.push(Trace::new(id.to_owned(), now));
                traces.len() - 1
            });
            traces[at].add(entity, now);
        };
        let problem = match format_of(doc) {
            Format::Otlp(base64) => otlp::read(base64, self.options.annotations, &mut add)
                .err()
                .map(|_| "OpenTelemetry document that does not decode (base64 of OTLP expected)"),
            Format::Metrics => Some("OpenTelemetry metrics (M1), not shown"),
            Format::Json => match serde_json::from_str::<Value>(doc) {
                Ok(value) => (!document::read(&value, self.options.annotations, &mut add))
                    .then_some("JSON, but not a segment (no id, no name)"),
                Err(_) => Some("not JSON"),
            },
        };
        if let Some(problem) = problem {
            waterfall::problem(problem, doc, &self.options, out);
        }
        self.make_room(out);
    }

    /// Prints the traces that are complete and quiet, or have waited long enough. To be called
    /// a few times a second.
    pub fn tick(&mut self, now: Instant, out: &mut String) {
        for trace in &mut self.traces {
            if trace.is_due(now) {
                print(trace, &self.options, out);
            }
        }
        self.traces
            .retain(|trace| trace.news || now.saturating_duration_since(trace.touched) < KEEP);
    }

    /// Whether a trace waits to be printed, so that [`Console::tick`] has something to do.
    pub fn waits(&self) -> bool {
        self.traces.iter().any(|trace| trace.news)
    }

    /// Prints what is left, at exit.
    pub fn finish(&mut self, out: &mut String) {
        for mut trace in self.traces.drain(..).filter(|trace| trace.news) {
            print(&mut trace, &self.options, out);
        }
    }

    fn make_room(&mut self, out: &mut String) {
        let mut weight: usize = self.traces.iter().map(|trace| trace.weight).sum();
        while self.traces.len() > MAX_TRACES || weight > MAX_WEIGHT && self.traces.len() > 1 {
            // What is printed already goes first.
            let at = self.traces.iter().position(|trace| !trace.news);
            let mut trace = self.traces.remove(at.unwrap_or(0));
            weight -= trace.weight;
            if trace.news {
                print(&mut trace, &self.options, out);
            }
        }
    }
}

fn print(trace: &mut Trace, options: &Options, out: &mut String) {
    waterfall::render(trace, options, out);
    trace.printed = true;
    trace.news = false;
}

/// What a document is, by its first characters.
pub(crate) enum Format<'a> {
    /// Base64 of OTLP spans, sampled (`T1S`) or not (`T1U`).
    Otlp(&'a str),
    /// Base64 of OTLP metrics (`M1`).
    Metrics,
    /// Anything else should be JSON.
    Json,
}

pub(crate) fn format_of(doc: &str) -> Format<'_> {
    if let Some(base64) = doc.strip_prefix("T1S").or(doc.strip_prefix("T1U")) {
        Format::Otlp(base64)
    } else if doc.starts_with("M1") {
        Format::Metrics
    } else {
        Format::Json
    }
}
