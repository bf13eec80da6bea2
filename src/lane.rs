//! Lanes: threads that sign and carry one request at a time and decide nothing.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use ureq::Agent;

use crate::batch::Batch;
use crate::clock::{Clock, Exchange, is_skew_error};
use crate::retry::{self, Answer, Failure, Verdict};
use crate::sign::{self, SignError, SignRequest};
use crate::target::Target;

/// A lane that nobody has called for this long ends. Its connection stays with the agent.
pub const IDLE: Duration = Duration::from_secs(10);

/// A TLS handshake is the deepest that a lane goes.
pub const STACK: usize = 256 * 1024;

/// More of an answer is not read: fifty documents refused with a reason each are 50 KB.
const MAX_ANSWER: u64 = 256 * 1024;

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

    fn path(&self) -> &'static str {
        match self {
            Cargo::Segments(_) => "/TraceSegments",
            Cargo::Telemetry(_) => "/TelemetryRecords",
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
    let mut result = signed(&job, clock)
        .map_err(|error| (Failure::Other, error.to_string()))
        .and_then(|(url, headers)| post(&job.target.agent, &url, &headers, job.cargo.body()));
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
        Ok(answer) => retry::judge(answer),
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

type Headers = Vec<(String, String)>;

/// URL and headers. Secret: `authorization` is among them.
fn signed(job: &Job, clock: &Clock) -> Result<(String, Headers), SignError> {
    let url = format!("{}{}", job.target.endpoint, job.cargo.path());
    let time = clock.now();
    let stamp = timestamp(time);
    let headers = [
        ("content-type", "application/json"),
        ("x-amzn-xray-timestamp", stamp.as_str()),
    ];
    let signed = sign::sign(&SignRequest {
        method: "POST",
        url: &url,
        headers: &headers,
        body: job.cargo.body(),
        region: &job.target.region,
        service: "xray",
        time,
        credentials: &job.credentials,
    })?;
    let mut all: Headers = headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    all.extend(signed);
    Ok((url, all))
}

/// `X-Amzn-Xray-Timestamp`: seconds since the epoch with nine decimals, as the official daemon
/// sends it.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

fn post(
    agent: &Agent,
    url: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Result<Answer, (Failure, String)> {
    let mut request = agent.post(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut response = request.send(body).map_err(explain)?;
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        Some(value.to_str().ok()?.to_owned())
    };
    let mut answer = Answer {
        status: response.status().as_u16(),
        error_type: header("x-amzn-errortype"),
        retry_after: header("retry-after"),
        date: header("date"),
        aged: response.headers().contains_key("age"),
        body: Vec::new(),
    };
    let body = response.body_mut().with_config().limit(MAX_ANSWER);
    answer.body = body.read_to_vec().map_err(explain)?;
    Ok(answer)
}

fn explain(error: ureq::Error) -> (Failure, String) {
    let failure = match &error {
        ureq::Error::Timeout(_) => Failure::Timeout,
        ureq::Error::HostNotFound => Failure::UnknownHost,
        ureq::Error::Io(io) => match io.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::Timeout,
            _ => Failure::Other,
        },
        _ => Failure::Other,
    };
    (failure, error.to_string())
}
