//! Answers sampling calls without AWS, for the exporters that show traces here.

use super::handler::{ForwardError, Incoming, RequestHandler, Response};

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
        Ok(match (request.method.as_str(), request.path()) {
            ("POST", "/GetSamplingRules") => Response::of(200, "application/json", RULES),
            ("POST", "/SamplingTargets") => Response::of(200, "application/json", TARGETS),
            _ => Response::empty(404),
        })
    }
}
