//! What an answer of X-Ray's OTLP endpoint means for the spans of the request, and what to do about it.
//!
//! A success is an `ExportTraceServiceResponse`, anything else a `google.rpc.Status` (OTLP
//! specification, "OTLP/HTTP Response") or an error of AWS as JSON; both messages may be protobuf or
//! JSON.

use serde_json::{Map, Value};

use super::{HoldReason, Meaning, XRayResponse};
use crate::aws::error_codes::{self, ErrorClass};
use crate::protobuf::{self, Fields};

/// What X-Ray has refused of a request that it has accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PartialSuccess {
    /// Spans that it refused.
    pub rejected: u64,
    /// Its words.
    pub message: String,
}

/// Fields of the messages (trace_service.proto in open-telemetry/opentelemetry-proto, status.proto in
/// googleapis/googleapis).
const PARTIAL_SUCCESS: u64 = 1;
const REJECTED_SPANS: u64 = 1;
const ERROR_MESSAGE: u64 = 2;
const STATUS_MESSAGE: u64 = 2;

/// Reads a protobuf body of a success. `None`: it is something else.
pub(super) fn protobuf_success(body: &[u8]) -> Option<PartialSuccess> {
    let mut partial = PartialSuccess::default();
    let mut fields = Fields(body);
    while let Some(field) = fields.next().ok()? {
        if let (PARTIAL_SUCCESS, protobuf::FieldValue::Bytes(bytes)) = field {
            let mut fields = Fields(bytes);
            while let Some(field) = fields.next().ok()? {
                match field {
                    // It is signed, and a negative number refuses nothing.
                    (REJECTED_SPANS, protobuf::FieldValue::Number(number)) => {
                        partial.rejected = u64::try_from(number.cast_signed()).unwrap_or(0);
                    }
                    (ERROR_MESSAGE, protobuf::FieldValue::Bytes(text)) => {
                        partial.message = String::from_utf8_lossy(text).into_owned();
                    }
                    _ => {}
                }
            }
        }
    }
    Some(partial)
}

/// Reads a JSON body of a success. `None`: it is something else.
pub(super) fn json_success(body: &Map<String, Value>) -> Option<PartialSuccess> {
    if body.keys().any(|key| key != "partialSuccess") {
        return None;
    }
    let partial = body.get("partialSuccess");
    let field = |key| partial.and_then(|partial| partial.get(key));
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let message = field("errorMessage").and_then(Value::as_str);
    Some(PartialSuccess {
        rejected: field("rejectedSpans").and_then(number).unwrap_or(0),
        message: message.unwrap_or_default().to_owned(),
    })
}

/// The words in a protobuf `Status`. `None`: it is something else, or has none.
pub(super) fn protobuf_status(body: &[u8]) -> Option<String> {
    let mut message = None;
    let mut fields = Fields(body);
    while let Some(field) = fields.next().ok()? {
        if let (STATUS_MESSAGE, protobuf::FieldValue::Bytes(text)) = field {
            message = Some(String::from_utf8_lossy(text).into_owned());
        }
    }
    message.filter(|text| !text.is_empty())
}

