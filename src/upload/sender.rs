//! Senders: threads that carry one signed request at a time and decide nothing.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http;

use super::channel::UploadChannel;
use super::item::ItemBody;
use super::message::Event;
use super::response::XRayResponse;
use super::spans::SpanRequest;
use crate::aws::clock::Reading;
use crate::aws::sigv4::BodyToSign;
use crate::batch::Batch;
use crate::http::error::TransportError;
use crate::http::url;
use crate::spool::{BodyKind, XRayApi};

/// The number of a sender: the first has 1.
pub(super) type SenderId = usize;

/// A TLS handshake is the deepest that a sender goes.
const STACK: usize = 256 * 1024;

/// At most this much of an answer is read: fifty refused documents with a reason each are 50 KB.
const MAX_BODY: u64 = 256 * 1024;

/// What a request carries.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    /// Documents for `PutTraceSegments`.
    Segments(Batch),
    /// A request with spans for the OTLP endpoint.
    Otlp(SpanRequest),
    /// A body for `PutTelemetryRecords`.
    Telemetry(String),
}

impl Payload {
    pub(super) fn body(&self) -> &[u8] {
        match self {
            Payload::Segments(batch) => batch.body(),
            Payload::Otlp(request) => &request.body,
            Payload::Telemetry(body) => body.as_bytes(),
        }
    }

    pub(super) fn body_to_sign(&self) -> BodyToSign<'_> {
        match self {
            Payload::Otlp(request) => request.body_to_sign(),
            _ => BodyToSign::Bytes(self.body()),
        }
    }

    /// Bytes of documents in it.
    pub(super) fn document_bytes(&self) -> usize {
        match self {
            Payload::Segments(batch) => batch.body().len(),
            Payload::Otlp(request) => request.body.len(),
            Payload::Telemetry(_) => 0,
        }
    }

    /// Number of documents or spans.
    pub(super) fn documents(&self) -> usize {
        match self {
            Payload::Segments(batch) => batch.len(),
            Payload::Otlp(request) => request.spans,
            Payload::Telemetry(_) => 0,
        }
    }

    /// The API whose documents it carries. `None`: it is telemetry.
    pub(super) fn api(&self) -> Option<XRayApi> {
        self.kind().map(BodyKind::destination)
    }

    /// What its documents are. `None`: it is telemetry.
    pub(super) fn kind(&self) -> Option<BodyKind> {
        match self {
            Payload::Segments(_) => Some(BodyKind::Segments),
            Payload::Otlp(request) => Some(request.kind()),
            Payload::Telemetry(_) => None,
        }
    }

    /// What it carries, to wait again. `None`: it is telemetry.
    pub(super) fn into_body(self) -> Option<ItemBody> {
        match self {
            Payload::Segments(batch) => Some(ItemBody::Batch(batch)),
            Payload::Otlp(request) => Some(ItemBody::Otlp(request)),
            Payload::Telemetry(_) => None,
        }
    }

    /// The path of the X-Ray call.
    pub(super) fn path(&self) -> &'static str {
        match self {
            Payload::Segments(_) => "/TraceSegments",
            Payload::Otlp(_) => "/v1/traces",
            Payload::Telemetry(_) => "/TelemetryRecords",
        }
    }
}

/// A request that is ready to go.
pub(super) struct SignedRequest {
    pub agent: Agent,
    pub url: String,
    /// They hold secrets.
    pub headers: Vec<(String, String)>,
    pub payload: Arc<Payload>,
    /// Shorter than that of the agent during the shutdown.
    pub timeout: Option<Duration>,
    /// To be hidden in whatever the service answers.
    pub session_token: Option<String>,
}

/// What a sender reports.
pub struct Finished {
    pub(super) sender: SenderId,
    pub(super) result: Result<XRayResponse, TransportError>,
    pub(super) took: Duration,
    /// The local clocks when its answer was here.
    pub(super) received: Reading,
    /// Whether it was refused because of a wrong clock, which has been corrected since.
    pub(super) is_clock_refusal: bool,
}

/// Starts the thread of a sender. It ends when the channel that is answered is dropped.
///
/// # Errors
/// When the system refuses a thread.
pub(super) fn start(id: SenderId, channel: UploadChannel) -> io::Result<SyncSender<SignedRequest>> {
    let (requests, receiver) = sync_channel(1);
    thread::Builder::new()
        .name(format!("sender-{id}"))
        .stack_size(STACK)
        .spawn(move || run(id, &receiver, &channel))?;
    Ok(requests)
}

fn run(id: SenderId, requests: &Receiver<SignedRequest>, channel: &UploadChannel) {
    while let Ok(request) = requests.recv() {
        let start = Instant::now();
        let result = post(&request);
        let finished = Finished {
            sender: id,
            result,
            took: start.elapsed(),
            received: Reading::now(),
            is_clock_refusal: false,
        };
        // The uploader takes the memory of the body back: nobody else may hold it then.
        drop(request);
        channel.send(Event::Finished(Box::new(finished)));
    }
}

fn post(request: &SignedRequest) -> Result<XRayResponse, TransportError> {
    exchange(request).map_err(|error| TransportError::from_ureq(error, url::host(&request.url)))
}

fn exchange(request: &SignedRequest) -> Result<XRayResponse, ureq::Error> {
    let mut builder = http::Request::post(&request.url);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let prepared = builder
        .body(request.payload.body())
        .map_err(ureq::Error::from)?;
    let mut response = match request.timeout {
        None => request.agent.run(prepared)?,
        // A request with a configuration of its own costs a copy of all of it.
        Some(timeout) => {
            let config = request.agent.configure_request(prepared);
            let prepared = config.timeout_global(Some(timeout)).build();
            request.agent.run(prepared)?
        }
    };
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_BODY)
        .read_to_vec()?;
    let headers = response.headers();
    let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let mut parsed = XRayResponse::parse(response.status().as_u16(), header, &body);
    if let Some(token) = &request.session_token {
        parsed.hide(token);
    }
    Ok(parsed)
}
