//! Lanes: threads that carry one signed request each and decide nothing.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use ureq::Agent;

use crate::batch::Batch;
use crate::retry::{Answer, Failure};

/// An idle lane ends after this long. Its connection stays with the agent.
const IDLE: Duration = Duration::from_secs(10);

/// More of an answer is not read: fifty documents refused with a reason each are 50 KB.
const MAX_ANSWER: u64 = 256 * 1024;

/// A TLS handshake is the deepest that a lane goes.
const STACK: usize = 256 * 1024;

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
}

/// A signed request.
pub struct Job {
    /// Absolute URL.
    pub url: String,
    /// All headers but those of HTTP itself. Secret: `authorization` is among them.
    pub headers: Vec<(String, String)>,
    /// What it carries.
    pub cargo: Cargo,
    /// What it was signed with.
    pub credentials: Credentials,
    /// The back-off's epoch when it went out.
    pub epoch: u64,
}

/// What became of a request.
pub struct Done {
    /// The lane that is free again.
    pub lane: usize,
    /// What the request carried.
    pub cargo: Cargo,
    /// What it was signed with.
    pub credentials: Credentials,
    /// The back-off's epoch when it went out.
    pub epoch: u64,
    /// The answer, or why there is none, with the transport's words.
    pub result: Result<Answer, (Failure, String)>,
    /// When it went out, by the local clock.
    pub sent: SystemTime,
    /// When the answer was there, by the local clock.
    pub received: SystemTime,
    /// How long it took.
    pub took: Duration,
}

/// Hears of every request that has ended, on the thread of its lane.
pub type Report = Arc<dyn Fn(Box<Done>) + Send + Sync>;

struct Lane {
    number: usize,
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
    idle_since: Instant,
}

/// The lanes of one agent: as many as there is work for, within a limit.
pub struct Lanes {
    agent: Agent,
    report: Report,
    limit: usize,
    /// Used as a stack, so that those at the bottom grow old and end.
    idle: Vec<Lane>,
    busy: Vec<Lane>,
    started: usize,
}

impl Lanes {
    /// At most `limit` lanes that send by `agent` and tell `report` what came of it.
    pub fn new(agent: Agent, limit: usize, report: Report) -> Self {
        Lanes {
            agent,
            report,
            limit,
            idle: Vec::new(),
            busy: Vec::new(),
            started: 0,
        }
    }

    /// Requests that are out.
    pub fn in_flight(&self) -> usize {
        self.busy.len()
    }

    /// Lanes that exist.
    pub fn count(&self) -> usize {
        self.busy.len() + self.idle.len()
    }

    /// Whether a job can be taken now. A further lane is worth its memory only when `crowded`.
    pub fn is_free(&self, crowded: bool) -> bool {
        !self.idle.is_empty() || self.count() == 0 || (crowded && self.count() < self.limit)
    }

    /// Hands `job` to a free lane, or to a new one.
    ///
    /// # Errors
    /// The job, when the system refuses a thread.
    pub fn carry(&mut self, job: Job) -> Result<(), Box<(Job, io::Error)>> {
        let lane = match self.idle.pop() {
            Some(lane) => lane,
            None => match self.start() {
                Ok(lane) => lane,
                Err(error) => return Err(Box::new((job, error))),
            },
        };
        match lane.jobs.send(job) {
            Ok(()) => {
                self.busy.push(lane);
                Ok(())
            }
            Err(unsent) => Err(Box::new((unsent.0, io::ErrorKind::BrokenPipe.into()))),
        }
    }

    /// A lane has reported; it is free again.
    pub fn returned(&mut self, number: usize, now: Instant) {
        if let Some(at) = self.busy.iter().position(|lane| lane.number == number) {
            let mut lane = self.busy.swap_remove(at);
            lane.idle_since = now;
            self.idle.push(lane);
        }
    }

    /// Ends lanes that have been idle for long. Answers when to ask again.
    pub fn end_idle(&mut self, now: Instant) -> Option<Instant> {
        while let Some(oldest) = self.idle.first() {
            let ends = oldest.idle_since + IDLE;
            if now < ends {
                return Some(ends);
            }
            let Lane { jobs, thread, .. } = self.idle.remove(0);
            drop(jobs);
            let _ = thread.join();
        }
        None
    }

    /// Ends all lanes. Requests that are still out are interrupted.
    pub fn end(mut self) {
        self.agent.shutdown();
        for Lane { jobs, thread, .. } in self.idle.drain(..).chain(self.busy.drain(..)) {
            drop(jobs);
            // Waiting for it would be waiting for its name lookup, which nothing interrupts.
            drop(thread);
        }
    }

    fn start(&mut self) -> io::Result<Lane> {
        self.started += 1;
        let number = self.started;
        let (jobs, inbox) = channel();
        let (agent, report) = (self.agent.clone(), Arc::clone(&self.report));
        let thread = thread::Builder::new()
            .name(format!("lane-{number}"))
            .stack_size(STACK)
            .spawn(move || run(number, &agent, &inbox, &*report))?;
        Ok(Lane {
            number,
            jobs,
            thread,
            idle_since: Instant::now(),
        })
    }
}

fn run(lane: usize, agent: &Agent, inbox: &Receiver<Job>, report: &dyn Fn(Box<Done>)) {
    while let Ok(job) = inbox.recv() {
        let (sent, start) = (SystemTime::now(), Instant::now());
        let mut result = post(agent, &job.url, &job.headers, job.cargo.body());
        if let (Ok(answer), Some(token)) = (&mut result, job.credentials.session_token()) {
            answer.hide(token);
        }
        let done = Done {
            lane,
            cargo: job.cargo,
            credentials: job.credentials,
            epoch: job.epoch,
            result,
            sent,
            received: SystemTime::now(),
            took: start.elapsed(),
        };
        report(Box::new(done));
    }
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
