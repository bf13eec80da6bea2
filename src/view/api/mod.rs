//! The requests of a browser or a script: the page and its API, see `docs/trace-api.md`. A request
//! in, a response out; there are no sockets and no locks here.

mod access;
mod query;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::{Value, json};

use super::page::{self, Asset};
use super::store::{DaemonInfo, EventStream, Filter, Store, Streams};
use access::refusal;
use query::{decode, parameters};

pub(crate) use access::ConnectedAddress;

/// The relevant parts of a request. Headers are as the client wrote them; of a repeated header only
/// the first counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ApiRequest<'a> {
    /// `GET`, in capitals.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The header `Host`.
    pub host: Option<&'a str>,
    /// The header `Origin`.
    pub origin: Option<&'a str>,
    /// The header `Sec-Fetch-Site`.
    pub(crate) fetch_site: Option<&'a str>,
    /// The header `Sec-Fetch-Mode`.
    pub(crate) fetch_mode: Option<&'a str>,
    /// The header `If-None-Match`.
    pub(crate) if_none_match: Option<&'a str>,
    /// The address that the client connected to, and whether every address is allowed.
    pub destination: ConnectedAddress,
}

/// An answer. `Content-Length` and `Connection` are left to the server.
#[derive(Debug)]
pub(crate) struct ApiResponse {
    /// HTTP status.
    pub status: u16,
    /// Headers, `Content-Type` among them.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: ApiBody,
    /// Whether the body is to be sent. If not, only its length is.
    pub(crate) send_body: bool,
}

/// The body of a [`ApiResponse`].
#[derive(Debug)]
pub(crate) enum ApiBody {
    /// All of it.
    Bytes(Cow<'static, [u8]>),
    /// A stream of events, until one side ends it.
    Events(EventStream),
}

/// Answers a request for the page or its API; `None` for a request of anything else.
pub(crate) fn respond(
    request: &ApiRequest<'_>,
    store: &mut Store,
    daemon: &DaemonInfo,
    streams: &Streams,
) -> Option<ApiResponse> {
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((request.target, ""));
    if !is_own(path) {
        return None;
    }
    let mut response = match request.method {
        _ if let Some(why) = refusal(request, path) => error(403, why),
        "GET" | "HEAD" => answer(request, path, query, store, daemon, streams),
        _ => {
            let mut response = error(405, "the page and its API answer only GET and HEAD");
            response.headers.push(("Allow", "GET, HEAD"));
            response
        }
    };
    if request.method == "HEAD" {
        response.send_body = false;
        if matches!(response.body, ApiBody::Events(_)) {
            response.body = ApiBody::Bytes(Cow::Borrowed(b""));
        }
    }
    Some(response)
}

/// Whether a path, which has no query, is one of the page or its API.
pub(crate) fn is_own(path: &str) -> bool {
    path == "/" || path.starts_with("/api/") || path.starts_with("/page/")
}

fn answer(
    request: &ApiRequest<'_>,
    path: &str,
    query: &str,
    store: &mut Store,
    daemon: &DaemonInfo,
    streams: &Streams,
) -> ApiResponse {
    if let Some(asset) = page::asset(path) {
        return file(asset, request.if_none_match);
    }
    let answer = match path {
        "/api/traces" => filter(query, true).map(|filter| store.list(&filter, daemon)),
        "/api/services" => filter(query, false).map(|filter| store.services(&filter)),
        "/api/events" if !query.is_empty() => Err("there are no parameters here".to_owned()),
        "/api/events" => {
            return match streams.open() {
                Some(stream) => events(stream),
                None => error(
                    503,
                    "there are too many streams of events; close another page",
                ),
            };
        }
        _ => {
            let Some(id) = path.strip_prefix("/api/traces/") else {
                return error(
                    404,
                    "there is no such path; docs/trace-api.md has those there are",
                );
            };
            match decode(id, false) {
                Some(_) if !query.is_empty() => Err("there are no parameters here".to_owned()),
                Some(id) => match store.trace(&id) {
                    Some(trace) => Ok(trace),
                    None => return error(404, "this trace is not kept, or not any more"),
                },
                None => Err("the id of the trace is no percent-encoded text".to_owned()),
            }
        }
    };
    match answer {
        Ok(answer) => response(200, "application/json", body(&answer)),
        Err(why) => error(400, &why),
    }
}

fn filter(query: &str, may_limit: bool) -> Result<Filter, String> {
    let parameters = parameters(query).ok_or("the query is no percent-encoded text")?;
    Filter::parse(&parameters, may_limit)
}

fn file(asset: &'static Asset, known: Option<&str>) -> ApiResponse {
    let is_known = known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == asset.etag));
    let (status, body): (u16, &[u8]) = match is_known {
        true => (304, b""),
        false => (200, asset.gzip),
    };
    // The browser may keep it, but must ask each time whether it has changed, because a newer daemon
    // has a newer page.
    let mut response = cached("no-cache", status, asset.content_type, Cow::Borrowed(body));
    response.headers.push(("ETag", asset.etag));
    if !is_known {
        response.headers.push(("Content-Encoding", "gzip"));
    }
    response
}

fn events(stream: EventStream) -> ApiResponse {
    let mut response = response(200, "text/event-stream", Cow::Borrowed(b""));
    response.body = ApiBody::Events(stream);
    response
}

fn error(status: u16, why: &str) -> ApiResponse {
    response(status, "application/json", body(&json!({ "error": why })))
}

/// An answer that is not to be kept.
fn response(status: u16, content_type: &'static str, body: Cow<'static, [u8]>) -> ApiResponse {
    cached("no-store", status, content_type, body)
}

/// An answer with this `Cache-Control`.
fn cached(
    cache: &'static str,
    status: u16,
    content_type: &'static str,
    body: Cow<'static, [u8]>,
) -> ApiResponse {
    let mut headers = vec![("Content-Type", content_type), ("Cache-Control", cache)];
    headers.extend(page::HEADERS);
    ApiResponse {
        status,
        headers,
        body: ApiBody::Bytes(body),
        send_body: true,
    }
}

fn body(answer: &Value) -> Cow<'static, [u8]> {
    let mut text = answer.to_string().into_bytes();
    text.push(b'\n');
    Cow::Owned(text)
}
