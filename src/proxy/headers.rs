//! Decides which headers are forwarded, in both directions.

use ureq::http::HeaderMap;

use super::action::ApiAction;
use super::handler::ForwardError;
use crate::http::server::Request;

/// The headers that are forwarded unchanged. All others belong to the client's connection (RFC
/// 9110, 7.6.1), describe the client, or would break the signature.
const FORWARDED: [&str; 2] = ["content-type", "content-encoding"];

/// Those by which CloudWatch Logs knows where logs belong, and which of their fields it may shorten.
const OF_LOGS: [&str; 3] = [
    "x-aws-log-group",
    "x-aws-log-stream",
    "x-aws-truncatable-fields",
];

/// Whether one of them is signed: no hop changes these.
pub(super) fn is_signed(name: &str) -> bool {
    name == "content-type" || OF_LOGS.contains(&name)
}

/// The `Accept-Encoding` of forwarded requests, whatever the client accepts: a compressed answer
/// could not be searched for secrets, nor kept for clients that do not accept it.
const UNCODED: (&str, &str) = ("accept-encoding", "identity");

/// Headers of an answer that are for one connection only (RFC 9110, 7.6.1), or describe the framing
/// of the body.
const NOT_PASSED_BACK: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
];

/// What goes upstream of `request`'s headers.
pub(super) fn forwarded(
    request: &Request,
    action: ApiAction,
) -> Result<Vec<(&'static str, String)>, ForwardError> {
    let mut headers = vec![(UNCODED.0, UNCODED.1.to_owned())];
    let of_logs: &[&str] = match action {
        ApiAction::OtlpLogs => &OF_LOGS,
        _ => &[],
    };
    for name in FORWARDED.iter().chain(of_logs) {
        if let Some(value) = request.header(name) {
            let value = String::from_utf8(value)
                .ok()
                .filter(|value| value.is_ascii());
            headers.push((*name, value.ok_or(ForwardError::Request)?));
        }
    }
    Ok(headers)
}

/// Whether a body is compressed, or coded in any other way.
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    let codings = headers.get_all("content-encoding");
    codings.iter().any(|coding| {
        let coding = coding.as_bytes().trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    })
}

/// What goes back of the service's headers.
pub(super) fn passed_back(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let named: Vec<String> = headers
        .get_all("connection")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|token| token.trim().to_ascii_lowercase())
        .collect();
    headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            !NOT_PASSED_BACK.contains(&name) && !named.iter().any(|token| token == name)
        })
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}
