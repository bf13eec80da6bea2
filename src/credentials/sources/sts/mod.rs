//! Asks STS for the credentials of a role.
//!
//! JSON answers to `Accept: application/json` are not documented, but relied upon by AWS's own
//! aws-iam-authenticator; XML answers, as emulators give, are understood too.

pub mod answer;

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;

use crate::aws::clock::{Clock, DatedAnswer, Reading};
use crate::aws::endpoint::Endpoints;
use crate::aws::error_codes;
use crate::aws::sigv4::{BodyToSign, SignRequest, sign};
use crate::credentials::metadata::{AttemptError, MetadataRequest, attempts, exchange};
use crate::credentials::{SourceError, Timing, plain};
use crate::env::{Lookup, set};
use crate::http::client::HttpClientFactory;
use answer::StsError;

/// A client of STS.
#[derive(Clone)]
pub struct StsClient {
    /// Makes the agent: the proxy and trust roots are those of X-Ray.
    pub service: Arc<HttpClientFactory>,
    /// Where STS is.
    pub endpoints: Endpoints,
    /// Learns from STS's answers: where a role must be assumed before the first segment can be
    /// sent, no other service has answered yet.
    pub clock: Arc<Clock>,
    /// For the pauses between attempts.
    pub timing: Timing,
    /// Headers for calls that are signed, as [`on_behalf`] gives them.
    pub on_behalf: Vec<(&'static str, String)>,
    /// Use the dual-stack name: this host had no route to the usual one the last time.
    pub has_no_route: bool,
    /// Use the partition's main region: STS is disabled in ours. Learnt from an answer.
    pub use_fallback_region: bool,
}

/// The source account and source ARN of a service, against the confused deputy problem: the
/// variables of the CloudWatch agent, which count when both are set.
pub fn on_behalf(env: &Lookup<'_>) -> Vec<(&'static str, String)> {
    let both = set(env, "AMZ_SOURCE_ACCOUNT").zip(set(env, "AMZ_SOURCE_ARN"));
    both.map_or_else(Vec::new, |(account, arn)| {
        vec![("x-amz-source-account", account), ("x-amz-source-arn", arn)]
    })
}

pub(crate) struct StsCall<'a> {
    /// `AssumeRole` or `AssumeRoleWithWebIdentity`.
    pub action: &'static str,
    /// Parameters besides action and version.
    pub parameters: &'a [(&'static str, &'a str)],
    /// What to sign with; `None` sends the call unsigned.
    pub(crate) signer: Option<&'a Credentials>,
    /// What an error message must not quote.
    pub secrets: &'a [&'a str],
}

impl StsClient {
    /// Makes up to three attempts.
    ///
    /// # Errors
    /// The last attempt's.
    pub(crate) fn call(&mut self, call: &StsCall<'_>) -> Result<Credentials, SourceError> {
        let body = form(call);
        let timing = self.timing.clone();
        attempts(&timing, 3, Duration::from_secs(5), &mut || {
            self.once(call, &body)
        })
    }

