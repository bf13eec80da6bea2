//! The requests of `xray check`, signed as the daemon signs its own and sent by the same connections.

use aws_credential_types::Credentials;
use ureq::http;

use crate::aws::clock::{Clock, DatedAnswer, Reading};
use crate::aws::error_codes;
use crate::aws::sigv4::{BodyToSign, SignRequest, sign};
use crate::credentials::target::Target;
use crate::http::client::ServiceEndpoint;
use crate::http::error::{TransportError, TransportErrorKind as Kind};
use crate::http::url;
use crate::upload::response::XRayResponse;

/// At most this much of an answer is read. All the sampling rules of an account are shorter.
const MAX_BODY: u64 = 4 * 1024 * 1024;

/// Connects to X-Ray by an unsigned request for nothing, and learns the time from the answer,
/// whatever it is.
///
/// # Errors
/// When there is no answer.
pub(super) fn connect(target: &Target, clock: &Clock) -> Result<(), TransportError> {
    let endpoint = target.uploads.current();
    let result = head(endpoint, clock);
    let next = target.uploads.current();
    match result {
        // Without a route to the usual name, the dual-stack one is used from here on.
        Err(_) if next.url != endpoint.url => head(next, clock),
        result => result,
    }
}

fn head(endpoint: &ServiceEndpoint, clock: &Clock) -> Result<(), TransportError> {
    let signed = clock.signing_time();
    let response = endpoint
        .agent
        .head(format!("{}/", endpoint.url))
        .call()
        .map_err(|error| TransportError::from_ureq(error, url::host(&endpoint.url)))?;
    let answer = DatedAnswer::new(Reading::now(), response.headers(), "");
    clock.learn(signed, &answer);
    Ok(())
}

/// Sends a signed call, and repeats it once if it was refused because of a wrong clock.
///
/// # Errors
/// When there is no answer.
pub(super) fn call(
    target: &Target,
    clock: &Clock,
    credentials: &Credentials,
    path: &str,
    body: &str,
) -> Result<XRayResponse, TransportError> {
    match post(target, clock, credentials, path, body)? {
        (_, true) => Ok(post(target, clock, credentials, path, body)?.0),
        (response, false) => Ok(response),
    }
}

/// The answer, and whether it refuses the time of the request.
fn post(
    target: &Target,
    clock: &Clock,
    credentials: &Credentials,
    path: &str,
    body: &str,
) -> Result<(XRayResponse, bool), TransportError> {
    let endpoint = target.uploads.current();
    let host = url::host(&endpoint.url);
    let url = format!("{}{path}", endpoint.url);
    let signed = clock.signing_time();
    let own = [("content-type", "application/json")];
    let signature = sign(&SignRequest {
        method: "POST",
        url: &url,
        headers: &own,
        body: BodyToSign::Bytes(body.as_bytes()),
        region: &target.region,
        service: "xray",
        time: signed.time(),
        credentials,
    })
    .map_err(|error| TransportError::new(Kind::Other, error.to_string()))?;
    let mut request = http::Request::post(&url);
    for (name, value) in own {
        request = request.header(name, value);
    }
    for (name, value) in &signature {
        request = request.header(name, value);
    }
    let exchange = || {
        let request = request.body(body.as_bytes()).map_err(ureq::Error::from)?;
        let mut response = endpoint.agent.run(request)?;
        let received = Reading::now();
        let config = response.body_mut().with_config();
        let body = config.limit(MAX_BODY).read_to_vec()?;
        Ok((response, received, body))
    };
    let (response, received, body) =
        exchange().map_err(|error| TransportError::from_ureq(error, host))?;
    let headers = response.headers();
    let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let mut parsed = XRayResponse::parse(response.status().as_u16(), header, &body);
    let code = parsed.code.clone().unwrap_or_default();
    let is_clock_refusal = clock.learn(signed, &DatedAnswer::new(received, headers, &code));
    // A refused signature is answered with the request as X-Ray has read it.
    parsed.hide(credentials.session_token().unwrap_or_default());
    Ok((parsed, is_clock_refusal))
}

/// What to do about a request that got no answer.
pub(super) fn transport_advice(kind: Kind) -> &'static str {
    match kind {
        Kind::UnknownHost => "check the region, the Endpoint and the name servers",
        Kind::Refused | Kind::NoRoute | Kind::ConnectTimeout | Kind::Timeout => {
            "check the way to X-Ray: NAT or a VPC endpoint, its security group, a proxy (-p)"
        }
        Kind::Tls => "check AWS_CA_BUNDLE, and what stands between this host and X-Ray",
        Kind::Proxy => "check the proxy, and what it allows",
        Kind::ClosedIdle | Kind::Other => "check what stands between this host and X-Ray",
    }
}

/// What to do about a refusal, where its code tells.
pub(super) fn refusal_advice(response: &XRayResponse) -> Option<&'static str> {
    let code = response.code.as_deref()?;
    error_codes::blames_credentials(code).then_some(
        "check the credentials, and that this region is enabled for the account they belong to",
    )
}
