//! Lanes: threads that sign and carry one request at a time and decide nothing.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;

use crate::aws::clock::{Clock, Exchange, is_skew_error};
use crate::aws::sigv4::call::{self, Call};
use crate::batch::Batch;
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
    pub credentials: Credentials,
    /// The back-off's epoch when it goes out.
    pub epoch: u64,
}

/// What became of a request.
pub struct Done {
    /// What it was signed with.
    pub credentials: Credentials,
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
    let (sent, start, skew) = (SystemTime::now(), Instant::now(), clock.skew());
    let mut measured = None;
    let mut result = request(&job, clock);
    let took = start.elapsed();
    if let Ok(answer) = &mut result {
        measured = clock.observe(&Exchange {
            sent,
            received: SystemTime::now(),
            date: answer.date.as_deref(),
            has_age: answer.aged,
        });
        if let Some(token) = job.credentials.session_token() {
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
    if let (Verdict::Hold { credentials, .. }, Ok(answer)) = (&mut verdict, &result) {
        let code = answer.error_code().unwrap_or_default();
        // New keys do not cure a wrong clock.
        *credentials &= !is_skew_error(&code, skew, measured);
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

fn request(job: &Job, clock: &Clock) -> Result<Answer, (Failure, String)> {
    let wire = &job.target.wire;
    let path = wire.path(job.cargo.call());
    let headers = call::headers(&Call {
        host: wire.host(),
        path: &path,
        body: job.cargo.body(),
        region: &job.target.region,
        time: clock.now(),
        credentials: &job.credentials,
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
    use crate::http::error::{TransportError, TransportErrorKind as Kind};
    match TransportError::kind_of(error) {
        Some(Kind::UnknownHost) => return Failure::UnknownHost,
        Some(Kind::Refused) => return Failure::Refused,
        Some(Kind::ConnectTimeout | Kind::Timeout) => return Failure::Timeout,
        Some(_) => return Failure::Other,
        None => {}
    }
    match error {
        ureq::Error::Timeout(_) => Failure::Timeout,
        ureq::Error::Io(io) => match io.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::Timeout,
            _ => Failure::Other,
        },
        _ => Failure::Other,
    }
}
