use super::*;
use proptest::prelude::*;

const REQUEST_ID: (&str, &str) = ("x-amzn-requestid", "1-2-3");

fn parse(status: u16, headers: &[(&str, &str)], body: &str) -> XRayResponse {
    let header = |name: &str| {
        let found = headers.iter().find(|(found, _)| *found == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    XRayResponse::parse(status, header, body.as_bytes())
}

const HOLD: Meaning<'_> = Meaning::Hold(HoldReason::Service);
const STALE: Meaning<'_> = Meaning::Hold(HoldReason::Credentials);

fn is_not_x_ray(meaning: Meaning<'_>) -> bool {
    matches!(meaning, Meaning::Hold(HoldReason::NotXRay(_)))
}

#[test]
fn only_x_ray_itself_can_say_that_documents_are_delivered() {
    for (status, headers, body) in [
        (200, &[][..], r#"{"UnprocessedTraceSegments":[]}"#),
        (200, &[], r#" { "UnprocessedTraceSegments": [ ] }"#),
        (200, &[REQUEST_ID], r#"{"UnprocessedTraceSegments":null}"#),
        (200, &[REQUEST_ID], "{}"),
    ] {
        let response = parse(status, headers, body);
        assert_eq!(response.meaning(), Meaning::Delivered(&[]), "{body}");
    }
    for (status, headers, body) in [
        (200, &[][..], ""),
        (200, &[REQUEST_ID], ""),
        (200, &[], "{}"),
        (200, &[], r#"{"status":"ok"}"#),
        (200, &[], r#"{"UnprocessedTraceSegments":null}"#),
        (200, &[REQUEST_ID], r#"{"UnprocessedTraceSegments":7}"#),
        (200, &[REQUEST_ID], "[]"),
        (200, &[REQUEST_ID], "<html>sign in</html>"),
        (200, &[("x-amzn-requestid", " ")], "{}"),
        (201, &[REQUEST_ID], r#"{"UnprocessedTraceSegments":[]}"#),
        (202, &[REQUEST_ID], "{}"),
        (204, &[REQUEST_ID], ""),
        (206, &[REQUEST_ID], r#"{"UnprocessedTraceSegments":[]}"#),
    ] {
        let response = parse(status, headers, body);
        assert!(is_not_x_ray(response.meaning()), "{status} {body}");
    }
}

#[test]
fn only_known_codes_refuse_documents() {
    for (status, code, expected) in [
        (400, "InvalidRequestException", Meaning::Refused),
        (400, "ValidationException", Meaning::Refused),
        (400, "SerializationException", Meaning::Refused),
        (413, "RequestEntityTooLarge", Meaning::Refused),
        (500, "ValidationException", HOLD),
        (400, "", Meaning::Suspected),
        (413, "", Meaning::Suspected),
        (400, "SomethingNew", Meaning::Suspected),
        (400, "InternalFailure", HOLD),
        (400, "ServiceUnavailable", HOLD),
        (400, "ThrottlingException:http://aws/", HOLD),
        (400, "com.amazon#ExpiredTokenException", STALE),
        (403, "UnrecognizedClientException", STALE),
        (403, "InvalidSignatureException", STALE),
        (400, "SignatureDoesNotMatch", STALE),
        (403, "AccessDeniedException", HOLD),
        (400, "RequestTimeTooSkewed", HOLD),
        (302, "", HOLD),
        (404, "", HOLD),
        (408, "", HOLD),
        (429, "ThrottledException", HOLD),
        (503, "", HOLD),
    ] {
        let in_header = parse(status, &[("x-amzn-errortype", code)], "");
        assert_eq!(in_header.meaning(), expected, "{status} {code}");
        for key in ["code", "Code", "__type"] {
            let in_body = parse(status, &[], &format!(r#"{{"{key}":"{code}"}}"#));
            assert_eq!(in_body.meaning(), expected, "{status} {key} {code}");
        }
    }
    for body in ["", "<html>413</html>", "[]", "7", r#"{"message":"bad"}"#] {
        assert_eq!(parse(400, &[], body).meaning(), Meaning::Suspected);
    }
}

#[test]
fn unprocessed_documents_are_named() {
    let body = r#"{"UnprocessedTraceSegments":[{"Id":"6226467e3f845502","ErrorCode":"InvalidTraceId","Message":"Invalid segment"},{"Id":null},{}]}"#;
    let first = Unprocessed {
        id: Some("6226467e3f845502".into()),
        code: "InvalidTraceId".into(),
        message: "Invalid segment".into(),
    };
    let response = parse(200, &[], body);
    let none = Unprocessed::default();
    assert_eq!(
        response.meaning(),
        Meaning::Delivered(&[first, none.clone(), none])
    );
}

#[test]
fn which_unprocessed_documents_are_sent_again() {
    for (code, expected) in [
        ("ThrottlingException", true),
        ("InternalFailure", true),
        ("ServiceUnavailable", true),
        ("InvalidTraceId", false),
        ("", false),
    ] {
        let entry = Unprocessed {
            code: code.to_owned(),
            ..Unprocessed::default()
        };
        assert_eq!(entry.is_transient(), expected, "{code}");
    }
}

#[test]
fn a_session_token_that_the_service_repeats_is_hidden() {
    let body = r#"{"message":"should have been 'x-amz-security-token:IQoJb3Jp\/+=='"}"#;
    let mut refused = parse(403, &[], body);
    refused.hide("IQoJb3Jp/+==");
    let message = refused.message.as_deref();
    assert_eq!(
        message,
        Some("should have been 'x-amz-security-token:[hidden]'")
    );
}

#[test]
fn retry_after_is_honoured_within_reason() {
    for (value, expected) in [
        ("3", Some(3)),
        ("86400", Some(60)),
        ("-1", None),
        ("soon", None),
    ] {
        let throttled = parse(429, &[("retry-after", value)], "");
        assert_eq!(throttled.retry_after, expected.map(Duration::from_secs));
    }
}

proptest! {
    #[test]
    fn any_answer_has_a_meaning(status: u16, code in ".{0,20}", body in ".{0,80}") {
        let response = parse(status, &[("x-amzn-errortype", &code)], &body);
        if matches!(response.meaning(), Meaning::Delivered(_)) {
            prop_assert_eq!(status, 200);
        }
    }
}
