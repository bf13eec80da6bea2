//! What operators ask the daemon on its TCP port: is it well, and what has it done.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::admin::metrics::{self, Gauges, Shown};
use crate::app::healthcheck;
use crate::aws::clock::Clock;
use crate::credentials::Keeper;
use crate::proxy::{Counts, LocalAnswer};
use crate::upload::counters::Books;
use crate::upload::message::{Event, Events};

/// Path of the metrics.
const METRICS: &str = "/metrics";

/// The paths that the daemon answers itself.
pub const PATHS: &[&str] = &[healthcheck::PATH, METRICS];

/// The thread that delivers answers within microseconds, or, in a container that has used up its
/// share of the processor, after a fraction of a second.
const PING: Duration = Duration::from_millis(500);

/// What the answers are made from.
pub struct Operator {
    /// The counters.
    pub books: Arc<Books>,
    /// Requests and lanes.
    pub gauges: Arc<Gauges>,
    /// What clients asked by TCP.
    pub calls: Arc<Counts>,
    /// Most bytes held.
    pub limit: usize,
    /// Whether the UDP socket is read.
    pub reading: Arc<AtomicBool>,
    /// To the thread that delivers.
    pub events: Events,
    /// To compare expiries with.
    pub clock: Arc<Clock>,
    /// Known once the target is.
    pub keeper: Arc<OnceLock<Arc<Keeper>>>,
    /// Brings the kernel's count of dropped datagrams into the books.
    pub count_drops: Arc<dyn Fn() + Send + Sync>,
}

impl Operator {
    /// The answer to one of the [`PATHS`].
    pub fn answer(&self, path: &str) -> LocalAnswer {
        match path {
            METRICS => LocalAnswer {
                status: 200,
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                body: self.metrics(),
            },
            _ => match self.problem() {
                None => text(200, "ok\n".to_owned()),
                Some(problem) => text(503, format!("{problem}\n")),
            },
        }
    }

    fn problem(&self) -> Option<&'static str> {
        if !self.reading.load(SeqCst) {
            return Some("the thread that reads segments has ended");
        }
        (!self.delivers()).then_some("the thread that delivers segments does not answer")
    }

    fn delivers(&self) -> bool {
        let (answer, answered) = sync_channel(1);
        (self.events)(Event::Ping(answer));
        answered.recv_timeout(PING).is_ok()
    }

    fn metrics(&self) -> String {
        (self.count_drops)();
        let (status, available) = match self.keeper.get() {
            Some(keeper) => (keeper.status(), keeper.current().is_some()),
            None => Default::default(),
        };
        let expires = status.expires.filter(|_| available);
        metrics::render(&Shown {
            totals: self.books.totals(),
            limit: self.limit,
            gauges: &self.gauges,
            calls: &self.calls.snapshot(),
            credentials: &status.source,
            available,
            expires_in: expires.map(|at| match at.duration_since(self.clock.now()) {
                Ok(left) => left.as_secs_f64(),
                Err(past) => -past.duration().as_secs_f64(),
            }),
        })
    }
}

fn text(status: u16, body: String) -> LocalAnswer {
    LocalAnswer {
        status,
        content_type: "text/plain; charset=utf-8",
        body,
    }
}
