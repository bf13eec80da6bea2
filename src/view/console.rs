//! The traces that are waiting to be printed, or to be printed again.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::entity::Entity;
use super::text::Text;
use super::trace::Trace;
use super::{MAX_WIDTH, MIN_WIDTH, Options, document, otlp, waterfall};

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
    /// An empty console. A width out of range is brought into it.
    pub fn new(mut options: Options) -> Console {
        options.width = options.width.clamp(MIN_WIDTH, MAX_WIDTH);
        Console {
            options,
            traces: Vec::new(),
        }
    }

    /// Takes a document as it came in a datagram. Nothing is printed yet, except one line for a
    /// document that cannot be shown.
    pub fn document(&mut self, doc: &str, now: Instant, out: &mut String) {
        let traces = &mut self.traces;
        let mut any = false;
        let mut add = |id: &str, entity: Entity| {
            any = true;
            let at = traces.iter().rposition(|trace| trace.id == id);
            let at = at.unwrap_or_else(|| {
                traces.push(Trace::new(id.to_owned(), now));
                traces.len() - 1
            });
            traces[at].add(entity, now);
        };
        let annotations = self.options.annotations;
        let known = match format_of(doc) {
            Format::Otlp(base64) => otlp::read(base64, annotations, &mut add)
                .map_err(|_| Text::own("OpenTelemetry spans that do not decode")),
            Format::Metrics => Err(Text::own("OpenTelemetry metrics, not shown")),
            Format::Json => match serde_json::from_str::<Value>(doc) {
                Ok(value) => {
                    document::read(&value, annotations, &mut add);
                    Ok(())
                }
                Err(error) => {
                    let error = Text::foreign(&error.to_string(), self.options.width);
                    Err(Text::own("not JSON:").join(" ", &error))
                }
            },
        };
        let problem = match known {
            Err(problem) => Some(problem),
            Ok(()) if !any => Some(Text::own("holds no segment (no id, no name) and no span")),
            Ok(()) => None,
        };
        if let Some(problem) = problem {
            waterfall::problem(&problem, doc, &self.options, out);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::trace::{MAX_ENTITIES, MAX_WAIT, QUIET};

    const OPTIONS: Options = Options {
        width: 100,
        colour: false,
        ascii: false,
        annotations: false,
    };

    /// A console under a clock of its own, and what it printed since last asked.
    struct Desk {
        console: Console,
        now: Instant,
        out: String,
    }

    impl Desk {
        fn new() -> Desk {
            Desk {
                console: Console::new(OPTIONS),
                now: Instant::now(),
                out: String::new(),
            }
        }

        fn give(&mut self, doc: &str) {
            self.console.document(doc, self.now, &mut self.out);
        }

        fn after(&mut self, time: Duration) -> String {
            self.now += time;
            self.console.tick(self.now, &mut self.out);
            std::mem::take(&mut self.out)
        }
    }

    fn segment(trace: &str, id: &str, rest: &str) -> String {
        format!(
            r#"{{"trace_id":"{trace}","id":"{id}","name":"s{id}","start_time":1700000000{rest}}}"#
        )
    }

    const ENDED: &str = r#","end_time":1700000001"#;
    const BEGUN: &str = r#","in_progress":true"#;

    #[test]
    fn a_complete_trace_is_printed_once_when_it_is_quiet() {
        let mut desk = Desk::new();
        desk.give(&segment("t", "1", ENDED));
        assert_eq!(desk.after(QUIET / 2), "");
        desk.give(&segment("t", "2", &[ENDED, r#","parent_id":"1""#].concat()));
        assert_eq!(desk.after(QUIET * 3 / 4), "", "the second came since");
        let out = desk.after(QUIET / 4);
        assert!(out.starts_with("t  OK\n1.00 s  2 services"), "{out}");
        desk.give(&segment("t", "1", ENDED));
        assert_eq!(desk.after(MAX_WAIT), "", "a copy is no news");
        desk.give(&segment("t", "3", ENDED));
        let out = desk.after(QUIET);
        assert!(
            out.starts_with("t  OK  updated\n1.00 s  3 services"),
            "{out}"
        );
    }

    #[test]
    fn an_incomplete_trace_waits_longer_and_is_printed_again() {
        let parent = r#","parent_id":"1""#;
        for (first, note) in [
            (segment("t", "1", BEGUN), "t  IN PROGRESS\n"),
            (
                segment("t", "2", &[ENDED, parent].concat()),
                "t  OK  1 parent not seen\n",
            ),
        ] {
            let mut desk = Desk::new();
            desk.give(&first);
            assert_eq!(desk.after(MAX_WAIT - QUIET), "");
            let out = desk.after(QUIET);
            assert!(out.starts_with(note), "{out}");
            assert_eq!(desk.after(MAX_WAIT), "");
            desk.give(&segment("t", "1", ENDED));
            let out = desk.after(QUIET);
            assert!(out.starts_with("t  OK  updated\n"), "{out}");
        }
    }

    #[test]
    fn the_end_of_a_segment_is_not_undone_by_its_beginning() {
        let mut desk = Desk::new();
        desk.give(&segment("t", "1", ENDED));
        desk.give(&segment("t", "1", BEGUN));
        assert!(desk.after(QUIET).starts_with("t  OK\n"));
    }

    #[test]
    fn what_is_left_is_printed_at_exit() {
        let mut desk = Desk::new();
        desk.give(&segment("a", "1", ENDED));
        desk.after(QUIET);
        desk.give(&segment("b", "1", BEGUN));
        desk.console.finish(&mut desk.out);
        assert!(desk.out.starts_with("b  IN PROGRESS\n"), "{}", desk.out);
    }

    #[test]
    fn the_oldest_is_printed_when_there_are_too_many_traces() {
        let mut desk = Desk::new();
        for n in 0..MAX_TRACES + 2 {
            desk.give(&segment(&format!("t{n}"), "1", ENDED));
        }
        assert_eq!(desk.console.traces.len(), MAX_TRACES);
        assert!(desk.out.starts_with("t0  OK\n"), "{}", desk.out);
        assert_eq!(desk.out.matches("OK").count(), 2);
        desk.after(QUIET);
        desk.give(&segment("late", "1", ENDED));
        assert_eq!(desk.console.traces.len(), MAX_TRACES);
        assert_eq!(desk.out, "", "what is printed already makes room first");
        desk.after(KEEP);
        assert_eq!(desk.console.traces.len(), 0);
    }

    #[test]
    fn memory_is_bounded_in_bytes() {
        let mut desk = Desk::new();
        let long = "x".repeat(250);
        let child = format!(r#"{{"name":"{long}","sql":{{"sanitized_query":"{long}"}}}}"#);
        let children = vec![child; MAX_ENTITIES + 100].join(",");
        for n in 0..40 {
            let rest = format!(r#"{ENDED},"subsegments":[{children}]"#);
            desk.give(&segment(&format!("t{n}"), "1", &rest));
            let weight: usize = desk.console.traces.iter().map(|t| t.weight).sum();
            assert!(weight <= MAX_WEIGHT, "{weight}");
        }
        assert!(
            desk.out
                .starts_with("t0  IN PROGRESS  101 subsegments not kept\n")
        );
    }
}
