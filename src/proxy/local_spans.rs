//! Takes OpenTelemetry's spans without AWS, for the exporters that show traces here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::action::Action;
use super::handler::{Body, ForwardError, Handler, Incoming, Response};
use super::server::retry_after;
use crate::http::server::Request;
use crate::logging::RateLimit;
use crate::upload::UploadChannel;

/// How long the printer may take. It waits for a stdout that is read slowly, and exporters wait for
/// ten seconds.
const PATIENCE: Duration = Duration::from_secs(5);

static UNREADABLE: RateLimit = RateLimit::new(1, Duration::from_secs(60));

/// Hands spans to the printer, and everything else to another handler.
pub struct LocalSpans {
    /// To the printer.
    pub channel: UploadChannel,
    /// Answers everything else.
    pub others: Arc<dyn Handler>,
}

impl Handler for LocalSpans {
    fn handle(&self, incoming: &Incoming<'_>) -> Result<Response, ForwardError> {
        let request = incoming.request;
        if Action::of(request) != Action::OtlpTraces {
            return self.others.handle(incoming);
        }
        Ok(match self.channel.hand_over_spans(request, PATIENCE) {
            Some(Ok(())) => taken(request),
            Some(Err(why)) => {
                if let Some(held_back) = UNREADABLE.allow(Instant::now()) {
                    log::warn!("spans on TCP were answered 400: {why}{held_back}");
                }
                Response::empty(400)
            }
            None => {
                let mut response = Response::empty(503);
                response.headers.push(retry_after());
                response
            }
        })
    }

    fn stop(&self) {
        self.others.stop();
    }
}

/// OTLP answers in the encoding of the request; an empty protobuf message is no bytes.
fn taken(request: &Request) -> Response {
    let sent = request.header("content-type").unwrap_or_default();
    let (content_type, body) = match sent.starts_with(b"application/json") {
        true => ("application/json", "{}"),
        false => ("application/x-protobuf", ""),
    };
    let headers = vec![("Content-Type".to_owned(), content_type.into())];
    Response::new(200, headers, Body::Full(body.into()))
}
