//! Lanes: threads that sign and carry one request at a time and decide nothing.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::aws::clock::{Clock, DatedAnswer, Reading};
use crate::aws::sigv4::call::{self, Call};
use crate::batch::Batch;
use crate::credentials::IssuedCredentials;
use crate::credentials::target::Target;
use crate::http::wire::WireError;
use crate::upload::response::{self, Answer, Failure, Verdict};

/// A lane that has carried nothing for this long ends. Its connection stays with the wire.
pub const IDLE: Duration = Duration::from_secs(10);

/// A TLS handshake is the deepest that a lane goes.
pub const STACK: usize = 256 * 1024;

/// What a request carries.
#[derive(Debug)]
pub enum Cargo {
    /// Documents for `PutTraceSegments`.
    Segments(Batch),
    /// A body for `PutTelemetryRecords`.
    Telemetry(String),
}

impl Cargo {
    /// The body of the request.
    pub fn body(&self) -> &[u8] {
        match self {
            Cargo::Segments(batch) => batch.body(),
            Cargo::Telemetry(body) => body.as_bytes(),
        }
    }

    fn call(&self) -> &'static str {
        match self {
            Cargo::Segments(_) => "TraceSegments",
            Cargo::Telemetry(_) => "TelemetryRecords",
        }
    }
}

/// A request to be made.
pub struct Job {
    /// Where to.
    pub target: Arc<Target>,
    /// What it carries.
    pub cargo: Cargo,
    /// What to sign it with.
    pub credentials: IssuedCredentials,
    /// The back-off's epoch when it goes out.
    pub epoch: u64,
}

/// What became of a request.
pub struct Done {
    /// What it was signed with.
    pub credentials: IssuedCredentials,
    /// The back-off's epoch when it went out.
    pub epoch: u64,
    /// The answer, or why there is none, with the transport's words.
    pub result: Result<Answer, (Failure, String)>,
    /// What that means for the documents of a request.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// Signs a request, sends it, waits for the answer and judges it. Gives back what it carried.
/// `clock` learns from the answer.
pub fn carry(job: Job, clock: &Clock) -> (Cargo, Done) {
    let (start, signed) = (Instant::now(), clock.signing_time());
    let mut refused_time = false;
    let mut result = request(&job, signed.time());
    let took = start.elapsed();
    if let Ok(answer) = &mut result {
        let code = match answer.status {
            200..=299 => None,
            _ => answer.error_code(),
        };
        refused_time = clock.learn(
            signed,
            &DatedAnswer {
                received: Reading::now(),
                date: answer.date.as_deref(),
                has_age: answer.aged,
                has_request_id: answer.has_request_id,
                code: code.as_deref().unwrap_or_default(),
            },
        );
        if let Some(token) = job.credentials.credentials.session_token() {
            answer.hide(token);
        }
    }
    let mut verdict = match &result {
        Ok(answer) => response::judge(answer),
        Err(_) => Verdict::Hold {
            after: None,
            credentials: false,
        },
    };
    if let Verdict::Hold { credentials, .. } = &mut verdict {
        // New keys do not cure a wrong clock.
        *credentials &= !refused_time;
    }
    let done = Done {
        credentials: job.credentials,
        epoch: job.epoch,
        result,
        verdict,
        took,
    };
    (job.cargo, done)
}

fn request(job: &Job, time: SystemTime) -> Result<Answer, (Failure, String)> {
    let wire = &job.target.wire;
    let path = wire.path(job.cargo.call());
    let headers = call::headers(&Call {
        host: wire.host(),
        path: &path,
        body: job.cargo.body(),
        region: &job.target.region,
        time,
        credentials: &job.credentials.credentials,
    })
    .map_err(|error| (Failure::Other, error.to_string()))?;
    wire.post(&path, &headers, job.cargo.body())
        .map_err(explain)
}

fn explain(error: WireError) -> (Failure, String) {
    let failure = match &error {
        WireError::Transport(error) => failure(error),
        WireError::HeadTooLong(_) | WireError::Answer(_) => Failure::Other,
    };
    (failure, error.to_string())
}

fn failure(error: &ureq::Error) -> Failure {
    match error {
        ureq::Error::Timeout(_) => Failure::Timeout,
        ureq::Error::HostNotFound => Failure::UnknownHost,
        ureq::Error::Io(io) => match io.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::Timeout,
            _ => Failure::Other,
        },
        _ => Failure::Other,
    }
}
