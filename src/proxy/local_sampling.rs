//! Answers sampling calls without AWS, for the exporters that show traces here.

use super::handler::{Body, ForwardError, Incoming, RequestHandler, Response};

/// X-Ray's default rule at 100 %, so that every trace is shown. `Version`, `ResourceARN` and the
/// empty `Attributes` are what SDKs demand of a rule before they use it.
const RULES: &str = r#"{"NextToken":null,"SamplingRuleRecords":[{"CreatedAt":0.0,"ModifiedAt":0.0,"SamplingRule":{"Attributes":{},"FixedRate":1.0,"HTTPMethod":"*","Host":"*","Priority":10000,"ReservoirSize":1,"ResourceARN":"*","RuleARN":"arn:aws:xray:local:000000000000:sampling-rule/Default","RuleName":"Default","ServiceName":"*","ServiceType":"*","URLPath":"*","Version":1}}]}"#;

/// No client gets a quota, so the rule's rate applies. The Node SDK requires a number.
const TARGETS: &str =
    r#"{"SamplingTargetDocuments":[],"LastRuleModification":0,"UnprocessedStatistics":[]}"#;

/// Plays X-Ray for clients on this machine.
pub struct LocalSampling;

impl RequestHandler for LocalSampling {
    fn handle(&self, incoming: &Incoming<'_>) -> Result<Response, ForwardError> {
        let request = incoming.request;
        let json = Some("application/json");
        let (status, content_type, body) = match (request.method.as_str(), request.path()) {
            ("POST", "/GetSamplingRules") => (200, json, RULES),
            ("POST", "/SamplingTargets") => (200, json, TARGETS),
            _ => (404, None, ""),
        };
        let headers = content_type
            .map(|value| ("Content-Type".to_owned(), value.as_bytes().to_vec()))
            .into_iter()
            .collect();
        Ok(Response::new(
            status,
            headers,
            Body::Full(body.as_bytes().to_vec()),
        ))
    }
}
