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
    /// OpenTelemetry's logs.
    OtlpLogs,
    /// OpenTelemetry's metrics.
    OtlpMetrics,
    /// The distribution of AWS asks what it is to instrument.
    ListInstrumentation,
    /// It says what has come of that.
    ReportInstrumentation,
    Other,
}

/// Who answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    XRay,
    Logs,
    Metrics,
    ApplicationSignals,
}

impl Service {
    /// Its name in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Service::XRay => "X-Ray",
            Service::Logs => "CloudWatch Logs",
            Service::Metrics => "CloudWatch",
            Service::ApplicationSignals => "Application Signals",
        }
    }

    /// The name that a request is signed for.
    pub(super) fn signing_name(self) -> &'static str {
        match self {
            Service::XRay => "xray",
            Service::Logs => "logs",
            Service::Metrics => "monitoring",
            Service::ApplicationSignals => "application-signals",
        }
    }
}

/// Every action, its path, its name in metrics and the log, and the permission that it needs.
const ACTIONS: [(Action, &str, &str, &str); 10] = [
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
    (Action::OtlpLogs, "/v1/logs", "v1/logs", "logs:PutLogEvents"),
    (
        Action::OtlpMetrics,
        "/v1/metrics",
        "v1/metrics",
        "cloudwatch:PutMetricData",
    ),
    (
        Action::ListInstrumentation,
        "/list-instrumentation-configurations",
        "ListInstrumentationConfigurations",
        "application-signals:ListInstrumentationConfigurations",
    ),
    (
        Action::ReportInstrumentation,
        "/report-instrumentation-configuration-status",
        "ReportInstrumentationConfigurationStatus",
        "application-signals:ReportInstrumentationConfigurationStatus",
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

    /// Whom it is for.
    pub(super) fn service(self) -> Service {
        match self {
            Action::OtlpLogs => Service::Logs,
            Action::OtlpMetrics => Service::Metrics,
            Action::ListInstrumentation | Action::ReportInstrumentation => {
                Service::ApplicationSignals
            }
            _ => Service::XRay,
        }
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
            ("POST", "/v1/logs", Action::OtlpLogs),
            ("POST", "/v1/metrics", Action::OtlpMetrics),
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
