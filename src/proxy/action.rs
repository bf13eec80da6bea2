//! The calls of X-Ray that its clients make: their names, and what holds for each.

use crate::http::server::Request;

/// What a request asks of X-Ray.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    GetSamplingRules,
    GetSamplingTargets,
    PutTraceSegments,
    PutTelemetryRecords,
    /// OpenTelemetry's spans.
    OtlpTraces,
    Other,
}

/// Every action, its path, its name in metrics and the log, and the permission that it needs.
const ACTIONS: [(Action, &str, &str, &str); 6] = [
    (
        Action::GetSamplingRules,
        "/GetSamplingRules",
        "GetSamplingRules",
        "xray:GetSamplingRules",
    ),
    (
        Action::GetSamplingTargets,
        "/SamplingTargets",
        "GetSamplingTargets",
        "xray:GetSamplingTargets",
    ),
    (
        Action::PutTraceSegments,
        "/TraceSegments",
        "PutTraceSegments",
        "xray:PutTraceSegments",
    ),
    (
        Action::PutTelemetryRecords,
        "/TelemetryRecords",
        "PutTelemetryRecords",
        "xray:PutTelemetryRecords",
    ),
    (
        Action::OtlpTraces,
        "/v1/traces",
        "v1/traces",
        "xray:PutSpans",
    ),
    // No path of a request is empty.
    (Action::Other, "", "other", "for this action"),
];

/// Number of actions.
pub(super) const COUNT: usize = ACTIONS.len();

impl Action {
    pub(super) fn of(request: &Request) -> Action {
        let path = request.path();
        let known = ACTIONS.iter().find(|row| row.1 == path);
        match known {
            Some(row) if request.method == "POST" => row.0,
            _ => Action::Other,
        }
    }

    /// All of them, in the order of [`index`](Self::index).
    pub(super) fn all() -> [Action; COUNT] {
        ACTIONS.map(|row| row.0)
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }

    pub(super) fn name(self) -> &'static str {
        ACTIONS[self.index()].2
    }

    pub(super) fn permission(self) -> &'static str {
        ACTIONS[self.index()].3
    }

    /// Whether a request that X-Ray has never seen may be sent again. Of what is not known here
    /// nobody can say what it does.
    pub(super) fn is_known(self) -> bool {
        self != Action::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_found_by_path() {
        for (index, action) in Action::all().into_iter().enumerate() {
            assert_eq!(action.index(), index);
        }
        let request = |method: &str, target: &str| Request {
            method: method.to_owned(),
            target: target.to_owned(),
            http10: false,
            keep_alive: true,
            headers: Vec::new(),
            body: Vec::new(),
        };
        for (method, target, expected) in [
            ("POST", "/GetSamplingRules", Action::GetSamplingRules),
            ("POST", "/SamplingTargets?x=y", Action::GetSamplingTargets),
            ("POST", "/v1/traces", Action::OtlpTraces),
            ("GET", "/GetSamplingRules", Action::Other),
            ("POST", "/getsamplingrules", Action::Other),
            ("POST", "/", Action::Other),
        ] {
            assert_eq!(
                Action::of(&request(method, target)),
                expected,
                "{method} {target}"
            );
        }
    }
}
