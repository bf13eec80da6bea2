//! Logs failed requests on TCP: each cause for each action at most once a minute, with X-Ray's
//! words and a hint for the operator.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::action::{ApiAction, AwsService};
use super::handler::ForwardError;
use crate::aws::error_codes::{self, ServiceError};
use crate::http::error::{TransportErrorKind, TransportErrorKind as Kind};
use crate::logging::{self, HeldBack, RateLimit};

/// Longest text of an error in the log, in bytes.
const MAX_TEXT: usize = 300;

/// The cause of a failure. Each has a rate limit of its own. There are no more causes than statuses
/// of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Status(u16),
    Request,
    NoTarget,
    NoCredentials,
    Sign,
    Transport(TransportErrorKind),
    Compressed,
    Busy,
}

/// The reports of the last minute.
#[derive(Default)]
pub(super) struct Reports {
    limits: Mutex<BTreeMap<(ApiAction, Cause), RateLimit>>,
}

impl Reports {
    /// X-Ray has refused a request.
    pub(super) fn refusal(&self, action: ApiAction, status: u16, error: &ServiceError) {
        if let Some(held_back) = self.allow(action, Cause::Status(status)) {
            let line = refusal(action, status, error);
            log::warn!("{line}{held_back}");
        }
    }

    /// There is no answer of X-Ray's.
    pub(super) fn failure(&self, action: ApiAction, error: &ForwardError) {
        let Some(cause) = cause(error) else { return };
        if let Some(held_back) = self.allow(action, cause) {
            let text = logging::escape(error.to_string(), MAX_TEXT);
            let (name, status) = (action.name(), error.status());
            let advice = failure_advice(cause);
            log::warn!("{name} on TCP was answered {status}: {text}; {advice}{held_back}");
        }
    }

    fn allow(&self, action: ApiAction, cause: Cause) -> Option<HeldBack> {
        const MINUTE: Duration = Duration::from_secs(60);
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits
            .entry((action, cause))
            .or_insert_with(|| RateLimit::new(1, MINUTE))
            .allow(Instant::now())
    }
}

fn cause(error: &ForwardError) -> Option<Cause> {
    Some(match error {
        ForwardError::Request => Cause::Request,
        ForwardError::NoTarget => Cause::NoTarget,
        ForwardError::NoCredentials => Cause::NoCredentials,
        ForwardError::Sign(_) => Cause::Sign,
        ForwardError::Compressed => Cause::Compressed,
        ForwardError::Busy => Cause::Busy,
        // The client is told what to do.
        ForwardError::NotEnabled => return None,
        ForwardError::ClientLeft => return None,
        ForwardError::Transport(error) => Cause::Transport(error.kind),
    })
}

fn failure_advice(cause: Cause) -> &'static str {
    match cause {
        Cause::Request => "look at what the client sends",
        Cause::NoTarget => "the daemon is still looking for it",
        Cause::NoCredentials => "give the daemon a role or keys; its log says where it looked",
        Cause::Sign => "check the daemon's keys and the host's clock",
        Cause::Transport(
            Kind::UnknownHost
            | Kind::Refused
            | Kind::NoRoute
            | Kind::ConnectTimeout
            | Kind::Timeout,
        ) => "check the way to X-Ray: NAT or a VPC endpoint, its security group, a proxy (-p)",
        Cause::Compressed => "check the proxy or the Endpoint that answers instead of X-Ray",
        Cause::Busy => "let clients send less at once, or raise -m if it is below 20",
        Cause::Transport(Kind::Tls) => {
            "check AWS_CA_BUNDLE, and what stands between the daemon and X-Ray"
        }
        Cause::Transport(Kind::Proxy) => "check the proxy, and what it allows",
        Cause::Status(_) | Cause::Transport(Kind::ClosedIdle | Kind::Other) => {
            "check what stands between the daemon and X-Ray if this stays"
        }
    }
}

fn refusal(action: ApiAction, status: u16, error: &ServiceError) -> String {
    let name = action.name();
    let service = action.service().name();
    let mut line = format!("{service} answered {name} on TCP with {status}");
    for text in [&error.code, &error.message] {
        if !text.is_empty() {
            line = format!("{line}: {}", logging::escape(text, MAX_TEXT));
        }
    }
    format!("{line}; {}", refusal_advice(action, status, &error.code))
}

fn refusal_advice(action: ApiAction, status: u16, code: &str) -> String {
    let advice = match status {
        _ if error_codes::blames_credentials(code) => {
            "check the daemon's AWS credentials, and that its region is enabled for the account"
        }
        401 | 403 => {
            let permission = action.permission();
            return format!("allow {permission} in the policy of the daemon's role");
        }
        404 => "this service has no such call: check Endpoint and what the client asks for",
        413 => "let the client send smaller requests",
        429 => "let clients ask less often, or ask AWS for a higher quota",
        _ if error_codes::is_transient(code) => "the service asks clients to try again later",
        400..=499 => "look at what the client sends",
        _ if action.service() != AwsService::XRay => {
            "the service does not work: see its status page"
        }
        _ => "X-Ray is failing: clients use the last sampling rules that they have",
    };
    advice.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::TransportError;

    #[test]
    fn a_refusal_is_told_with_words_and_advice() {
        let error = |code: &str, message: &str| ServiceError {
            code: code.to_owned(),
            message: message.to_owned(),
        };
        for (action, status, error, expected) in [
            (
                ApiAction::GetSamplingRules,
                403,
                error("AccessDeniedException", "not\nauthorized"),
                "X-Ray answered GetSamplingRules on TCP with 403: AccessDeniedException: \
                 not\\nauthorized; allow xray:GetSamplingRules in the policy of the daemon's role",
            ),
            (
                ApiAction::OtlpLogs,
                403,
                error("AccessDeniedException", ""),
                "CloudWatch Logs answered v1/logs on TCP with 403: AccessDeniedException; allow \
                 logs:PutLogEvents in the policy of the daemon's role",
            ),
            (
                ApiAction::Other,
                503,
                error("", ""),
                "X-Ray answered other on TCP with 503; X-Ray is failing: clients use the last sampling rules that they have",
            ),
            (
                ApiAction::GetSamplingTargets,
                403,
                error("ExpiredTokenException", "old"),
                "X-Ray answered GetSamplingTargets on TCP with 403: ExpiredTokenException: old; \
                 check the daemon's AWS credentials, and that its region is enabled for the account",
            ),
        ] {
            assert_eq!(refusal(action, status, &error), expected);
        }
    }

    #[test]
    fn one_cause_does_not_silence_another() {
        let reports = Reports::default();
        let transport = |kind| {
            let error = TransportError::new(kind, "no answer".to_owned());
            cause(&ForwardError::Transport(error.into())).unwrap()
        };
        let causes = [
            transport(Kind::UnknownHost),
            transport(Kind::Refused),
            transport(Kind::ClosedIdle),
            transport(Kind::Tls),
            Cause::Status(403),
            Cause::Status(503),
            cause(&ForwardError::NoCredentials).unwrap(),
        ];
        for action in [ApiAction::GetSamplingRules, ApiAction::Other] {
            for cause in causes {
                assert!(reports.allow(action, cause).is_some(), "{cause:?}");
                assert!(reports.allow(action, cause).is_none(), "{cause:?}");
            }
        }
        assert!(cause(&ForwardError::ClientLeft).is_none());
    }
}
