//! Stands in for X-Ray: answers every POST and counts the documents by their numbers.

use std::io::{self, BufRead};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use xray_test_support::http::{Request, Response};
use xray_test_support::server::{Handler, Peer, Server};
use xray_test_support::tls::Authority;

use crate::exporter;

/// What has arrived so far.
#[derive(Default)]
pub struct Counts {
    /// How long an answer takes.
    latency: Duration,
    /// Whether every request is answered 503.
    pub is_away: AtomicBool,
    /// Documents and requests with spans, each number once.
    pub documents: AtomicU64,
    /// Documents whose number had already come.
    pub repeated: AtomicU64,
    /// Requests with segments or spans.
    pub requests: AtomicU64,
    /// One flag a number.
    seen: Mutex<Vec<bool>>,
}

/// A server that stands in for X-Ray. The daemons are told not to verify its certificate.
pub struct Backend {
    pub server: Server<Counts>,
    pub counts: Arc<Counts>,
    /// The certificate, in PEM, of the authority that has signed the server's; with TLS only.
    pub authority: Option<String>,
}

/// Starts a backend that answers each request after `latency`.
pub fn start(latency: Duration, is_encrypted: bool) -> Backend {
    let counts = Arc::new(Counts {
        latency,
        ..Counts::default()
    });
    let tls = is_encrypted.then(|| Authority::new(&["localhost", "127.0.0.1"]));
    let (config, authority) = tls.map(|tls| (tls.server, tls.pem)).unzip();
    Backend {
        server: Server::start(counts.clone(), config),
        counts,
        authority,
    }
}

impl Handler for Counts {
    fn handle(&self, request: Request, peer: &mut Peer) -> io::Result<bool> {
        if self.is_away.load(Relaxed) {
            peer.respond(&Response::new(503, ""))?;
            return Ok(true);
        }
        let answer = match request.path() {
            "/TraceSegments" => {
                self.add(numbers(&request.body));
                "{\"UnprocessedTraceSegments\":[]}"
            }
            "/v1/traces" => {
                let is_gzip = request.header("content-encoding").is_some();
                self.add(exporter::number(&request.body, is_gzip));
                "{}"
            }
            _ => "{}",
        };
        if !self.latency.is_zero() {
            thread::sleep(self.latency);
        }
        peer.respond(&Response::new(200, answer).with("content-type", "application/json"))?;
        Ok(true)
    }
}

impl Counts {
    fn add(&self, numbers: impl IntoIterator<Item = usize>) {
        let mut seen = self.seen.lock().unwrap();
        let (mut documents, mut repeated) = (0, 0);
        for number in numbers {
            if seen.len() <= number {
                seen.resize((number + 1).next_power_of_two(), false);
            }
            if std::mem::replace(&mut seen[number], true) {
                repeated += 1;
            } else {
                documents += 1;
            }
        }
        self.requests.fetch_add(1, Relaxed);
        self.documents.fetch_add(documents, Relaxed);
        self.repeated.fetch_add(repeated, Relaxed);
    }
}

/// The number behind each `~`; the sender writes that byte nowhere else.
fn numbers(body: &[u8]) -> impl Iterator<Item = usize> {
    let mut rest = body;
    std::iter::from_fn(move || {
        // The standard library's own memchr: the backend shares two cores with what it measures.
        rest.skip_until(b'~').ok().filter(|_| !rest.is_empty())?;
        let digits = rest.iter().take(8).filter(|byte| byte.is_ascii_digit());
        Some(digits.fold(0, |n, digit| n * 10 + usize::from(digit - b'0')))
    })
}
