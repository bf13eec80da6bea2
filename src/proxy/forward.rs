//! Signs requests anew and sends them to X-Ray.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use ureq::http;

use super::action::{Action, Service};
use super::counts::Counts;
use super::handler::{Body, ForwardError, Handler, Incoming, Response};
use super::headers;
use super::kept_answers::{CachedAnswer, MAX_ANSWER};
use super::masking::Mask;
use super::report::Reports;
use super::resources::{ClientResources, FORWARD_MEMORY};
use super::sampling_cache::{Attempted, SamplingCache};
use super::target_slot::TargetSlot;
use super::upstream_answer::{Asked, UpstreamBody};
use super::upstream_request::{Connection, Upstream, broken_off, transport};
use crate::aws::clock::{Clock, DatedAnswer, Reading};
use crate::aws::error_codes;
use crate::aws::sigv4::{SignRequest, sign};
use crate::credentials::target::Target;
use crate::credentials::{CredentialCache, IssuedCredentials};
use crate::http::call::Call;
use crate::http::client::{ServiceClient, ServiceEndpoint};
use crate::http::error::TransportErrorKind;
use crate::http::server::Request;
use crate::http::url;

/// How long a request waits for memory, for the region and for credentials, in all. The Java SDK
/// and the PHP sampler give up after 2 s and then sample blindly for 300 s; a call over a warm
/// connection takes a fraction of what is left.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Forwards requests to X-Ray, signed with the daemon's credentials.
pub struct SigningForwarder {
    shared: Arc<Shared>,
    cache: Arc<SamplingCache>,
}

pub(super) struct Shared {
    clock: Arc<Clock>,
    resources: Arc<ClientResources>,
    counts: Arc<Counts>,
    pub(super) reports: Reports,
    target: TargetSlot,
}

/// A request of a client's, as it goes to X-Ray.
struct Outgoing {
    request: Arc<Request>,
    action: Action,
    headers: Vec<(&'static str, String)>,
    /// Until when it may wait for what it needs.
    patience: Instant,
}

impl SigningForwarder {
    /// Requests wait a moment, then fail, until the [target](Self::set_target) is set. Sampling
    /// rules are served from before for `max_rules_age`.
    pub fn new(
        clock: Arc<Clock>,
        resources: Arc<ClientResources>,
        counts: Arc<Counts>,
        max_rules_age: Duration,
    ) -> Self {
        SigningForwarder {
            cache: SamplingCache::new(max_rules_age, Arc::clone(&resources)),
            shared: Arc::new(Shared {
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

    /// Asks the service for nothing, unsigned, once the target is set: name, TLS and clock skew
    /// are then known before the first client asks. Blocks; no answer is no harm.
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

    /// The answer to a request for sampling rules, which may be one from before.
    fn sampling_rules(
        &self,
        outgoing: &Arc<Outgoing>,
        client: &Call,
    ) -> Option<Result<Response, ForwardError>> {
        let (shared, asked) = (Arc::clone(&self.shared), Arc::clone(outgoing));
        let attempt = move || match shared.forward(&asked, &Arc::default()) {
            Ok(response) => whole(response),
            Err(error) => Attempted::Failed(error),
        };
        self.cache.answer(&outgoing.request.body, client, attempt)
    }
}

impl Handler for SigningForwarder {
    fn handle(&self, incoming: &Incoming<'_>) -> Result<Response, ForwardError> {
        let outgoing = Arc::new(Outgoing::new(incoming)?);
        let is_cached = outgoing.action == Action::GetSamplingRules
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
        // Whoever answers it sends the request back as it came: signature and token too.
        if request.method.eq_ignore_ascii_case("TRACE") {
            return Err(ForwardError::Request);
        }
        let action = Action::of(request);
        Ok(Outgoing {
            action,
            headers: headers::forwarded(request, action)?,
            request: Arc::clone(request),
            patience: incoming.received + PATIENCE,
        })
    }
}

impl Shared {
    fn forward(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        call: &Arc<Call>,
    ) -> Result<Response, ForwardError> {
        let result = self.ask_with_good_credentials(outgoing, call);
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
        call: &Arc<Call>,
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
        call: &Arc<Call>,
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
            body: &request.body,
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
        // Passed on, it would make the client wait for another answer on a connection that has
        // none.
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
        asked.read_error()?;
        Ok(asked)
    }

    /// Sends a request, and once more where X-Ray closed the kept connection before it arrived.
    fn send(
        &self,
        endpoint: &ServiceEndpoint,
        upstream: http::request::Builder,
        outgoing: &Outgoing,
        call: &Arc<Call>,
    ) -> Result<http::Response<ureq::Body>, ForwardError> {
        let request = &outgoing.request;
        // A body that is empty is announced as such for the methods that have one, and left away
        // for the others.
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
        let first = call.send(|| upstream.run(endpoint, Connection::Any));
        match (first, again) {
            (Err(ForwardError::Transport(error)), Some(again))
                if error.kind == TransportErrorKind::ClosedIdle && !call.is_cancelled() =>
            {
                self.counts.sent_again();
                call.send(|| again.run(endpoint, Connection::New))
            }
            (first, _) => first,
        }
    }

    /// Learns the time from an answer. Whether it is a refusal of a request signed with `issued`
    /// that newer ones cure, or the time just learnt; the credentials to sign with then.
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

/// Whom a request goes to. `None` where the daemon may not pass it on.
fn client(target: &Target, service: Service) -> Option<&ServiceClient> {
    let cloudwatch = target.cloudwatch.as_ref();
    match service {
        Service::XRay => Some(&target.forwards),
        Service::Logs => cloudwatch.map(|clients| &clients.logs),
        Service::Metrics => cloudwatch.map(|clients| &clients.metrics),
        Service::ApplicationSignals => cloudwatch.map(|clients| &clients.application_signals),
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

/// An answer for all who asked the same.
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
