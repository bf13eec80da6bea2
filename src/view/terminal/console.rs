//! The traces that are waiting to be printed, or to be printed again.

use std::time::{Duration, Instant};

use super::entity::Entity;
use super::text::Text;
use super::trace::Trace;
use super::{Options, clamp, waterfall};
use crate::view::document::{self, TracePart, Unreadable};
use crate::view::otlp::{self, OtlpError};

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
        options.width = clamp(options.width);
        Console {
            options,
            traces: Vec::new(),
        }
    }

    /// Later output has lines of this width, brought into range.
    pub fn resize(&mut self, width: usize) {
        self.options.width = clamp(width);
    }

    /// Takes a document as it came in a datagram. Nothing is printed yet, except one line for a
    /// document that cannot be shown.
    pub fn document(&mut self, doc: &str, now: Instant, out: &mut String) {
        let known = document::parts(doc, &mut |part| self.add(&part, now));
        self.after(known, doc, out);
    }

    /// Takes the body of a `POST /v1/traces`, not compressed, and prints as
    /// [`Console::document`] does. One that cannot be read is an error and leaves nothing behind.
    pub(crate) fn otlp(
        &mut self,
        body: &[u8],
        content_type: &str,
        now: Instant,
        out: &mut String,
    ) -> Result<(), OtlpError> {
        let request = otlp::body_to_json(body, content_type)?;
        let known = document::request_parts(&request, &mut |part| self.add(&part, now));
        if let Err(Unreadable::Spans(error)) = known {
            return Err(error);
        }
        self.after(known, &request, out);
        Ok(())
    }

    fn add(&mut self, part: &TracePart<'_>, now: Instant) {
        let at = self.traces.iter().rposition(|trace| trace.id == part.trace);
        let at = at.unwrap_or_else(|| {
            self.traces.push(Trace::new(part.trace.clone(), now));
            self.traces.len() - 1
        });
        let annotations = self.options.annotations;
        document::spans(part.format, &part.text, &mut |span| {
            self.traces[at].add(Entity::new(span, annotations), now);
        });
    }

    fn after(&mut self, known: Result<(), Unreadable>, doc: &str, out: &mut String) {
        if let Err(problem) = known {
            let problem = Text::foreign(&problem.to_string(), self.options.width);
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

    /// Prints the remaining traces, at exit.
    pub fn finish(&mut self, out: &mut String) {
        for mut trace in self.traces.drain(..).filter(|trace| trace.news) {
            print(&mut trace, &self.options, out);
        }
    }

    fn make_room(&mut self, out: &mut String) {
        let mut weight: usize = self.traces.iter().map(Trace::weight).sum();
        while self.traces.len() > MAX_TRACES || weight > MAX_WEIGHT && self.traces.len() > 1 {
            // Traces that were printed are removed first.
            let at = self.traces.iter().position(|trace| !trace.news);
            let mut trace = self.traces.remove(at.unwrap_or(0));
            weight -= trace.weight();
            if trace.news {
                print(&mut trace, &self.options, out);
            }
        }
    }
}

fn print(trace: &mut Trace, options: &Options, out: &mut String) {
    trace.fold();
    waterfall::render(trace, options, out);
    trace.printed = true;
    trace.news = false;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::terminal::fold::MAX_SHOWN;
    use crate::view::terminal::trace::{MAX_WAIT, QUIET};

    const OPTIONS: Options = Options {
        width: 100,
        colour: false,
        ascii: false,
        annotations: false,
    };

    /// A console with a simulated clock, and its output since the last call.
    struct Session {
        console: Console,
        now: Instant,
        out: String,
    }

    impl Session {
        fn new() -> Session {
            Session {
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
        let mut session = Session::new();
        session.give(&segment("t", "1", ENDED));
        assert_eq!(session.after(QUIET / 2), "");
        session.give(&segment("t", "2", &[ENDED, r#","parent_id":"1""#].concat()));
        assert_eq!(session.after(QUIET * 3 / 4), "", "the second came since");
        let out = session.after(QUIET / 4);
        assert!(out.starts_with("t  OK\n1.00 s  2 services"), "{out}");
        session.give(&segment("t", "1", ENDED));
        assert_eq!(session.after(MAX_WAIT), "", "a copy is no news");
        session.give(&segment("t", "3", ENDED));
        let out = session.after(QUIET);
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
                "t  PARTIAL  1 parent not seen\n",
            ),
        ] {
            let mut session = Session::new();
            session.give(&first);
            assert_eq!(session.after(MAX_WAIT - QUIET), "");
            let out = session.after(QUIET);
            assert!(out.starts_with(note), "{out}");
            assert_eq!(session.after(MAX_WAIT), "");
            session.give(&segment("t", "1", ENDED));
            let out = session.after(QUIET);
            assert!(out.starts_with("t  OK  updated\n"), "{out}");
        }
    }

    #[test]
    fn the_end_of_a_segment_is_not_undone_by_its_beginning() {
        let mut session = Session::new();
        session.give(&segment("t", "1", ENDED));
        session.give(&segment("t", "1", BEGUN));
        assert!(session.after(QUIET).starts_with("t  OK\n"));
    }

    #[test]
    fn what_is_left_is_printed_at_exit() {
        let mut session = Session::new();
        session.give(&segment("a", "1", ENDED));
        session.after(QUIET);
        session.give(&segment("b", "1", BEGUN));
        session.console.finish(&mut session.out);
        assert!(
            session.out.starts_with("b  IN PROGRESS\n"),
            "{}",
            session.out
        );
    }

    #[test]
    fn the_oldest_is_printed_when_there_are_too_many_traces() {
        let mut session = Session::new();
        for n in 0..MAX_TRACES + 2 {
            session.give(&segment(&format!("t{n}"), "1", ENDED));
        }
        assert_eq!(session.console.traces.len(), MAX_TRACES);
        assert!(session.out.starts_with("t0  OK\n"), "{}", session.out);
        assert_eq!(session.out.matches("OK").count(), 2);
        session.after(QUIET);
        session.give(&segment("late", "1", ENDED));
        assert_eq!(session.console.traces.len(), MAX_TRACES);
        assert_eq!(session.out, "", "what is printed already makes room first");
        session.after(KEEP);
        assert_eq!(session.console.traces.len(), 0);
    }

    #[test]
    fn memory_is_bounded_in_bytes() {
        let mut session = Session::new();
        let long = "x".repeat(250);
        let child = format!(r#"{{"name":"{long}","sql":{{"sanitized_query":"{long}"}}}}"#);
        let children = vec![child; MAX_SHOWN + 100].join(",");
        for n in 0..24 {
            let rest = format!(r#"{ENDED},"subsegments":[{children}]"#);
            session.give(&segment(&format!("t{n}"), "1", &rest));
            let weight: usize = session.console.traces.iter().map(Trace::weight).sum();
            assert!(weight <= MAX_WEIGHT, "{weight}");
        }
        assert!(
            session
                .out
                .starts_with("t0  IN PROGRESS  101 subsegments folded\n")
        );
    }
}
