//! What an answer to an upload means: delivered only where X-Ray itself says that it has taken the
//! documents, refused only where a code of AWS speaks of them, and held in every other case.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use xray::upload::response::{HoldReason, Meaning, XRayResponse};

fuzz_target!(
    |input: (u16, Option<String>, Option<String>, Option<String>, &[u8])| {
        let (status, error_type, retry_after, request_id, body) = input;
        let status = 100 + status % 500;
        let header = |name: &str| match name {
            "x-amzn-errortype" => error_type.clone(),
            "retry-after" => retry_after.clone(),
            "x-amzn-requestid" => request_id.clone(),
            _ => None,
        };
        let response = XRayResponse::parse(status, header, body);
        assert!(
            response
                .retry_after
                .is_none_or(|after| after <= Duration::from_secs(60))
        );
        match response.meaning() {
            Meaning::Delivered(unprocessed) => {
                assert_eq!(status, 200);
                let body: Value = serde_json::from_slice(body).expect("X-Ray answers JSON");
                let object = body.as_object().expect("X-Ray answers an object");
                match object.get("UnprocessedTraceSegments") {
                    Some(Value::Array(named)) => assert_eq!(unprocessed.len(), named.len()),
                    None | Some(Value::Null) => {
                        assert!(unprocessed.is_empty());
                        assert!(request_id.is_some_and(|id| !id.trim().is_empty()));
                    }
                    Some(_) => panic!("the list is not a list"),
                }
            }
            Meaning::Refused => {
                assert!((400..500).contains(&status));
                assert!(response.code.is_some());
            }
            Meaning::Suspected => assert!(status == 400 || status == 413),
            Meaning::Hold(reason) => {
                assert!(reason != HoldReason::Credentials || response.code.is_some());
            }
        }
        if let Some(code) = &response.code {
            assert!(!code.is_empty() && !code.contains([':', '#']) && code.trim() == code);
        }
    }
);
