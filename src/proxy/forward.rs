//! Signs clients' requests with the daemon's credentials and sends them to X-Ray.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use ureq::http;

use super::action::{ApiAction, AwsService};
use super::counts::Counts;
use super::handler::{Body, ForwardError, Incoming, RequestHandler, Response};
use super::headers;
use super::kept_answers::{CachedAnswer, MAX_ANSWER};
use super::masking::Mask;
use super::report::Reports;
use super::resources::{ClientResources, FORWARD_MEMORY};
use super::sampling_cache::{Attempted, SamplingCache};
use super::target_slot::TargetSlot;
use super::upstream_answer::{Asked, UpstreamBody};
use super::upstream_request::{ConnectionChoice, Upstream, broken_off, transport};
use crate::aws::clock::{Clock, DatedAnswer, Reading};
use crate::aws::error_codes;
use crate::aws::sigv4::{BodyToSign, SignRequest, sign};
use crate::credentials::target::Target;
use crate::credentials::{CredentialCache, IssuedCredentials};
use crate::http::call::CancellableCall;
use crate::http::client::{ServiceClient, ServiceEndpoint};
use crate::http::error::TransportErrorKind;
use crate::http::server::Request;
use crate::http::url;

/// How long a request waits for memory, for the region and for credentials, in all. The Java SDK
/// and the PHP sampler give up after 2 s and then use their own rules for 300 s; a call on an open
/// connection takes much less than the remaining time.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Forwards requests to X-Ray, signed with the daemon's credentials.
pub struct SigningForwarder {
    shared: Arc<Forwarder>,
    cache: Arc<SamplingCache>,
}

pub(super) struct Forwarder {
    clock: Arc<Clock>,
    resources: Arc<ClientResources>,
    counts: Arc<Counts>,
    pub(super) reports: Reports,
    target: TargetSlot,
}

/// A client's request in the form in which it goes to X-Ray.
struct Outgoing {
    request: Arc<Request>,
    action: ApiAction,
    headers: Vec<(&'static str, String)>,
    /// Until when it may wait for memory, the target and credentials.
    patience: Instant,
}

impl SigningForwarder {
    /// Requests wait a moment, then fail, until the [target](Self::set_target) is set. Kept
    /// sampling rules are served for `max_rules_age`.
    pub fn new(
        clock: Arc<Clock>,
        resources: Arc<ClientResources>,
        counts: Arc<Counts>,
        max_rules_age: Duration,
    ) -> Self {
        SigningForwarder {
            cache: SamplingCache::new(max_rules_age, Arc::clone(&resources)),
            shared: Arc::new(Forwarder {
                clock,
                resources,
                counts,
                reports: Reports::default(),
                target: TargetSlot::default(),
            }),
        }
    }

    /// Where requests go from now on.
    pub fn set_target(&self, target: Arc<Target>) {
        self.shared.target.set(target);
    }

    /// Sends an empty, unsigned request, if the target is set, so that name, TLS connection and
    /// clock skew are known before the first client asks. Blocks. An error is ignored.
    pub fn warm(&self) {
        let Some(target) = self.shared.target.wait(Duration::ZERO) else {
            return;
        };
        let signed = self.shared.clock.signing_time();
        let endpoint = target.forwards.current();
        if let Ok(response) = endpoint.agent.head(format!("{}/", endpoint.url)).call() {
            let answer = DatedAnswer::new(Reading::now(), response.headers(), "");
            self.shared.clock.learn(signed, &answer);
        }
    }

    /// The answer to a request for sampling rules, which may be a kept one.
    fn sampling_rules(
        &self,
        outgoing: &Arc<Outgoing>,
        client: &CancellableCall,
    ) -> Option<Result<Response, ForwardError>> {
        let (shared, asked) = (Arc::clone(&self.shared), Arc::clone(outgoing));
        let attempt = move || match shared.forward(&asked, &Arc::default()) {
            Ok(response) => whole(response),
            Err(error) => Attempted::Failed(error),
        };
        self.cache.answer(&outgoing.sharing_key(), client, attempt)
    }
}

impl RequestHandler for SigningForwarder {
    fn handle(&self, incoming: &Incoming<'_>) -> Result<Response, ForwardError> {
        let outgoing = Arc::new(Outgoing::new(incoming)?);
        let is_cached = outgoing.action == ApiAction::GetSamplingRules
            && outgoing.request.target == outgoing.request.path();
        if is_cached && let Some(answer) = self.sampling_rules(&outgoing, incoming.call) {
            return answer;
        }
        self.shared.forward(&outgoing, incoming.call)
    }

