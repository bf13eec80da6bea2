//! The calls of X-Ray that its clients make: their names, and what holds for each.

use crate::http::server::Request;

/// What a request asks of X-Ray.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ApiAction {
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
    /// AWS's OpenTelemetry distribution asks what it should instrument.
    ListInstrumentation,
    /// AWS's OpenTelemetry distribution reports what it has instrumented.
    ReportInstrumentation,
    Other,
}

/// Who answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AwsService {
    XRay,
    Logs,
    Metrics,
    ApplicationSignals,
}

impl AwsService {
    /// Its name in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            AwsService::XRay => "X-Ray",
            AwsService::Logs => "CloudWatch Logs",
            AwsService::Metrics => "CloudWatch",
            AwsService::ApplicationSignals => "Application Signals",
        }
    }

    /// The name that a request is signed for.
    pub(super) fn signing_name(self) -> &'static str {
        match self {
            AwsService::XRay => "xray",
            AwsService::Logs => "logs",
            AwsService::Metrics => "monitoring",
            AwsService::ApplicationSignals => "application-signals",
        }
    }
}

/// Every action, its path, its name in metrics and the log, and the permission that it needs.
const ACTIONS: [(ApiAction, &str, &str, &str); 10] = [
    (
        ApiAction::GetSamplingRules,
        "/GetSamplingRules",
        "GetSamplingRules",
        "xray:GetSamplingRules",
    ),
    (
        ApiAction::GetSamplingTargets,
        "/SamplingTargets",
        "GetSamplingTargets",
        "xray:GetSamplingTargets",
    ),
    (
        ApiAction::PutTraceSegments,
        "/TraceSegments",
        "PutTraceSegments",
        "xray:PutTraceSegments",
    ),
    (
        ApiAction::PutTelemetryRecords,
        "/TelemetryRecords",
        "PutTelemetryRecords",
        "xray:PutTelemetryRecords",
    ),
    (
        ApiAction::OtlpTraces,
        "/v1/traces",
        "v1/traces",
        "xray:PutSpans",
    ),
    (
        ApiAction::OtlpLogs,
        "/v1/logs",
        "v1/logs",
        "logs:PutLogEvents",
    ),
    (
        ApiAction::OtlpMetrics,
        "/v1/metrics",
        "v1/metrics",
        "cloudwatch:PutMetricData",
    ),
    (
        ApiAction::ListInstrumentation,
        "/list-instrumentation-configurations",
        "ListInstrumentationConfigurations",
        "application-signals:ListInstrumentationConfigurations",
    ),
    (
        ApiAction::ReportInstrumentation,
        "/report-instrumentation-configuration-status",
        "ReportInstrumentationConfigurationStatus",
        "application-signals:ReportInstrumentationConfigurationStatus",
    ),
    // No path of a request is empty.
    (ApiAction::Other, "", "other", "for this action"),
];

/// Number of actions.
pub(super) const COUNT: usize = ACTIONS.len();

impl ApiAction {
    pub(super) fn of(request: &Request) -> ApiAction {
        let path = request.path();
        let known = ACTIONS.iter().find(|row| row.1 == path);
        match known {
            Some(row) if request.method == "POST" => row.0,
            _ => ApiAction::Other,
        }
    }

    /// All of them, in the order of [`index`](Self::index).
    pub(super) fn all() -> [ApiAction; COUNT] {
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

    /// The service that it is for.
    pub(super) fn service(self) -> AwsService {
        match self {
            ApiAction::OtlpLogs => AwsService::Logs,
            ApiAction::OtlpMetrics => AwsService::Metrics,
            ApiAction::ListInstrumentation | ApiAction::ReportInstrumentation => {
                AwsService::ApplicationSignals
            }
            _ => AwsService::XRay,
        }
    }

    /// Whether a request may be repeated that X-Ray has never seen. The effect of an unknown action
    /// is not known, so it is not repeated.
    pub(super) fn is_known(self) -> bool {
        self != ApiAction::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_table_is_in_order_and_found_by_path() {
        for (index, action) in ApiAction::all().into_iter().enumerate() {
            assert_eq!(action.index(), index);
        }
        let request = |method: &str, target: &str| Request {
            method: method.to_owned(),
            target: target.to_owned(),
            http10: false,
            keep_alive: true,
            headers: Vec::new(),
            body: Arc::default(),
        };
        for (method, target, expected) in [
            ("POST", "/GetSamplingRules", ApiAction::GetSamplingRules),
            (
                "POST",
                "/SamplingTargets?x=y",
                ApiAction::GetSamplingTargets,
            ),
            ("POST", "/v1/traces", ApiAction::OtlpTraces),
            ("POST", "/v1/logs", ApiAction::OtlpLogs),
            ("POST", "/v1/metrics", ApiAction::OtlpMetrics),
            ("GET", "/GetSamplingRules", ApiAction::Other),
            ("POST", "/getsamplingrules", ApiAction::Other),
            ("POST", "/", ApiAction::Other),
        ] {
            assert_eq!(
                ApiAction::of(&request(method, target)),
                expected,
                "{method} {target}"
            );
        }
    }
}
