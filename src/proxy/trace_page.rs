//! Serves the page that shows traces and its API, in front of the handler of everything else.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handler::{AnswerOrigin, Body, ForwardError, Incoming, RequestHandler, Response};
use crate::http::call::CancellableCall;
use crate::http::server::Request;
use crate::view::SharedStore;
use crate::view::api::{self, ConnectedAddress};
use crate::view::store::EventStream;

/// Interval between two checks whether the client of a stream has gone.
const LOOK: Duration = Duration::from_secs(1);

/// Answers the requests of the page, and passes all others to another handler.
pub struct TracePage {
    /// What is shown.
    pub store: Arc<SharedStore>,
    /// Whether the page is answered at any address and for any `Host`.
    pub any_host: bool,
    /// Answers everything else.
    pub others: Arc<dyn RequestHandler>,
}

impl RequestHandler for TracePage {
    fn handle(&self, incoming: &Incoming<'_>) -> Result<Response, ForwardError> {
        if let Some(response) = self.own(incoming) {
            return Ok(response);
        }
        self.others.handle(incoming)
    }

    fn is_short(&self, request: &Request) -> bool {
        self.others.is_short(request)
    }

    fn handle_at_once(&self, request: &Arc<Request>) -> Option<Response> {
        self.others.handle_at_once(request)
    }

    /// The page's own rules are stricter: a page of another origin is refused even where
    /// `--allow-origin` lets it send requests.
    fn judges_web_pages(&self, request: &Request) -> bool {
        api::is_own(request.path())
    }

    fn stop(&self) {
        self.others.stop();
    }
}

impl TracePage {
    fn own(&self, incoming: &Incoming<'_>) -> Option<Response> {
        let header = |name| {
            let value = incoming.request.header(name)?;
            Some(String::from_utf8_lossy(&value).into_owned())
        };
        let [host, origin, fetch_site, fetch_mode, if_none_match] = [
            "host",
            "origin",
            "sec-fetch-site",
            "sec-fetch-mode",
            "if-none-match",
        ]
        .map(header);
        // An address that is not known is none of this machine.
        let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let address = incoming
            .stream
            .local_addr()
            .map_or(unknown, |local| local.ip());
        let answer = self.store.respond(&api::ApiRequest {
            method: &incoming.request.method,
            target: &incoming.request.target,
            host: host.as_deref(),
            origin: origin.as_deref(),
            fetch_site: fetch_site.as_deref(),
            fetch_mode: fetch_mode.as_deref(),
            if_none_match: if_none_match.as_deref(),
            destination: ConnectedAddress {
                address,
                any: self.any_host,
            },
        })?;
        let body = match answer.body {
            api::ApiBody::Bytes(bytes) if answer.send_body => Body::Full(bytes.into_owned()),
            api::ApiBody::Bytes(bytes) => Body::Head(Some(bytes.len() as u64)),
            api::ApiBody::Events(stream) => Body::Live(Box::new(Events {
                store: Arc::clone(&self.store),
                stream,
                call: Arc::clone(incoming.call),
                text: Vec::new(),
                read: 0,
            })),
        };
        let headers = answer
            .headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        let mut response = Response::new(answer.status, headers.collect(), body);
        response.origin = AnswerOrigin::Daemon;
        Some(response)
    }
}

/// A stream of events as a body: each read waits for the next event. It ends when its client has
/// gone, and when the daemon stops.
struct Events {
    store: Arc<SharedStore>,
    stream: EventStream,
    call: Arc<CancellableCall>,
    /// The current event, and how much of it has been read.
    text: Vec<u8>,
    read: usize,
}

impl Read for Events {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.text.len() {
            if self.call.is_cancelled() {
                return Ok(0);
            }
            let deadline = Instant::now() + LOOK;
            if let Some(event) = self.store.next_event(&mut self.stream, deadline) {
                (self.text, self.read) = (event.into_bytes(), 0);
            }
        }
        let count = (&self.text[self.read..]).read(buffer)?;
        self.read += count;
        Ok(count)
    }
}