    fn stop(&self) {
        if let Some(target) = self.shared.target.stop() {
            target.shutdown_forwards();
        }
    }
}

impl Outgoing {
    fn new(incoming: &Incoming<'_>) -> Result<Self, ForwardError> {
        let request = incoming.request;
        // The answer to TRACE is the request itself, with signature and token.
        if request.method.eq_ignore_ascii_case("TRACE") {
            return Err(ForwardError::Request);
        }
        let action = ApiAction::of(request);
        Ok(Outgoing {
            action,
            headers: headers::forwarded(request, action)?,
            request: Arc::clone(request),
            patience: incoming.received + PATIENCE,
        })
    }

    /// The headers and the body: requests with the same path that agree in them get the same answer.
    fn sharing_key(&self) -> Vec<u8> {
        let headers = self.headers.iter();
        // A value of a header has no line end.
        let mut key = headers
            .flat_map(|(name, value)| [name, ":", value, "\n"])
            .collect::<String>()
            .into_bytes();
        key.extend_from_slice(&self.request.body);
        key
    }
}

impl Forwarder {
    fn forward(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        call: &Arc<CancellableCall>,
    ) -> Result<Response, ForwardError> {
        let result = self.ask_with_good_credentials(outgoing, call);
        // Nothing but the body of an answer still comes by the connection.
        let is_over =
            !matches!(&result, Ok(response) if matches!(response.body, Body::Stream { .. }));
        if is_over {
            call.finish();
        }
        let result = match result {
            Err(_) if call.is_cancelled() => Err(ForwardError::ClientLeft),
            result => result,
        };
        if let Err(error) = &result {
            self.reports.failure(outgoing.action, error);
        }
        result
    }

    fn ask_with_good_credentials(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        call: &Arc<CancellableCall>,
    ) -> Result<Response, ForwardError> {
        let deadline = outgoing.patience;
        let memory = self.resources.forwards.wait(FORWARD_MEMORY, left(deadline));
        let memory = memory.ok_or(ForwardError::Busy)?;
        let target = self
            .target
            .wait(left(deadline))
            .ok_or(ForwardError::NoTarget)?;
        let cache = &target.credentials;
        let issued = cache
            .wait(left(deadline))
            .ok_or(ForwardError::NoCredentials)?;
        let mut asked = self.ask(&target, outgoing, &issued.credentials, call)?;
        if let Some(newer) = self.cure(&asked, (cache, &issued), deadline) {
            asked = self.ask(&target, outgoing, &newer.credentials, call)?;
        }
        if asked.status() >= 400 {
            let error = asked.error();
            self.reports
                .refusal(outgoing.action, asked.status(), &error);
        }
        let call = Arc::clone(call);
        let host = asked.host.clone();
        Ok(
            asked.into_response(&outgoing.request, |masked| UpstreamBody {
                masked,
                host,
                call,
                shared: Arc::clone(self),
                action: outgoing.action,
                _memory: memory,
            }),
        )
    }

    fn ask(
        &self,
        target: &Target,
        outgoing: &Outgoing,
        credentials: &Credentials,
        call: &Arc<CancellableCall>,
    ) -> Result<Asked, ForwardError> {
        let request = &*outgoing.request;
        let service = outgoing.action.service();
        let client = client(target, service).ok_or(ForwardError::NotEnabled)?;
        let endpoint = client.current();
        let url = format!("{}{}", endpoint.url, request.target);
        let mut upstream = http::Request::builder()
            .method(request.method.as_str())
            .uri(&url);
        for (name, value) in &outgoing.headers {
            upstream = upstream.header(*name, value);
        }
        if upstream.uri_ref().is_none() {
            return Err(ForwardError::Request);
        }
        let to_sign: Vec<(&str, &str)> = outgoing
            .headers
            .iter()
            .filter(|(name, _)| headers::is_signed(name))
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let signed = self.clock.signing_time();
        let signature = sign(&SignRequest {
            method: &request.method,
            url: &url,
            headers: &to_sign,
            body: BodyToSign::Bytes(&request.body),
            region: &target.region,
            service: service.signing_name(),
            time: signed.time(),
            credentials,
        })
        .map_err(|error| ForwardError::Sign(error.to_string()))?;
        for (name, value) in &signature {
            upstream = upstream.header(name, value);
        }
        let response = self.send(endpoint, upstream, outgoing, call)?;
        let received = Reading::now();
        let host = url::host(&endpoint.url);
        // If it were passed on, the client would wait for a second answer, which never comes.
        if response.status().is_informational() {
            let unasked = io::Error::other("it switched protocols unasked");
            return Err(transport(unasked.into(), host));
        }
        let token = credentials
            .session_token()
            .filter(|token| !token.is_empty());
        if token.is_some() && headers::is_coded(response.headers()) {
            return Err(ForwardError::Compressed);
        }
        let mut asked = Asked {
            response,
            mask: Mask::new(token.into_iter().chain(signature_in(&signature))),
            signed,
            received,
            host: host.to_owned(),
            read: Vec::new(),
        };
        asked.read_error(call)?;
        Ok(asked)
    }