    fn once(&mut self, call: &StsCall<'_>, body: &str) -> Result<Credentials, AttemptError> {
        let setting = |why: String| AttemptError {
            error: SourceError::Setting(why),
            again: false,
        };
        let (urls, region) = match &self.endpoints.sts_fallback {
            Some(main) if self.use_fallback_region => (&main.urls, main.region),
            _ => (&self.endpoints.sts, self.endpoints.sts_region.as_str()),
        };
        let base = match &urls.dual_stack {
            Some(dual_stack) if self.has_no_route => dual_stack,
            _ => &urls.usual,
        };
        let url = format!("{base}/");
        let agent = self
            .service
            .agent(&url)
            .map_err(|e| setting(e.to_string()))?;

        let content_type = (
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        );
        let mut headers = vec![content_type];
        if call.signer.is_some() {
            headers.extend(self.on_behalf.iter().map(|(n, v)| (*n, v.as_str())));
        }
        let signed = self.clock.signing_time();
        let signature = match call.signer {
            None => Vec::new(),
            Some(credentials) => sign(&SignRequest {
                method: "POST",
                url: &url,
                headers: &headers,
                body: BodyToSign::Bytes(body.as_bytes()),
                region,
                service: "sts",
                time: signed.time(),
                credentials,
            })
            .map_err(|e| setting(e.to_string()))?,
        };
        headers.push(("accept", "application/json"));
        headers.extend(signature.iter().map(|(n, v)| (n.as_str(), v.as_str())));

        let from = format!("STS {base}");
        let request = MetadataRequest {
            method: "POST",
            url: &url,
            headers: &headers,
            body: Some(body.as_bytes()),
            connect: Duration::from_secs(3),
            total: Duration::from_secs(10),
        };
        let answer = exchange(&agent, &request);
        if let Err(failure) = &answer {
            // If the dual-stack name fails, the usual one is used again.
            self.has_no_route = failure.has_no_route && !self.has_no_route;
        }
        let answer = answer.map_err(|failure| AttemptError {
            again: true,
            error: SourceError::Unreachable {
                from: from.clone(),
                why: failure.why,
            },
        })?;
        let received = Reading::now();
        let read = answer::read(call.action, answer.is_success(), &answer.body);
        let code = match &read {
            Err(StsError::Error { code, .. }) => code,
            _ => "",
        };
        let dated = DatedAnswer::new(received, &answer.headers, code);
        let refused_time = self.clock.learn(signed, &dated);
        read.map_err(|unread| match unread {
            StsError::Unusable(why) => AttemptError {
                again: true,
                error: SourceError::Unusable { from, why },
            },
            StsError::Error { code, message } => {
                let disabled_here = code == "RegionDisabledException"
                    && self.endpoints.sts_fallback.is_some()
                    && !self.use_fallback_region;
                self.use_fallback_region |= disabled_here;
                AttemptError {
                    again: disabled_here
                        || answer.is_transient()
                        || is_transient(&code, call.action)
                        || refused_time,
                    error: SourceError::Refused {
                        from,
                        status: answer.status,
                        code: plain(&code, call.secrets),
                        message: plain(&message, call.secrets),
                    },
                }
            }
        })
    }
}

/// Whether the SDKs ask again after this code. A web identity token is refused for a moment after
/// its issuer has rotated its keys.
fn is_transient(code: &str, action: &str) -> bool {
    error_codes::is_transient(code)
        || code == "IDPCommunicationError"
        || (code == "InvalidIdentityToken" && action == "AssumeRoleWithWebIdentity")
}

fn form(call: &StsCall<'_>) -> String {
    let mut body = format!("Action={}&Version=2011-06-15", call.action);
    for (name, value) in call.parameters {
        body.push('&');
        body.push_str(name);
        body.push('=');
        encode(value, &mut body);
    }
    body
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub(super) fn encode(value: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let digit = |nibble: u8| char::from(HEX[usize::from(nibble)]);
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_sdks_to_the_byte() {
        let call = StsCall {
            action: "AssumeRoleWithWebIdentity",
            parameters: &[
                ("RoleArn", "arn:aws:iam::123456789123:role/test-role"),
                ("RoleSessionName", "a+=,.@-_~ é"),
            ],
            signer: None,
            secrets: &[],
        };
        assert_eq!(
            form(&call),
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15\
             &RoleArn=arn%3Aaws%3Aiam%3A%3A123456789123%3Arole%2Ftest-role\
             &RoleSessionName=a%2B%3D%2C.%40-_~%20%C3%A9"
        );
    }

    #[test]
    fn only_web_identity_asks_again_with_a_refused_token() {
        assert!(is_transient(
            "InvalidIdentityToken",
            "AssumeRoleWithWebIdentity"
        ));
        assert!(!is_transient("InvalidIdentityToken", "AssumeRole"));
        assert!(is_transient("IDPCommunicationError", "AssumeRole"));
        assert!(!is_transient("AccessDenied", "AssumeRole"));
    }
}
