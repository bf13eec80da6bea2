//! The answers to operators on the TCP port: whether the daemon works, and what it has done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::admin::metrics::{self, MetricsSnapshot};
use crate::admin::process::ProcessStatus;
use crate::admin::request_counts::RequestCounts;
use crate::aws::clock::Clock;
use crate::upload::UploadChannel;

/// Path of the health check on the TCP port.
pub(crate) const HEALTH_PATH: &str = "/healthz";

/// Path of the metrics.
const METRICS_PATH: &str = "/metrics";

/// The paths that the daemon answers itself.
pub(crate) const PATHS: &[&str] = &[HEALTH_PATH, METRICS_PATH];

/// How long to wait for the uploader. It answers within microseconds, or after a fraction of a
/// second in a container that has used up its share of the processor.
const ANSWER: Duration = Duration::from_millis(500);

/// An answer.
#[derive(Clone, Debug)]
pub struct AdminResponse {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// What the answers are made from.
pub(crate) struct AdminEndpoints {
    /// What clients asked by TCP.
    pub calls: Box<dyn Fn() -> RequestCounts + Send + Sync>,
    /// Whether the UDP socket is read.
    pub reading: Arc<AtomicBool>,
    /// To the thread that delivers.
    pub channel: UploadChannel,
    /// To compare expiries with.
    pub clock: Arc<Clock>,
}

impl AdminEndpoints {
    /// The answer to one of the [`PATHS`].
    pub(crate) fn answer(&self, path: &str) -> AdminResponse {
        match path {
            METRICS_PATH => self.metrics(),
            _ => self.health(),
        }
    }

    fn health(&self) -> AdminResponse {
        if !self.reading.load(SeqCst) {
            return text(503, "the thread that reads segments has ended\n".to_owned());
        }
        let Some(health) = self.channel.ask_health(ANSWER) else {
            let problem = "the thread that delivers segments does not answer\n";
            return text(503, problem.to_owned());
        };
        match health.problem {
            Some(problem) => text(503, format!("{problem}\n")),
            None => {
                let lines = std::iter::once("ok".to_owned()).chain(health.notes);
                text(200, lines.map(|line| line + "\n").collect())
            }
        }
    }

    fn metrics(&self) -> AdminResponse {
        let Some(upload) = self.channel.ask_snapshot(ANSWER) else {
            return text(
                503,
                "the thread that delivers segments does not answer\n".to_owned(),
            );
        };
        AdminResponse {
            status: 200,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: metrics::render(&MetricsSnapshot {
                upload: &upload,
                calls: &(self.calls)(),
                clock_skew: self.clock.skew(),
                process: ProcessStatus::read(),
            }),
        }
    }
}

fn text(status: u16, body: String) -> AdminResponse {
    AdminResponse {
        status,
        content_type: "text/plain; charset=utf-8",
        body,
    }
}