    /// Sends a request, and once more where X-Ray closed the kept connection before it arrived.
    fn send(
        &self,
        endpoint: &ServiceEndpoint,
        upstream: http::request::Builder,
        outgoing: &Outgoing,
        call: &Arc<CancellableCall>,
    ) -> Result<http::Response<ureq::Body>, ForwardError> {
        let request = &outgoing.request;
        // An empty body is sent with a length of 0 for methods that have a body, and without a
        // length for the others.
        let has_body =
            !request.body.is_empty() || matches!(request.method.as_str(), "POST" | "PUT" | "PATCH");
        let body = has_body.then_some(request.body.as_slice());
        let upstream = match body {
            Some(body) => upstream.body(body).map(Upstream::WithBody),
            None => upstream.body(()).map(Upstream::Without),
        };
        // The error repeats the URL, which is the client's.
        let upstream = upstream.map_err(|_| ForwardError::Request)?;
        let again = (outgoing.action.is_known()).then(|| upstream.clone());
        let first = call.send(|| upstream.run(endpoint, ConnectionChoice::Any));
        match (first, again) {
            (Err(ForwardError::Transport(error)), Some(again))
                if error.kind == TransportErrorKind::ClosedIdle && !call.is_cancelled() =>
            {
                self.counts.sent_again();
                call.send(|| again.run(endpoint, ConnectionChoice::New))
            }
            (first, _) => first,
        }
    }

    /// Learns the time from an answer. Returns the credentials to sign with if the request should
    /// be repeated: `issued` if a wrong clock was the reason for the refusal, newer ones if the
    /// credentials were.
    fn cure(
        &self,
        asked: &Asked,
        (cache, issued): (&CredentialCache, &IssuedCredentials),
        deadline: Instant,
    ) -> Option<IssuedCredentials> {
        let code = match asked.status() {
            400 | 401 | 403 => asked.error().code,
            _ => String::new(),
        };
        let headers = asked.response.headers();
        let answer = DatedAnswer::new(asked.received, headers, &code);
        if self.clock.learn(asked.signed, &answer) {
            return Some(issued.clone());
        }
        if !error_codes::blames_credentials(&code) || !cache.reject(issued.generation) {
            return None;
        }
        let newer = cache.wait(left(deadline))?;
        (newer.generation != issued.generation).then_some(newer)
    }
}

/// The client of a service. `None` if the daemon may not pass requests on to it.
fn client(target: &Target, service: AwsService) -> Option<&ServiceClient> {
    let cloudwatch = target.cloudwatch.as_ref();
    match service {
        AwsService::XRay => Some(&target.forwards),
        AwsService::Logs => cloudwatch.map(|clients| &clients.logs),
        AwsService::Metrics => cloudwatch.map(|clients| &clients.metrics),
        AwsService::ApplicationSignals => cloudwatch.map(|clients| &clients.application_signals),
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// The signature in the headers that signing adds.
fn signature_in(headers: &[(String, String)]) -> Option<&str> {
    let (_, value) = headers.iter().find(|(name, _)| name == "authorization")?;
    Some(value.rsplit_once("Signature=")?.1)
}

/// Reads an answer completely, so that all clients with the same request can get it.
fn whole(response: Response) -> Attempted {
    let body = match response.body {
        Body::Full(body) => body,
        Body::Head(_) | Body::Live(_) => Vec::new(),
        Body::Stream { reader, .. } => {
            let mut body = Vec::new();
            let limit = MAX_ANSWER as u64 + 1;
            if let Err(error) = reader.take(limit).read_to_end(&mut body) {
                return Attempted::Failed(broken_off(&error, "X-Ray"));
            }
            if body.len() > MAX_ANSWER {
                return Attempted::TooLong;
            }
            body
        }
    };
    Attempted::Answered(CachedAnswer {
        status: response.status,
        headers: response.headers,
        body: body.into(),
    })
}