impl XRayResponse {
    /// What the answer to a request with spans means.
    pub(crate) fn meaning_for_spans(&self) -> Meaning<'_> {
        match self.status {
            200 if self.export.is_some() || self.has_request_id => Meaning::Delivered(&[]),
            200 => Meaning::Hold(HoldReason::NotXRay(
                "neither an ExportTraceServiceResponse nor the header x-amzn-requestid",
            )),
            201..=299 => Meaning::Hold(HoldReason::NotXRay("not the status 200")),
            status => match self.code.as_deref().and_then(error_codes::class) {
                Some(ErrorClass::Credentials) => Meaning::Hold(HoldReason::Credentials),
                None if self.blames_token() => Meaning::Hold(HoldReason::Credentials),
                _ if self.misses_transaction_search() => Meaning::Hold(HoldReason::Service),
                Some(ErrorClass::Documents) if (400..500).contains(&status) => Meaning::Refused,
                // The message is X-Ray's own, although there is no code, so X-Ray has read the
                // request.
                None if matches!(status, 400 | 413) && self.speaks() => Meaning::Refused,
                None if matches!(status, 400 | 413) => Meaning::Suspected,
                _ => Meaning::Hold(HoldReason::Service),
            },
        }
    }

    /// A hint for the operator, beginning with `; `; empty where there is none.
    pub(crate) fn advice_for_spans(&self) -> &'static str {
        let is_denied = |code: &str| code.starts_with("AccessDenied");
        if self.misses_transaction_search() {
            "; X-Ray takes spans only where Transaction Search is enabled: enable it in the console \
             of CloudWatch, or run `aws xray update-trace-segment-destination --destination \
             CloudWatchLogs`; spans are held until then"
        } else if self.code.as_deref().is_some_and(is_denied)
            || self.code.is_none() && self.status == 403 && !self.blames_token()
        {
            "; allow xray:PutSpans and xray:PutSpansForIndexing in the policy of this daemon's role \
             (the task role on ECS); spans are held until then"
        } else if self.status == 404 {
            "; is there an Endpoint that does not take OTLP?"
        } else {
            ""
        }
    }

    /// AWS documents this answer under "Troubleshooting" of the OTLP endpoints: "The OTLP API is
    /// supported with CloudWatch Logs as a Trace Segment Destination."
    fn misses_transaction_search(&self) -> bool {
        let message = self.message.as_deref().unwrap_or_default();
        let message = message.to_ascii_lowercase();
        let is_about_it = ["trace segment destination", "transaction search"]
            .iter()
            .any(|words| message.contains(words));
        (400..500).contains(&self.status) && is_about_it
    }

    /// A `Status` has no code of AWS: "The security token included in the request is invalid."
    fn blames_token(&self) -> bool {
        let message = self.message.as_deref().unwrap_or_default();
        matches!(self.status, 400 | 401 | 403)
            && self.code.is_none()
            && message.to_ascii_lowercase().contains("security token")
    }

    /// Whether there is a message and a sign that it is X-Ray's.
    fn speaks(&self) -> bool {
        self.message.is_some() && (self.has_request_id || self.is_status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::{put_bytes, put_number};
    use crate::upload::response::Unprocessed;

    const DESTINATION: &str = "The OTLP API is supported with CloudWatch Logs as a Trace Segment \
                               Destination. Please enable the CloudWatch Logs destination";

    fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> XRayResponse {
        let header = |name: &str| {
            let found = headers.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        XRayResponse::parse(status, header, body)
    }

    const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
    const JSON: (&str, &str) = ("content-type", "application/json");
    const ID: (&str, &str) = ("x-amzn-requestid", "1-2");

    fn status(message: &str) -> Vec<u8> {
        let mut body = Vec::new();
        put_number(1, 3, &mut body);
        put_bytes(2, message.as_bytes(), &mut body);
        body
    }

    fn error(code: &str, message: &str) -> Vec<u8> {
        serde_json::json!({ "__type": code, "message": message })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn what_answers_mean() {
        const TAKEN: Meaning<'static> = Meaning::Delivered(&[] as &[Unprocessed]);
        const SERVICE: Meaning<'static> = Meaning::Hold(HoldReason::Service);
        const CREDENTIALS: Meaning<'static> = Meaning::Hold(HoldReason::Credentials);
        let not_x_ray = Meaning::Hold(HoldReason::NotXRay(
            "neither an ExportTraceServiceResponse nor the header x-amzn-requestid",
        ));
        let invalid = "InvalidRequestException";
        for (status_code, headers, body, expected) in [
            (200, &[PROTOBUF] as &[_], b"".to_vec(), TAKEN),
            (200, &[JSON], b"{}".to_vec(), TAKEN),
            (200, &[JSON], b"{\"partialSuccess\":{}}".to_vec(), TAKEN),
            (200, &[ID], b"".to_vec(), TAKEN),
            (200, &[], b"".to_vec(), not_x_ray),
            (
                200,
                &[("content-type", "text/html")],
                b"<html>".to_vec(),
                not_x_ray,
            ),
            (200, &[JSON], b"{\"login\":\"please\"}".to_vec(), not_x_ray),
            (200, &[PROTOBUF], b"\xff".to_vec(), not_x_ray),
            (
                204,
                &[ID],
                b"".to_vec(),
                Meaning::Hold(HoldReason::NotXRay("not the status 200")),
            ),
            (302, &[], b"".to_vec(), SERVICE),
            // Whether Transaction Search is not enabled. X-Ray may say so in several ways.
            (400, &[PROTOBUF, ID], status(DESTINATION), SERVICE),
            (400, &[JSON, ID], error(invalid, DESTINATION), SERVICE),
            (
                400,
                &[("x-amzn-errortype", invalid), PROTOBUF],
                status(DESTINATION),
                SERVICE,
            ),
            (
                400,
                &[JSON],
                error(invalid, "A span is too old"),
                Meaning::Refused,
            ),
            (
                400,
                &[PROTOBUF],
                status("A span is too old"),
                Meaning::Refused,
            ),
            (
                413,
                &[JSON, ID],
                b"{\"message\":\"too large\"}".to_vec(),
                Meaning::Refused,
            ),
            (
                400,
                &[("content-type", "text/html")],
                b"<html>".to_vec(),
                Meaning::Suspected,
            ),
            (
                403,
                &[JSON],
                error("AccessDeniedException", "not authorized"),
                SERVICE,
            ),
            (403, &[PROTOBUF], status("User is not authorized"), SERVICE),
            (
                403,
                &[JSON],
                error("ExpiredTokenException", "old"),
                CREDENTIALS,
            ),
            (
                403,
                &[PROTOBUF],
                status("The security token included in the request is invalid."),
                CREDENTIALS,
            ),
            (404, &[], b"".to_vec(), SERVICE),
            (
                429,
                &[JSON],
                error("ThrottledException", "slow down"),
                SERVICE,
            ),
            (500, &[], b"".to_vec(), SERVICE),
            (503, &[PROTOBUF], status("busy"), SERVICE),
        ] {
            let answer = answer(status_code, headers, &body);
            assert_eq!(answer.meaning_for_spans(), expected, "{answer:?}");
        }
    }

    #[test]
    fn a_partial_success_in_both_encodings() {
        let mut partial = Vec::new();
        put_number(1, 3, &mut partial);
        put_bytes(2, b"too old", &mut partial);
        let mut body = Vec::new();
        put_bytes(1, &partial, &mut body);
        let expected = Some(PartialSuccess {
            rejected: 3,
            message: "too old".to_owned(),
        });
        assert_eq!(answer(200, &[PROTOBUF], &body).export, expected);
        for number in ["3", "\"3\""] {
            let body = format!(
                r#"{{"partialSuccess":{{"rejectedSpans":{number},"errorMessage":"too old"}}}}"#
            );
            assert_eq!(answer(200, &[JSON], body.as_bytes()).export, expected);
        }
    }

    #[test]
    fn a_partial_success_whose_number_is_nonsense_refuses_nothing() {
        for number in [(-5i64).cast_unsigned(), u64::MAX] {
            let mut partial = Vec::new();
            put_number(1, number, &mut partial);
            let mut body = Vec::new();
            put_bytes(1, &partial, &mut body);
            let export = answer(200, &[PROTOBUF], &body).export;
            assert_eq!(export, Some(PartialSuccess::default()));
        }
        for number in [
            "-5",
            "\"-5\"",
            "1.5",
            "null",
            "{}",
            "\"99999999999999999999\"",
        ] {
            let body = format!(r#"{{"partialSuccess":{{"rejectedSpans":{number}}}}}"#);
            let export = answer(200, &[JSON], body.as_bytes()).export;
            assert_eq!(export, Some(PartialSuccess::default()), "{number}");
        }
    }

    #[test]
    fn what_to_do() {
        for (status_code, body, advice) in [
            (400, status(DESTINATION), "update-trace-segment-destination"),
            (403, error("AccessDeniedException", "no"), "xray:PutSpans"),
            (403, status("User is not authorized"), "xray:PutSpans"),
            (404, Vec::new(), "does not take OTLP"),
        ] {
            let content_type = match body.first() {
                Some(b'{') => JSON,
                _ => PROTOBUF,
            };
            let answer = answer(status_code, &[content_type], &body);
            assert!(answer.advice_for_spans().contains(advice), "{answer:?}");
        }
        assert_eq!(answer(500, &[], b"").advice_for_spans(), "");
    }
}
