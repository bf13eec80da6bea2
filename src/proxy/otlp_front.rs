//! Requests of OpenTelemetry: spans go to the uploader, which delivers them like segments; logs,
//! metrics and instrumentation calls are forwarded, where that is allowed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::action::{ApiAction, AwsService};
use super::handler::{Entrance, ForwardError, Incoming, RequestHandler, Response};
use super::resources::ClientResources;
use super::server::retry_after;
use crate::http::gunzip::GUNZIP_MEMORY;
use crate::http::server::{MAX_BODY, Request};
use crate::logging::RateLimit;
use crate::otlp::{self, Coding, OtlpAnswer, OtlpEncoding, OtlpRefusal};
use crate::upload::UploadChannel;
use crate::upload::spans::{SpanRequest, SpanVerdict};
use crate::view::Feed;

/// The path for spans.
const TRACES: &str = "/v1/traces";

/// How long to wait for the uploader's answer, and for memory for decompression. Exporters wait for
/// ten seconds, and keep their spans after a 503.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest body of protobuf that is hashed and counted on the thread that receives all requests: it takes a
/// millisecond or two. The usual 512 spans have about 200 KB.
const SHORT_BODY: usize = 512 * 1024;

static REFUSED: RateLimit = RateLimit::new(1, Duration::from_secs(60));

/// Takes OTLP, and leaves everything else to another handler.
pub struct OtlpFront {
    /// Answers everything else.
    pub next: Arc<dyn RequestHandler>,
    /// Where spans go.
    pub channel: UploadChannel,
    /// What clients may take together.
    pub resources: Arc<ClientResources>,
    /// Shows the spans that were accepted, where the page is on and spans go to X-Ray.
    pub feed: Option<Feed>,
    /// Whether logs, metrics and instrumentation are passed on: with `--otlp` only, since it widens
    /// what every client can reach.
    pub is_enabled: bool,
}

impl RequestHandler for OtlpFront {
    fn handle(&self, incoming: &Incoming<'_>) -> Result<Response, ForwardError> {
        let request = incoming.request;
        if request.path() == TRACES {
            let content_type = content_type(request);
            return Ok(match self.take(request, &content_type, PATIENCE) {
                Ok(answer) => response(answer),
                Err(refusal) => refused(refusal, &content_type),
            });
        }
        let is_otlp = ApiAction::of(request).service() != AwsService::XRay;
        if is_otlp && !self.is_enabled {
            return Err(ForwardError::NotEnabled);
        }
        if !is_otlp && incoming.entrance == Entrance::Otlp {
            let text =
                "this port takes OTLP over HTTP only: POST /v1/traces, /v1/logs, /v1/metrics";
            return Ok(Response::text(404, text));
        }
        self.next.handle(incoming)
    }

    /// JSON takes far longer to be counted, what is compressed takes longer to be opened, and without credit
    /// the uploader has to be waited for.
    fn is_short(&self, request: &Request) -> bool {
        request.path() == TRACES
            && request.body.len() <= SHORT_BODY
            && request.header("content-encoding").is_none()
            && OtlpEncoding::of(&content_type(request)) == Some(OtlpEncoding::Protobuf)
            && self.channel.has_credit(request.body.len())
    }

    fn handle_at_once(&self, request: &Arc<Request>) -> Option<Response> {
        let content_type = content_type(request);
        match self.take(request, &content_type, Duration::ZERO) {
            Ok(answer) => Some(response(answer)),
            Err(OtlpRefusal::Late) => None,
            Err(refusal) => Some(refused(refusal, &content_type)),
        }
    }

    fn judges_web_pages(&self, request: &Request) -> bool {
        self.next.judges_web_pages(request)
    }

    fn stop(&self) {
        self.next.stop();
    }
}

impl OtlpFront {
    /// Gives the spans of a request to the uploader. Where that has to be waited for, it takes at most
    /// `patience`.
    fn take(
        &self,
        request: &Arc<Request>,
        content_type: &[u8],
        patience: Duration,
    ) -> Result<OtlpAnswer, OtlpRefusal> {
        let coding = request.header("content-encoding").unwrap_or_default();
        let _memory = match Coding::of(&coding) {
            Some(Coding::Gzip) => {
                let memory = self.resources.forwards.wait(GUNZIP_MEMORY, patience);
                Some(memory.ok_or(OtlpRefusal::Busy)?)
            }
            _ => None,
        };
        // First, since this reads the body from its beginning to its end, which is the fastest way to
        // bring it into the cache for what follows.
        let hash = Sha256::digest(&*request.body);
        let spans = otlp::read(&request.method, content_type, &coding, &request.body)?;
        if spans.count == 0 {
            return Ok(otlp::accepted(spans.encoding));
        }
        let taken = SpanRequest {
            body: Arc::clone(&request.body),
            is_json: spans.encoding == OtlpEncoding::Json,
            is_gzip: spans.coding == Coding::Gzip,
            spans: spans.count,
            hash: Some(hash.into()),
        };
        let shown = self.feed.as_ref().map(|feed| (feed, taken.clone()));
        match self.channel.hand_over_spans(taken, patience) {
            Some(SpanVerdict::Taken) => {
                if let Some((feed, spans)) = shown {
                    feed.spans(spans);
                }
                Ok(otlp::accepted(spans.encoding))
            }
            Some(SpanVerdict::TooLong(limit)) => Err(OtlpRefusal::TooLongForMemory(limit)),
            Some(SpanVerdict::Unreadable) => Err(OtlpRefusal::Malformed(spans.encoding)),
            Some(SpanVerdict::Full) => Err(OtlpRefusal::Full),
            None => Err(OtlpRefusal::Late),
        }
    }
}

/// The answer to a request of which the server takes no body longer than `most` bytes. `None`: it is not
/// one with spans.
pub(super) fn too_long(head: &Request, most: usize) -> Option<OtlpAnswer> {
    let content_type = content_type(head);
    let refusal = match most {
        // More than X-Ray takes, in any case.
        MAX_BODY => OtlpRefusal::TooLong,
        _ => OtlpRefusal::TooLongForMemory(most),
    };
    (head.path() == TRACES).then(|| otlp::refused(refusal, &content_type))
}

fn content_type(request: &Request) -> Vec<u8> {
    request.header("content-type").unwrap_or_default()
}

fn refused(refusal: OtlpRefusal, content_type: &[u8]) -> Response {
    if let Some(held_back) = REFUSED.allow(Instant::now()) {
        log::warn!(
            "spans of a client on TCP were answered {}: {refusal}{held_back}",
            refusal.status()
        );
    }
    let mut response = response(otlp::refused(refusal, content_type));
    match response.status {
        405 => response
            .headers
            .push(("Allow".to_owned(), b"POST".to_vec())),
        503 => response.headers.push(retry_after()),
        _ => {}
    }
    response
}

fn response(answer: OtlpAnswer) -> Response {
    Response::of(answer.status, answer.content_type, answer.body)
}
