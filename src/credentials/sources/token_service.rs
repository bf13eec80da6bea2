//! The request by which a person's session is renewed: AWS Sign-In and IAM Identity Center differ
//! in their fields only.

use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;

use crate::aws::clock::{Clock, DatedAnswer, Reading};
use crate::aws::endpoint::{IdentityEndpoints, IdentityService};
use crate::credentials::metadata::{
    AttemptError, ExchangeErrorKind, MetadataRequest, attempts, exchange,
};
use crate::credentials::{SourceError, Timing};
use crate::http::client::HttpClientFactory;

/// How the services of sessions are reached.
pub struct TokenService {
    /// Where they are.
    pub endpoints: IdentityEndpoints,
    /// Makes the agents.
    pub http: Arc<HttpClientFactory>,
    /// The time that a proof must have; learnt from their answers.
    pub clock: Arc<Clock>,
    /// For the pauses, and to see how long a session lasts.
    pub timing: Timing,
}

/// A request for new tokens.
pub(super) struct TokenRequest<'a> {
    /// The service, for error messages.
    pub from: &'a str,
    pub url: &'a str,
    /// A header besides those that every request has, such as a proof.
    pub header: Option<(&'a str, &'a str)>,
    pub body: &'a str,
    /// What an error message must not quote.
    pub secrets: &'a [&'a str],
}

/// Why there are no new tokens.
#[derive(Debug)]
pub(super) enum TokenError {
    /// The session cannot be renewed any more: the person must begin another one. With the code.
    SessionOver(String),
    Other(SourceError),
}

/// Error codes that end the session.
const SESSION_OVER: [&str; 6] = [
    "TOKEN_EXPIRED",
    "AUTHCODE_EXPIRED",
    "USER_CREDENTIALS_CHANGED",
    "expired_token",
    "invalid_grant",
    "invalid_client",
];

impl TokenService {
    /// The address of a service.
    ///
    /// # Errors
    /// When the settings name none that can be used.
    pub(super) fn url(
        &self,
        service: IdentityService,
        region: &str,
    ) -> Result<String, SourceError> {
        let url = self.endpoints.url(service, region);
        url.map_err(|error| SourceError::Setting(error.to_string()))
    }

    /// An agent for requests to `url`.
    ///
    /// # Errors
    /// When the settings allow none.
    pub(super) fn agent(&self, url: &str) -> Result<Agent, SourceError> {
        let agent = self.http.agent(url);
        agent.map_err(|error| SourceError::Setting(error.to_string()))
    }

    /// Asks for new tokens. A request that may have arrived is not repeated: it may have made its token
    /// worthless, and its proof is good for one use.
    ///
    /// # Errors
    /// Why there is no answer with tokens.
    pub(super) fn ask(&self, request: &TokenRequest<'_>) -> Result<Vec<u8>, TokenError> {
        let agent = self.agent(request.url).map_err(TokenError::Other)?;
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(request.header);
        let asked = MetadataRequest {
            method: "POST",
            url: request.url,
            headers: &headers,
            body: Some(request.body.as_bytes()),
            connect: Duration::from_secs(3),
            total: Duration::from_secs(10),
        };
        let mut once = || {
            let sent = self.clock.signing_time();
            let answer = exchange(&agent, &asked).map_err(|failure| AttemptError {
                again: failure.kind == ExchangeErrorKind::NoConnection,
                error: SourceError::Unreachable {
                    from: request.from.to_owned(),
                    why: failure.why,
                },
            })?;
            let dated = DatedAnswer::new(Reading::now(), &answer.headers, "");
            self.clock.learn(sent, &dated);
            Ok(answer)
        };
        let answer = attempts(&self.timing, 3, Duration::from_secs(2), &mut once);
        let answer = answer.map_err(TokenError::Other)?;
        if answer.is_success() {
            return Ok(answer.body);
        }
        Err(match answer.refusal(request.from, request.secrets) {
            SourceError::Refused { code, .. } if SESSION_OVER.contains(&code.as_str()) => {
                TokenError::SessionOver(code)
            }
            other => TokenError::Other(other),
        })
    }
}
